"""Who signed what, and what is thought of it."""

from __future__ import annotations

from dataclasses import dataclass

from ...digest import Digest
from ...reference import Reference
from .form import Result
from .trust import TrustStep

__all__ = ["SignResult", "SignatureInfo", "VerifiedSignature", "VerifyResult"]


@dataclass(frozen=True, slots=True)
class SignatureInfo:
    """One thing that was signed.

    Attributes:
        type: Predicate type of the statement.
        over: `manifest`, `files`, `classic` (the manifest, in cosign's classic form) or `statement`.
        carrier: Digest of the manifest that carries it.
    """

    type: str
    over: str
    carrier: Digest


@dataclass(frozen=True, slots=True)
class SignResult(Result):
    """A package was signed.

    Attributes:
        reference: The package.
        digest: Its manifest: what is signed.
        place: Where the signatures were attached.
        signer: Who signed.
        key: Name of the key on this machine; empty when it has none.
        fingerprint: `sha256:` and the hexadecimal SHA-256 of the public key's DER; empty where somebody signed without.
        ref: The name that the signature is for; empty for a package that no registry has.
        created: When, ISO 8601 in UTC.
        expires: Until when it counts; empty for ever.
        chunks: What stands for the chunk indexes that are vouched for; null where none are.
        files: Number of files that are covered.
        signatures: Everything that was signed.
        identity: As whom it was signed without a key of one's own; empty with one.
        issuer: Who vouched for that.
    """

    reference: Reference
    digest: Digest
    place: str
    signer: str
    key: str
    fingerprint: str
    ref: str
    created: str
    expires: str
    chunks: Digest | None
    files: int
    signatures: tuple[SignatureInfo, ...]
    identity: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """One signature, or what only looks like one.

    Attributes:
        form: `bundle`, `classic`, `oms` (over the files) or `notation`; empty when it could not be proved.
        type: Predicate type of its statement; empty when it could not be proved.
        signer: Who made it; empty when that could not be proved.
        key: Name of the signer's key on this machine; empty when it has none.
        counts: Whether it is a signature of this package that counts. Who is trusted is another question.
        ref: The name that it was made for; empty when its signer names none.
        made: When, ISO 8601 in UTC; empty when nobody says.
        proved: Whether a log or timestamp authority proves that time; else it is the signer's word.
        expires: Until when it counts; empty for ever.
        log: The log that has it; empty for none.
        source: Digest of the manifest that carries it; null for `model.sig`.
        reason: Why it does not count; empty when it does.
    """

    form: str
    type: str
    signer: str
    key: str
    counts: bool
    ref: str
    made: str
    proved: bool
    expires: str
    log: str
    source: Digest | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VerifyResult(Result):
    """What is known about who vouches for a package or a folder.

    Attributes:
        target: What was asked about.
        reference: The package; null for a folder that nothing was installed into.
        digest: The manifest that was judged; of a folder of somebody else the root digest of its files.
        place: Where signatures were read.
        trusted: Whether somebody who counts vouches for it; the exit code is 4 when not.
        verdict: `trusted`, `refused`, `warned` (the policy only warns) or `off` (the policy does not look).
        policy: Which rule decided.
        signers: Who vouches for it and counts.
        signatures: Everything that was found.
        steps: How it was decided.
        message: What was decided, in one sentence.
        reason: Stable name of why it is not trusted, as errors have it; empty when it is.
        hint: What to type; empty when there is nothing to do.
        files: Files of a folder that were hashed; null for a package.
        subset: Of a folder: only some of the signed files are there, because only those were installed.
        differences: How the files of a folder differ from what was signed.
    """

    target: str
    reference: Reference | None
    digest: Digest | None
    place: str
    trusted: bool
    verdict: str
    policy: str
    signers: tuple[str, ...]
    signatures: tuple[VerifiedSignature, ...]
    steps: tuple[TrustStep, ...]
    message: str
    reason: str = ""
    hint: str = ""
    files: int | None = None
    subset: bool = False
    differences: tuple[str, ...] = ()
