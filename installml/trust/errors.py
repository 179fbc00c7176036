"""What goes wrong with keys, signatures and trust. Each hint is a command that helps, or says why none does::

    UsageError                  2
    ├── KeyInvalid                 a key that cannot be read or is of a kind not accepted
    └── PolicyInvalid              trust.toml or a policy file breaks its schema (lists every violation)
    TrustError                  4
    ├── EvidenceInvalid            a bundle, envelope, statement or payload that breaks its format
    ├── SignatureInvalid           a signature that the key did not make over these bytes
    ├── Unsigned                   nobody signed it
    ├── SignerUnknown              signed, by somebody whom nobody here vouches for
    ├── SignerChanged              signed by another than the one pinned, or no longer signed at all
    ├── SignerRevoked              signed by a key that was taken back, with no proof that it was before
    ├── ThresholdMissed            fewer of the required signers than the policy asks for
    ├── SubjectMismatch            signed for another name or version than the one asked for
    ├── Outdated                   an older signature than one already seen for the same name
    ├── SignatureExpired           the signer said that it counts until then, and then is over
    ├── AttestationMissing         a required attestation is not there or says something else
    └── FilesDiffer                files on disk are not those that were signed

Keys on disk have their own errors in ``installml.signing.errors``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import TrustError, UsageError

__all__ = [
    "AttestationMissing",
    "EvidenceInvalid",
    "FilesDiffer",
    "KeyInvalid",
    "Outdated",
    "PolicyInvalid",
    "SignatureExpired",
    "SignatureInvalid",
    "SignerChanged",
    "SignerRevoked",
    "SignerUnknown",
    "SubjectMismatch",
    "ThresholdMissed",
    "Unsigned",
]


class KeyInvalid(UsageError):
    """A key that cannot be read, or of a kind that is not accepted."""

    reference = "key-invalid"
    default_hint = "Make a key that works everywhere with: installml keys generate NAME"


class PolicyInvalid(UsageError):
    """A trust policy breaks its schema; every violation is listed at once."""

    reference = "policy-invalid"
    default_hint = "Nothing is decided until the file is mended; then look at it with: installml trust policy show"

    def __init__(self, origin: str, violations: Sequence[str], *, hint: str = "") -> None:
        self.violations = tuple(violations)
        lines = "".join(f"\n  - {violation}" for violation in self.violations)
        super().__init__(f"{origin} is not valid:{lines}", hint=hint, subject=origin)


class EvidenceInvalid(TrustError):
    """Something in a signature's place breaks its format, so that nothing can be concluded from it."""

    reference = "evidence-invalid"
    default_hint = "It counts as no signature. Ask whoever published it to sign again: installml sign REF"


class SignatureInvalid(TrustError):
    """The key did not make this signature over these bytes."""

    reference = "signature-invalid"
    default_hint = "Either the content or the signature was changed after signing, or another key made it."


class Unsigned(TrustError):
    """Nobody signed it."""

    reference = "unsigned"
    default_hint = (
        "Ask its publisher to sign it (installml sign REF). Where you know better, install with --allow-unsigned; "
        "that is recorded."
    )


class SignerUnknown(TrustError):
    """The signature is valid, and nobody here has said that its signer may be trusted for this repository."""

    reference = "signer-unknown"
    default_hint = "Compare the signer with what the publisher says elsewhere, then: installml trust add REPOSITORY"


class SignerChanged(TrustError):
    """Another signer than the one pinned for this repository, or signed before and unsigned now."""

    reference = "signer-changed"
    default_hint = (
        "This is what an attack looks like, and a change of key too. Ask the publisher by another way; if they did "
        "change it: installml trust rotate REPOSITORY"
    )


class SignerRevoked(TrustError):
    """The signer was revoked, and no log or timestamp proves that the signature is older."""

    reference = "signer-revoked"
    default_hint = "Ask the publisher to sign again with a key that holds: installml sign REF"


class ThresholdMissed(TrustError):
    """Fewer of the required signers have signed than the policy asks for."""

    reference = "threshold-missed"
    default_hint = "See which are missing: installml trust test REF"


class SubjectMismatch(TrustError):
    """What was signed is another name or version than the one asked for."""

    reference = "subject-mismatch"
    default_hint = "The tag may have been moved to a package that was signed under another name: installml verify REF"


class Outdated(TrustError):
    """An older signature than one already seen for this name: somebody offers a version that was replaced."""

    reference = "outdated"
    default_hint = "If going back is what you want, say so with --allow-downgrade."


class SignatureExpired(TrustError):
    """The signer limited how long the signature counts, and that time is over."""

    reference = "signature-expired"
    default_hint = "Ask the publisher to sign again: installml sign REF"


class AttestationMissing(TrustError):
    """A required attestation is not there, is not signed by whom the policy names, or says something else."""

    reference = "attestation-missing"
    default_hint = "See what the policy asks for and what was found: installml trust test REF"


class FilesDiffer(TrustError):
    """Files on disk are not those that were signed."""

    reference = "files-differ"
    default_hint = "Bring back what was signed: installml install REF"

    def __init__(self, origin: str, differences: Sequence[str], *, hint: str = "") -> None:
        self.differences = tuple(differences)
        shown = "".join(f"\n  - {each}" for each in self.differences[:20])
        more = f"\n  - and {len(self.differences) - 20} more" if len(self.differences) > 20 else ""
        super().__init__(f"{origin} is not what was signed:{shown}{more}", hint=hint, subject=origin)
