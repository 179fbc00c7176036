"""What this machine remembers of a repository: who was accepted there, and what was seen under its tags.

Pure: how it lies on disk is in ``installml.store.trusted``. "Nothing is remembered" is a ``Memory`` without entries and
is said only by somebody who has looked: memory that cannot be read is an error, because forgetting is what an attacker
would want.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..digest import Digest
from ..spec.canonical import canonical, parse_json
from ..spec.node import Node
from .errors import EvidenceInvalid
from .evidence import IdentitySigner, KeySigner, Signer
from .policy_document import parse_fingerprint

__all__ = ["Mark", "Memory", "Pin", "lineage", "parse_pin", "signer_json", "signer_of"]

_MOST_SIGNERS = 100
_AT_TAG = "@refs/tags/"
_PRINTABLE = r"[^\x00-\x1f\x7f]{1,2048}"


@dataclass(frozen=True, slots=True)
class Pin:
    """Whom somebody has accepted for one repository; from then on nobody else is, whatever a policy says.

    Attributes:
        signers: Who; one of them must have signed.
        pinned_at: Seconds since the epoch.
        how: ``asked`` at the first use, or ``rotated`` by hand.
    """

    signers: tuple[Signer, ...]
    pinned_at: int = 0
    how: str = "asked"

    def to_bytes(self) -> bytes:
        """Return the content of its file."""
        signers = [signer_json(signer) for signer in self.signers]
        return canonical({"schemaVersion": 1, "signers": signers, "pinnedAt": self.pinned_at, "how": self.how})


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """The newest signature that has counted for one tag.

    Attributes:
        created: Seconds since the epoch at which its signer says, or a log proves, that it was made.
        digest: The manifest that it was about.
    """

    created: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered about one repository, for one request.

    Attributes:
        pin: Whom somebody has accepted; None for nobody.
        mark: The newest signature seen for the tag that is asked for; None for none, or when no tag is.
        signed_before: Whether any package of the repository has been accepted because of its signature.
    """

    pin: Pin | None = None
    mark: Mark | None = None
    signed_before: bool = False

    @property
    def pinned(self) -> frozenset[Signer]:
        """Whoever is pinned."""
        return frozenset(self.pin.signers if self.pin else ())

    def is_pinned(self, signer: Signer) -> bool:
        """Return whether ``signer`` is one of those pinned, or their next release (``lineage``)."""
        return lineage(signer) in map(lineage, self.pinned)

    @property
    def was_signed(self) -> bool:
        """Whether a package without a signature that counts would be a step back."""
        return self.signed_before or self.pin is not None or self.mark is not None


def lineage(signer: Signer) -> Signer:
    """Return what of a signer stays the same from release to release.

    A workflow of GitHub or GitLab that runs for a tag has the tag in its identity: ``.../release.yml@refs/tags/v1``
    (Fulcio, "OIDC usage": the SAN is ``job_workflow_ref``). Another tag of the same workflow is the same signer, or
    every release would look like an attack. Another branch is not: whoever may push one can change the workflow there.
    """
    if not isinstance(signer, IdentitySigner):
        return signer
    workflow, at, tag = signer.identity.partition(_AT_TAG)
    return IdentitySigner(f"{workflow}{at}*", signer.issuer) if at and tag else signer  # no tag of git has a star


def signer_json(signer: Signer) -> dict[str, str]:
    """Return the JSON form of a signer, also used by locks and results."""
    if isinstance(signer, KeySigner):
        return {"key": signer.fingerprint}
    return {"identity": signer.identity, "issuer": signer.issuer}


def signer_of(node: Node) -> Signer | None:
    """Return the signer at ``node``; None after a violation."""
    keys = node.mapping(("key", "identity", "issuer"))
    if keys["key"]:
        if keys["identity"] or keys["issuer"]:
            node.fail("is a key and an identity at once")
        fingerprint = keys["key"].parsed(parse_fingerprint)
        return KeySigner(fingerprint) if fingerprint else None
    identity = keys["identity"].string(pattern=_PRINTABLE, noun="an identity")
    issuer = keys["issuer"].string(pattern=_PRINTABLE, noun="an issuer")
    if not identity or not issuer:
        node.fail("is neither a key nor an identity with its issuer")
        return None
    return IdentitySigner(identity, issuer)


def parse_pin(data: bytes, origin: str) -> Pin:
    """Return the pin that a file holds.

    Raises:
        JSONInvalid: It is not JSON.
        EvidenceInvalid: It is no pin: a pin of nobody is none either.
    """
    root = Node(_mapping(parse_json(data, origin)))
    keys = root.mapping(("schemaVersion", "signers", "pinnedAt", "how"), ("schemaVersion", "signers"))
    keys["schemaVersion"].integer(1, least=1, most=1)
    nodes = keys["signers"].sequence(_MOST_SIGNERS)
    signers = _whole(signer_of(node) for node in nodes)
    if not nodes:
        root.fail("it pins nobody")
    pin = Pin(signers, keys["pinnedAt"].integer(), keys["how"].choice(("asked", "rotated"), "asked"))
    if root.violations:
        raise EvidenceInvalid(f"{origin}: {'; '.join(root.violations)}", subject=origin)
    return pin


def _whole(found: Iterable[Signer | None]) -> tuple[Signer, ...]:
    return tuple(signer for signer in found if signer is not None)


def _mapping(value: Any) -> Any:
    return value if value is not None else ()  # JSON's null is no empty document
