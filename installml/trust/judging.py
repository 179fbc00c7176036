"""One signature at a time: does it count, and why not. Rules 3 and 4 of ``installml.trust.decide``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from ..errors import ReferenceInvalid
from ..reference import Reference
from .evidence import Form, Signed
from .policy import Place, Policy, Rule
from .statement import COSIGN_SIGN, OMS
from .verdict import Request, shown

__all__ = ["NOTATION", "SIGNATURE_TYPES", "SKEW", "Fault", "Judge", "Judged", "made_at", "young_enough"]

SKEW = 86_400
"""Seconds by which a signer's clock may be ahead of ours."""
NOTATION = "application/vnd.cncf.notary.payload.v1+json"
SIGNATURE_TYPES: Mapping[Form, str] = {
    Form.BUNDLE: COSIGN_SIGN,
    Form.CLASSIC: COSIGN_SIGN,
    Form.OMS: OMS,
    Form.NOTATION: NOTATION,
}
"""What ``Signed.predicate_type`` of a signature is, by form. An OMS signature is about files: whoever collects it names
the manifest as its subject after comparing every file with the manifest's."""


class Fault(IntEnum):
    """Why a signature does not count; of several, the first here says most about what is going on."""

    REVOKED = 0
    SUBJECT = 1
    EXPIRED = 2
    FOREIGN = 3
    """No signature of this package at all: of another type, or about something else."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One signature and what is thought of it.

    Attributes:
        signed: The signature.
        fault: Why it does not count; None when it does.
        sentence: The same, as the end of a sentence that begins with the signature.
        hint: What a person can do about it; empty for what is always said of such a fault.
    """

    signed: Signed
    fault: Fault | None = None
    sentence: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges signatures for one request.

    Attributes:
        request: What is asked for.
        policy: Where revocations stand.
        rule: Which rule decides.
        now: Seconds since the epoch.
    """

    request: Request
    policy: Policy
    rule: Rule
    now: int

    def judge(self, signed: Signed) -> Judged:
        """Return what is thought of a signature whose cryptography holds."""
        return (
            self._of_another_kind(signed)
            or self._revoked(signed)
            or self._misnamed(signed)
            or self._untimely(signed)
            or Judged(signed)
        )

    def _of_another_kind(self, signed: Signed) -> Judged | None:
        # in-toto attestation framework, "Validation model": the predicate type and the subject are both the
        # verifier's to compare; cosign's command line leaves the first one out.
        if signed.predicate_type != SIGNATURE_TYPES[signed.form]:
            kind = shown(signed.predicate_type)
            return Judged(signed, Fault.FOREIGN, f"is a statement of type {kind}, no signature")
        if signed.subjects != (self.request.digest,):
            about = "another manifest" if len(signed.subjects) == 1 else f"{len(signed.subjects)} things at once"
            return Judged(signed, Fault.FOREIGN, f"is about {about}")
        return None

    def _revoked(self, signed: Signed) -> Judged | None:
        revocation = self.policy.revoked(signed.signer, signed.signed_at)
        if revocation is None:
            return None
        why = f" ({shown(revocation.reason)})" if revocation.reason else ""
        return Judged(signed, Fault.REVOKED, f"is by a signer who was revoked{why}, and nothing proves it to be older")

    def _misnamed(self, signed: Signed) -> Judged | None:
        claimed = signed.claims.ref
        if not claimed:
            return None
        try:
            reference = Reference.parse(claimed)
        except ReferenceInvalid:
            return Judged(signed, Fault.SUBJECT, f"was made for {shown(claimed)!r}, which is no name")
        hint = (
            "The name may have been moved to another package. What was signed has a name of its own: "
            f"installml install {claimed}"
        )
        own = self.request.place
        if Place.of(reference) not in (own, self.rule.signed_as(own)):
            return Judged(signed, Fault.SUBJECT, f"was made for another repository: {claimed}", hint)
        if reference.tag and self.request.tag and reference.tag != self.request.tag:
            return Judged(signed, Fault.SUBJECT, f"was made for another tag: {claimed}", hint)
        return None

    def _untimely(self, signed: Signed) -> Judged | None:
        claims = signed.claims
        if claims.expires is not None and claims.expires <= self.now:
            return Judged(signed, Fault.EXPIRED, "has expired")
        if claims.created is not None and claims.created > self.now + SKEW:  # else it would be the newest for ever
            hint = "One of two clocks is wrong; look at this machine's: date"
            return Judged(signed, Fault.EXPIRED, "says that it was made in the future", hint)
        if not young_enough(signed, self.rule.max_age, self.now):
            return Judged(signed, Fault.EXPIRED, "is older than the policy's max_age, or does not say how old it is")
        return None


def made_at(signed: Signed) -> int:
    """Return when a signature was made, as well as anybody says; 0 for nobody says."""
    return max(0, signed.claims.created or signed.signed_at or 0)


def young_enough(signed: Signed, max_age: int | None, now: int) -> bool:
    """Return whether a signature is young enough; one whose time nobody says is not. A proved time comes first."""
    made = signed.signed_at if signed.signed_at is not None else signed.claims.created
    return max_age is None or (made is not None and now - made <= max_age)
