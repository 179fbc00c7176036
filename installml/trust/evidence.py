"""What was found about a package: signatures whose cryptography holds, and those that could not be proved.

Nothing is decided here. Who collects it (``installml.signing``) checks mathematics; who decides about it
(``installml.trust.decide``) checks meaning. "The signatures could not be listed" is an error of the collector and
never an empty ``Evidence``: a registry that does not answer must not look like a package that nobody signed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from ..digest import Digest

__all__ = ["Claims", "Evidence", "Form", "IdentitySigner", "KeySigner", "Signed", "Signer", "Unproved", "UnprovedKind"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, order=True)
class KeySigner:
    """Whoever holds a private key.

    Attributes:
        fingerprint: ``sha256:<hex>`` of the public key's DER SubjectPublicKeyInfo (RFC 5280, 4.1).
    """

    fingerprint: str

    def __str__(self) -> str:
        return f"key {self.fingerprint}"


@dataclass(frozen=True, slots=True, order=True)
class IdentitySigner:
    """Whoever could log in as somebody when a certificate authority gave out a short-lived certificate.

    Attributes:
        identity: The certificate's subject alternative name: an e-mail address or URI.
        issuer: URL of the OpenID Connect provider that vouched for it; an identity means nothing without it.
    """

    identity: str
    issuer: str

    def __str__(self) -> str:
        return f"{self.identity} ({self.issuer})"


Signer = KeySigner | IdentitySigner


class Form(StrEnum):
    """How a signature was written down."""

    BUNDLE = "bundle"
    CLASSIC = "classic"
    OMS = "oms"
    NOTATION = "notation"


class UnprovedKind(StrEnum):
    """Why something that looks like a signature proves nothing."""

    INVALID = "invalid"
    UNKNOWN_KEY = "unknown-key"
    UNREADABLE = "unreadable"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Claims:
    """What the signer says beyond the digest: our annotations ``dev.installml.*`` of the statement's subject.

    A signature made by another tool has none of them and vouches for the digest only.

    Attributes:
        ref: Reference that was signed for, ``registry/repository:tag``; empty when the signer names none.
        version: Package version, or empty.
        created: Seconds since the epoch at which the signer says that it signed.
        expires: Seconds since the epoch from which on the signature counts no more.
        chunks: Digest of the list of chunk-index digests that the signature covers.
    """

    ref: str = ""
    version: str = ""
    created: int | None = None
    expires: int | None = None
    chunks: Digest | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature whose cryptography holds. Whether its signer, type and subject are fit is not decided here.

    Attributes:
        signer: Who made it.
        form: How it was written down.
        predicate_type: The in-toto statement's; of a classic signature the one that cosign gives its bundles.
        subjects: Every digest that the statement is about.
        claims: What the signer says beyond the digest.
        predicate: The statement's predicate; empty for plain signatures.
        signed_at: Seconds since the epoch that a transparency log or timestamp authority proves, else None.
        log: Where it was logged, or empty.
        source: Digest of the manifest that carried it.
    """

    signer: Signer
    form: Form
    predicate_type: str
    subjects: tuple[Digest, ...]
    claims: Claims = Claims()
    predicate: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, hash=False)
    signed_at: int | None = None
    log: str = ""
    source: Digest | None = None


@dataclass(frozen=True, slots=True)
class Unproved:
    """Something in a signature's place that proves nothing: broken, by a key not known here, of a form not read.

    Attributes:
        source: Digest of the manifest that carried it.
        kind: Why it proves nothing.
        reason: The same as a sentence.
        hint: Public-key hint or name that it gives of its signer; nobody has checked it.
    """

    source: Digest
    kind: UnprovedKind
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was found about one manifest.

    Attributes:
        subject: The manifest's digest: the one that the tag was resolved to, once.
        signed: Signatures whose cryptography holds.
        unproved: The others.
    """

    subject: Digest
    signed: tuple[Signed, ...] = ()
    unproved: tuple[Unproved, ...] = ()
