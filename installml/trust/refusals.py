"""What a person is told when a package is refused: what is wrong, what to type, and what typing it means."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence

from ..digest import Digest
from ..errors import TrustError
from .errors import (
    AttestationMissing,
    Outdated,
    SignatureExpired,
    SignatureInvalid,
    SignerChanged,
    SignerRevoked,
    SignerUnknown,
    SubjectMismatch,
    ThresholdMissed,
    Unsigned,
)
from .evidence import IdentitySigner, KeySigner, Signer, Unproved, UnprovedKind
from .judging import Fault, Judged
from .pins import lineage
from .policy import Rule, Trusted
from .verdict import Request, shown, signer_words, words

__all__ = [
    "attestation_missing",
    "command",
    "faulty",
    "gone",
    "not_locked",
    "not_pinned",
    "nothing_proved",
    "outdated",
    "stranger",
    "too_few",
]

_ERRORS: Mapping[Fault, type[TrustError]] = {
    Fault.REVOKED: SignerRevoked,
    Fault.SUBJECT: SubjectMismatch,
    Fault.EXPIRED: SignatureExpired,
}


def command(verb: str, name: str, signer: Signer) -> str:
    """Return the line that adds a signer to those trusted for ``name``, or puts them in another's place."""
    line = ["installml", "trust", verb, name]
    if isinstance(signer, KeySigner):
        return shlex.join([*line, "--key", signer.fingerprint])
    if not (signer.identity + signer.issuer).isprintable():  # nothing that a person should copy
        return f"{shlex.join(line)} --identity IDENTITY --issuer URL"
    releases = lineage(signer)
    if verb == "add" and isinstance(releases, IdentitySigner) and releases != signer and "*" not in signer.identity:
        glob = f"{releases.identity}*"  # any tag: the exact identity would be that of one release only
        return shlex.join([*line, "--identity-glob", glob, "--issuer", signer.issuer])
    return shlex.join([*line, "--identity", signer.identity, "--issuer", signer.issuer])


def faulty(request: Request, faults: Sequence[Judged]) -> TrustError:
    """Return the refusal of signatures of this package none of which counts: the worst of them is told."""
    worst = min(faults, key=lambda each: each.fault or 0)
    kind = _ERRORS[worst.fault or Fault.REVOKED]
    message = f"{request.asked}: the signature by {signer_words(worst.signed.signer)} {worst.sentence}"
    return kind(message, hint=worst.hint, subject=request.name)


def not_locked(request: Request, wanted: Collection[Signer]) -> TrustError:
    """Return the refusal of a package that the signer in the lock has not signed."""
    return SignerChanged(
        f"{request.name} is locked to {words(wanted)}, who has not signed this package",
        hint="The lock or the package was changed. If the change is meant, make the lock anew: installml lock",
        subject=request.name,
    )


def not_pinned(request: Request, wanted: Collection[Signer], vouching: Sequence[Signer]) -> TrustError:
    """Return the refusal of a package that the pinned signer has not signed, and others have."""
    return SignerChanged(
        f"{request.name} is pinned to {words(wanted)}, and now signed by {words(vouching)} instead",
        hint=(
            "This is what an attack looks like, and a change of key too. Ask the publisher by another way. If they "
            "confirm it, this puts the new signer in the old one's place: "
            f"{command('rotate', request.name, vouching[0])}"
        ),
        subject=request.name,
    )


def gone(request: Request, pinned: Collection[Signer]) -> TrustError:
    """Return the refusal of a package without a signature in a repository whose packages had one."""
    before = f"it is pinned to {words(pinned)}" if pinned else "packages of this repository were signed before"
    return SignerChanged(
        f"{request.name} has no signature that counts, and {before}",
        hint=(
            "This is what an attack looks like. Ask the publisher to sign it. If they have stopped signing, this "
            f"forgets who was trusted there, as if you had never used it: installml trust rotate {request.name}"
        ),
        subject=request.name,
    )


def nothing_proved(request: Request, foreign: Sequence[Judged], unproved: Sequence[Unproved]) -> TrustError:
    """Return the refusal of a package that has no signature at all, or only such as prove nothing."""
    broken = [one for one in unproved if one.kind in (UnprovedKind.INVALID, UnprovedKind.UNREADABLE)]
    if broken:
        return SignatureInvalid(
            f"{request.name} has a signature that does not hold: {shown(broken[0].reason)}",
            hint=(
                "It counts as unsigned. Ask its publisher to sign it again; see what was found with: "
                f"installml trust test {request.asked}"
            ),
            subject=request.name,
        )
    if any(one.kind is UnprovedKind.UNKNOWN_KEY for one in unproved):
        return SignerUnknown(
            f"{request.name} is signed with a key that is not known here",
            hint=(
                "Get the public key from the publisher's own site, not from the registry. This trusts what it signs "
                f"there from now on: installml trust add {request.name} --key FILE"
            ),
            subject=request.name,
        )
    found = f"; what is there {foreign[0].sentence}" if foreign else ""
    found = found or (f"; what is there cannot be used: {shown(unproved[0].reason)}" if unproved else "")
    return Unsigned(
        f"{request.name} is not signed{found}",
        hint=(
            f"Ask its publisher to sign it: installml sign {request.asked}. If you know by other means that these "
            "are the right bytes, --allow-unsigned takes them this time; that is recorded."
        ),
        subject=request.name,
    )


def stranger(request: Request, vouching: Sequence[Signer]) -> TrustError:
    """Return the refusal of a package that is signed, by somebody whom nobody here knows."""
    return SignerUnknown(
        f"{request.name} is signed by {words(vouching)}, whom nobody here has said to trust",
        hint=(
            "Compare this with what the publisher says on another site. If it is the same, this trusts whatever they "
            f"sign there from now on: {command('add', request.name, vouching[0])}"
        ),
        subject=request.name,
    )


def too_few(request: Request, rule: Rule, met: Collection[int]) -> TrustError:
    """Return the refusal of a package that fewer have signed than the rule asks for."""
    missing: list[Trusted] = [entry for position, entry in enumerate(rule.signers) if position not in met]
    names = "; ".join(shown(str(entry)) for entry in missing[:5])
    return ThresholdMissed(
        f"{request.name}: {len(met)} of the {rule.threshold} signers that the rule {rule} asks for have signed",
        hint=f"Missing is one of: {names}. Each signs with: installml sign {request.asked}",
        subject=request.name,
    )


def outdated(request: Request, newer: Digest) -> TrustError:
    """Return the refusal of a package that was signed before one that was seen under the same name."""
    return Outdated(
        f"{request.asked} is an earlier package than one that was seen under this name before",
        hint=(
            f"Somebody may be offering a version that was replaced; the newer one is {newer}. If going back is what "
            "you want, --allow-downgrade says so this time."
        ),
        subject=request.name,
    )


def attestation_missing(request: Request, rule: Rule, kind: str, found: str) -> TrustError:
    """Return the refusal of a package that lacks an attestation which the rule requires."""
    return AttestationMissing(
        f"{request.name} needs an attestation of type {kind}: {found}",
        hint=f"The rule {rule} asks for it. See what was found with: installml trust test {request.asked}",
        subject=request.name,
    )
