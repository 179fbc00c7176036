"""What is asked and what is answered: the two ends of ``installml.trust.decide``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from ..digest import Digest
from ..errors import TrustError
from ..reference import Reference
from .evidence import Signer
from .pins import Mark, Pin
from .policy import Place, Rule

__all__ = ["Outcome", "Request", "Step", "Verdict", "shown", "signer_words", "words"]


class Outcome(StrEnum):
    """What was decided."""

    TRUSTED = "trusted"
    PINNED = "pinned"
    ASK = "ask"
    ALLOWED_UNSIGNED = "allowed-unsigned"
    WARNED = "warned"
    OFF = "off"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants to use.

    Attributes:
        reference: The package as it was asked for, with its registry. Its tag is compared with what was signed.
        digest: The manifest that this was resolved to, once.
        interactive: Whether a person is there to be asked.
        accepted: Signers about whom a person has said yes.
        allow_unsigned: A person has said that nobody needs to vouch.
        allow_downgrade: A person has said that an earlier version is fine.
        locked: Signers that a lock names; one of them must have signed. A lock gives nobody trust.
    """

    reference: Reference
    digest: Digest
    interactive: bool = False
    accepted: frozenset[Signer] = frozenset()
    allow_unsigned: bool = False
    allow_downgrade: bool = False
    locked: frozenset[Signer] = frozenset()

    @property
    def tag(self) -> str:
        """The tag that is meant; empty when a digest alone is."""
        return self.reference.tag or ("" if self.reference.digest else "latest")

    @property
    def place(self) -> Place:
        """The repository."""
        return Place.of(self.reference)

    @property
    def asked(self) -> str:
        """The package as one types it: by its tag where it has one, because that is what signers sign for."""
        return str(replace(self.reference, digest=None) if self.reference.tag else self.reference)

    @property
    def name(self) -> str:
        """The repository as one types it."""
        return f"{self.reference.registry}/{self.reference.repository}".lstrip("/")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at on the way to the verdict.

    Attributes:
        rule: Which of the rules of this module, in one word.
        passed: Whether it was met; None where it only says what is so.
        sentence: What was found.
    """

    rule: str
    passed: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided, why, and what is to be written down.

    Attributes:
        outcome: What was decided.
        request: About what.
        rule: By which rule of the policy.
        steps: How, one after the other.
        signers: Who vouches for the package and counts.
        unknown: Whose signatures hold, and who is not known; the ones to ask about.
        refusal: Why not: of a refusal, a question and a warning, and of what was allowed without a signature.
        pin: Whom to pin for the repository; None for nobody.
        mark: What to remember for the tag; None for nothing.
        vouched: Whether to remember that packages of this repository are signed.
        chunks: What the signers who count say of the chunk indexes.
    """

    outcome: Outcome
    request: Request
    rule: Rule
    steps: tuple[Step, ...] = ()
    signers: tuple[Signer, ...] = ()
    unknown: tuple[Signer, ...] = ()
    refusal: TrustError | None = None
    pin: Pin | None = None
    mark: Mark | None = None
    vouched: bool = False
    chunks: tuple[Digest, ...] = ()

    @property
    def passes(self) -> bool:
        """Whether the package may be used."""
        return self.outcome not in (Outcome.REFUSED, Outcome.ASK)

    @property
    def exit_code(self) -> int:
        """0, or 4 where the package may not be used; a question that nobody answers is a refusal."""
        return 0 if self.passes else TrustError.exit_code

    @property
    def message(self) -> str:
        """What was decided, as one sentence."""
        if self.refusal is not None:
            return self.refusal.message
        return f"{self.request.name}: {_OUTCOMES[self.outcome].format(signers=words(self.signers))}"

    @property
    def hint(self) -> str:
        """What to type; empty where nothing is to be done."""
        return self.refusal.hint if self.refusal is not None else ""

    @property
    def reference(self) -> str:
        """Stable name of the reason; empty where there is nothing to say."""
        return self.refusal.reference if self.refusal is not None else ""

    def check(self) -> None:
        """Return when the package may be used.

        Raises:
            TrustError: It may not.
        """
        if not self.passes and self.refusal is not None:
            raise self.refusal


_OUTCOMES = {
    Outcome.TRUSTED: "signed by {signers}",
    Outcome.PINNED: "signed by {signers}, pinned from now on",
    Outcome.OFF: "signatures are not looked at here (level off)",
}


def shown(text: str) -> str:
    """Return text of a stranger so that a terminal shows it and does nothing else."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[:300])


def signer_words(signer: Signer) -> str:
    """Return a signer as people are shown them: nothing in it can move a terminal's cursor."""
    return shown(str(signer))


def words(signers: Iterable[Signer]) -> str:
    """Return several signers as people are shown them."""
    return " and ".join(signer_words(signer) for signer in sorted(signers, key=str))
