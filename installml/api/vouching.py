"""The gate that every package passes before any of its layers moves: who vouches for it, and is that enough here.

What is decided and by which rules is ``trust.decide``; here the verdict meets the person at the terminal, is written
down, and becomes what the rest of a verb needs: who signed, which chunk indexes may be believed, what to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..digest import Digest
from ..events import Notice, Phase
from ..spec.descriptor import Descriptor
from .index import release_of
from .places import Found
from .session import Session

if TYPE_CHECKING:
    from ..trust.verdict import Verdict

__all__ = ["Vouched", "vouch"]


@dataclass(frozen=True, slots=True)
class Vouched:
    """On whose word a package is used.

    Attributes:
        signers: Who vouches for it, in words; empty for nobody.
        told: The same as a sentence for people.
        unsigned: Whether it is used although nobody who counts vouches for it.
        verdict: What was decided; None for what was built on this machine.
    """

    signers: tuple[str, ...]
    told: str
    unsigned: bool = False
    verdict: Verdict | None = None

    def indexes(self, found: Found, session: Session) -> dict[Digest, Descriptor]:
        """Return the chunk indexes, by file, that the signers vouch for; nothing is asked where they speak of none."""
        if self.verdict is None or not found.remote:
            return {}
        from .trusting import trusted_indexes

        return trusted_indexes(self.verdict, session.remote(found.reference), release_of(found))

    def lay_out(self, folder: Path, found: Found, session: Session) -> None:
        """Put the signature over the files beside them, so that other tools can check the folder without us.

        Args:
            folder: The files, not yet in use.
            found: The package.
            session: Collaborators.
        """
        if self.verdict is None or not self.signers:
            return
        from .trusting import model_signature, place_signature

        data = model_signature(found, self.verdict, session)
        if data is not None:
            place_signature(folder, data)


def vouch(
    found: Found,
    session: Session,
    *,
    allow_unsigned: bool = False,
    allow_downgrade: bool = False,
    looking: bool = False,
) -> Vouched:
    """Return on whose word a package may be used.

    What was built on this machine needs nobody's word. About a signer who is not known here somebody at the terminal is
    asked, once; who is accepted is pinned for the repository.

    Args:
        found: The package, its tag resolved.
        session: Collaborators; ``session.accept`` asks the person.
        allow_unsigned: Somebody has said that nobody needs to vouch.
        allow_downgrade: Somebody has said that an earlier version is fine.
        looking: Nothing is written down: nothing will be used yet.

    Raises:
        TrustError: It may not be used; nothing but signatures has been read of it.
        RegistryError: The signatures could not be listed.
    """
    if session.store.made.has(found.descriptor.digest):  # the same digest is the same bytes, wherever they lie now
        return Vouched((), "built on this machine")
    # Here, because cryptography takes a tenth of a second to load.
    from ..trust.verdict import Outcome
    from .trusting import judge, remember

    session.on_event(Phase("verifying", str(found.reference)))
    accept = None if looking else session.accept  # no question before it matters
    decided = judge(
        found,
        session,
        interactive=accept is not None,
        allow_unsigned=allow_unsigned,
        allow_downgrade=allow_downgrade,
    )
    if decided.outcome is Outcome.ASK and accept is not None:
        decided = _asked(decided, accept, found, session, allow_downgrade=allow_downgrade)
    decided.check()
    if not looking:
        remember(decided, session)
    return _vouched(decided, session)


def _asked(
    verdict: Verdict, accept: Callable[[Verdict], bool], found: Found, session: Session, *, allow_downgrade: bool
) -> Verdict:
    """Ask about the signers of a package; whoever says no has been told why it is not used."""
    from ..trust.verdict import Outcome
    from .trusting import judge

    if not accept(verdict):
        return replace(verdict, outcome=Outcome.REFUSED)
    return judge(found, session, interactive=True, accepted=verdict.unknown, allow_downgrade=allow_downgrade)


def _vouched(verdict: Verdict, session: Session) -> Vouched:
    from ..trust.verdict import Outcome, signer_words

    signers = tuple(signer_words(signer) for signer in verdict.signers)
    if verdict.outcome is Outcome.OFF:
        return Vouched((), f"not verified: the policy asks for no signatures here ({verdict.rule})", verdict=verdict)
    if verdict.outcome is Outcome.ALLOWED_UNSIGNED:
        return Vouched((), f"not verified: {verdict.message}", unsigned=True, verdict=verdict)
    if verdict.outcome is Outcome.WARNED:
        session.on_event(Notice(verdict.message))
        return Vouched((), f"not verified: {verdict.message}", unsigned=True, verdict=verdict)
    pinned = ", pinned for this repository from now on" if verdict.outcome is Outcome.PINNED else ""
    return Vouched(signers, f"verified: signed by {' and '.join(signers)}{pinned}", verdict=verdict)
