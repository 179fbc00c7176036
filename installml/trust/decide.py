"""The decision whether a package may be used: every rule, in one class, with no I/O and no clock.

Rules, in the order in which they are asked. The first that is not met ends the decision:

1. **One digest.** A tag is resolved once; the evidence must be about that digest.
2. **One rule of the policy**: the longest prefix that covers the repository. Level ``off`` ends here, unlooked at.
3. **What is a signature.** Its statement is of the type that signatures have, and about this digest and nothing else.
   Both are compared here because cosign's command line compares only the second: a scan attestation by the same key
   would pass as a signature (tried with cosign 3.1.3).
4. **What it says.** Not by a revoked signer, unless a log or timestamp authority proves that it is older. Signed for
   the name that was asked for (else a tag was moved to another package). Not expired (else somebody may withhold
   updates), not older than the policy's ``max_age``, not from the future. A signature of another tool makes no such
   claims and vouches for the digest only.
5. **Who may not have changed**: a signer that the lock names, or that is pinned for the repository, must be among those
   who signed. Another one, or none where there was one, is refused at any level: only ``trust rotate`` helps.
   Another tag of the same workflow is the same signer (``pins.lineage``).
6. **Who is enough**: as many of the policy's signers as its threshold says, each counted once; or somebody pinned,
   where the rule permits pins. A person may be asked about anybody else where the rule permits it; nobody else may.
7. **Not back**: the newest signature that counts is not older than the one seen under this tag before.
8. **What else must be there**: the required attestations, each of its type, about this digest, signed by whom the
   policy says, saying what it must.

Then the level: under ``warn`` a package that failed is let through with a warning, but for rule 5. ``--allow-unsigned``
lets it through where nobody had vouched for the repository before, and is recorded; signatures of a revoked signer are
not let through by it.

More evidence never makes a verdict worse, except that of a revoked signer: signatures are judged one by one, a broken
one counts as absent, and an attacker who can add something could have removed it as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..errors import TrustError
from . import refusals
from .errors import SignerRevoked, SignerUnknown
from .evidence import Evidence, Signed, Signer
from .judging import Fault, Judge, Judged, made_at, young_enough
from .pins import Mark, Memory, Pin
from .policy import FirstUse, Level, Policy, RequiredAttestation, Rollback, Rule, Trusted, matched
from .verdict import Outcome, Request, Step, Verdict, shown, signer_words, words

__all__ = ["decide"]


def decide(evidence: Evidence | None, request: Request, policy: Policy, memory: Memory, now: int) -> Verdict:
    """Decide whether a package may be used. The rules stand at the top of this module.

    Args:
        evidence: What was found; None only where the rule's level is ``off``, so that nobody looked.
        request: What is asked for.
        policy: What somebody wants.
        memory: What this machine remembers of the repository and the tag.
        now: Seconds since the epoch.

    Raises:
        ValueError: There is no evidence and the level is not ``off``, or it is about another manifest: the caller has
            not done its part.
    """
    rule = policy.rule_for(request.place)
    if rule.level is Level.OFF:
        return Verdict(Outcome.OFF, request, rule, (Step("policy", None, f"the rule {rule} decides: off"),))
    if evidence is None or evidence.subject != request.digest:
        raise ValueError(f"the evidence is not about {request.digest}")
    judge = Judge(request, policy, rule, now)
    judged = tuple(judge.judge(signed) for signed in evidence.signed)
    return _Decision(evidence, request, policy, rule, memory, now, judged).verdict()


class _Refused(Exception):
    """A rule is not met.

    Args:
        error: What a person is told.
        always: At any level, whatever flags say.
        ask: A person may say yes.
    """

    def __init__(self, error: TrustError, *, always: bool = False, ask: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.always = always
        self.ask = ask


@dataclass(slots=True)
class _Decision:
    """One decision under way: rules 5 to 8, and what follows from them."""

    evidence: Evidence
    request: Request
    policy: Policy
    rule: Rule
    memory: Memory
    now: int
    judged: tuple[Judged, ...]
    steps: list[Step] = field(default_factory=list)

    def verdict(self) -> Verdict:
        """Ask rule after rule."""
        self._note("digest", True, f"{self.request.asked} is {self.request.digest}")
        self._note("policy", None, f"the rule {self.rule} decides: {self.rule.level}")
        self._note_signatures()
        try:
            self._check_unchanged()
            outcome, counted = self._who()
            newest = self._check_not_back(counted)
            self._check_attestations(counted)
        except _Refused as refused:
            return self._without(refused)
        return self._with(outcome, counted, newest)

    def _note(self, rule: str, passed: bool | None, sentence: str) -> None:
        self.steps.append(Step(rule, passed, sentence))

    def _note_signatures(self) -> None:
        for each in self.judged:
            named = (
                "counts" if each.signed.claims.ref else "counts; it names no package and vouches for the digest only"
            )
            what = f"{each.signed.form} signature by {signer_words(each.signed.signer)}"
            passed = None if each.fault is Fault.FOREIGN else each.fault is None
            self._note("signature", passed, f"{what} {each.sentence or named}")
        for other in self.evidence.unproved:
            self._note("signature", False, f"{shown(other.reason)} ({other.kind})")
        if not self.judged and not self.evidence.unproved:
            self._note("signature", None, "there is none")

    @property
    def _vouching(self) -> tuple[Signer, ...]:
        """Whoever has signed in a way that counts, each once."""
        return tuple(dict.fromkeys(each.signed.signer for each in self.judged if each.fault is None))

    def _faults(self, signers: Iterable[Signer] | None = None) -> list[Judged]:
        """Return signatures of this package that do not count: by some signers, or by anybody."""
        wanted = None if signers is None else frozenset(signers)
        found = [each for each in self.judged if each.fault not in (None, Fault.FOREIGN)]
        return [each for each in found if wanted is None or each.signed.signer in wanted]

    # Rule 5

    def _check_unchanged(self) -> None:
        if locked := self.request.locked:
            present = locked.intersection(self._signers)
            self._check_present("lock", locked, present, refusals.not_locked(self.request, locked))
        if pinned := self.memory.pinned:
            changed = self._vouching and refusals.not_pinned(self.request, pinned, self._vouching)
            self._check_present("pin", pinned, self._pinned, changed or refusals.gone(self.request, pinned))
        elif self.memory.was_signed and not self._vouching and not self._faults(self._known()):
            self._note("pin", False, "packages of this repository were signed before")
            raise _Refused(refusals.gone(self.request, ()), always=True)

    def _check_present(
        self, where: str, wanted: frozenset[Signer], there: frozenset[Signer], changed: TrustError
    ) -> None:
        """Return when one of those who are wanted has signed.

        Args:
            where: What names them.
            wanted: Whom it names.
            there: Who of those who signed, in whatever way, is meant by it.
            changed: The refusal when none of them has.
        """
        present = there.intersection(self._vouching)
        self._note(where, bool(present), f"the {where} names {words(wanted)}")
        if present:
            return
        if faults := self._faults(there):  # the right signer, and a signature that does not count
            raise _Refused(refusals.faulty(self.request, faults))
        raise _Refused(changed, always=True)

    @property
    def _signers(self) -> frozenset[Signer]:
        """Whoever has signed, in a way that counts or not."""
        return frozenset(each.signed.signer for each in self.judged)

    @property
    def _pinned(self) -> frozenset[Signer]:
        """Those of them who are pinned."""
        return frozenset(signer for signer in self._signers if self.memory.is_pinned(signer))

    def _known(self) -> list[Signer]:
        return [signer for signer in self._signers if any(entry.pattern.matches(signer) for entry in self.rule.signers)]

    # Rule 6

    def _who(self) -> tuple[Outcome, tuple[Signer, ...]]:
        """Return whether somebody was accepted now or before, and everybody who counts: not only as many as needed."""
        if not self._vouching:
            raise _Refused(self._nobody())
        met = matched(self.rule.signers, self._vouching)
        pinned = self._among(self._pinned) if self.rule.first_use is FirstUse.ASK else ()
        accepted = self._among(self.request.accepted) if self._may_ask else ()
        counted = tuple(dict.fromkeys((*self._among(self._known()), *pinned, *accepted)))
        if self.rule.signers:
            enough = len(met) >= self.rule.threshold
            self._note("signers", enough, f"{len(met)} met, {self.rule.threshold} needed: {words(met.values())}")
            if enough:
                return Outcome.TRUSTED, counted
        if pinned:
            self._note("signers", True, f"pinned for this repository: {words(pinned)}")
            return Outcome.TRUSTED, counted
        if accepted:
            self._note("signers", True, f"accepted by a person: {words(accepted)}")
            return Outcome.PINNED, counted
        if met:
            raise _Refused(refusals.too_few(self.request, self.rule, met))
        raise self._stranger()

    @property
    def _may_ask(self) -> bool:
        return self.rule.first_use is FirstUse.ASK and self.memory.pin is None

    def _among(self, signers: Iterable[Signer]) -> tuple[Signer, ...]:
        wanted = frozenset(signers)
        return tuple(signer for signer in self._vouching if signer in wanted)

    def _stranger(self) -> _Refused:
        self._note("signers", False, f"not known here: {words(self._vouching)}")
        if self._may_ask and self.request.interactive:  # no question whose answer could not help
            self._check_not_back(self._vouching)
            self._check_attestations(self._vouching)
        return _Refused(refusals.stranger(self.request, self._vouching), ask=self._may_ask)

    def _nobody(self) -> TrustError:
        if faults := self._faults():
            return refusals.faulty(self.request, faults)
        return refusals.nothing_proved(self.request, self.judged, self.evidence.unproved)

    # Rule 7

    def _check_not_back(self, counted: Iterable[Signer]) -> int:
        """Return when the newest signature of those who count was made; 0 where none of them says."""
        newest = max((made_at(signed) for signed in self._counting(counted)), default=0)
        mark = self.memory.mark
        if mark is None or not self.request.tag or mark.digest == self.request.digest or newest >= mark.created:
            self._note("rollback", True, "nothing newer has been seen under this tag")
            return newest
        allowed = self.request.allow_downgrade or self.rule.rollback is Rollback.ALLOW
        who = (
            "; --allow-downgrade" if self.request.allow_downgrade else "; the rule allows going back" if allowed else ""
        )
        self._note("rollback", allowed, f"{mark.digest}, signed later, has been seen under this tag{who}")
        if not allowed:
            raise _Refused(refusals.outdated(self.request, mark.digest))
        return newest

    def _counting(self, signers: Iterable[Signer]) -> list[Signed]:
        wanted = frozenset(signers)
        return [each.signed for each in self.judged if each.fault is None and each.signed.signer in wanted]

    # Rule 8

    def _check_attestations(self, counted: tuple[Signer, ...]) -> None:
        for wanted in self.rule.attestations:
            statements = [signed for signed in self.evidence.signed if signed.predicate_type == wanted.type]
            reasons = [self._unfit(wanted, signed, counted) for signed in statements]
            found = "there" if "" in reasons else "; ".join(reasons[:3]) or "there is none"
            self._note("attestation", "" in reasons, f"{wanted.type}: {found}")
            if "" not in reasons:
                raise _Refused(refusals.attestation_missing(self.request, self.rule, wanted.type, found))

    def _unfit(self, wanted: RequiredAttestation, signed: Signed, counted: tuple[Signer, ...]) -> str:
        """Return why a statement of the right type is not the one that is asked for; empty when it is."""
        who = f"the one by {signer_words(signed.signer)}"
        if self.request.digest not in signed.subjects:
            return f"{who} is about something else"
        if self.policy.revoked(signed.signer, signed.signed_at):
            return f"{who} is by a signer who was revoked"
        if not self._may_attest(wanted.signers, signed.signer, counted):
            return f"{who} is not by anybody whom the policy names"
        expired = signed.claims.expires is not None and signed.claims.expires <= self.now
        if expired or not young_enough(signed, wanted.max_age, self.now):
            return f"{who} is too old"
        unmet = next((text for condition in wanted.conditions if (text := condition.unmet(signed.predicate))), "")
        return f"{who} {shown(unmet)}" if unmet else ""

    def _may_attest(self, named: tuple[Trusted, ...], signer: Signer, counted: tuple[Signer, ...]) -> bool:
        entries = named or self.rule.signers
        return any(entry.pattern.matches(signer) for entry in entries) or (not named and signer in counted)

    # The end

    def _with(self, outcome: Outcome, counted: tuple[Signer, ...], newest: int) -> Verdict:
        self._note("verdict", True, outcome.value)
        chunks = (signed.claims.chunks for signed in self._counting(counted))
        return Verdict(
            outcome,
            self.request,
            self.rule,
            tuple(self.steps),
            signers=counted,
            pin=Pin(self._among(self.request.accepted), self.now) if outcome is Outcome.PINNED else None,
            mark=self._mark(newest),
            vouched=True,
            chunks=tuple(dict.fromkeys(digest for digest in chunks if digest is not None)),
        )

    def _mark(self, newest: int) -> Mark | None:
        seen = self.memory.mark
        if not self.request.tag or (seen is not None and newest <= seen.created):
            return None
        return Mark(newest, self.request.digest)

    def _without(self, refused: _Refused) -> Verdict:
        outcome = self._softened(refused)
        unknown = self._vouching if isinstance(refused.error, SignerUnknown) else ()
        self._note("verdict", outcome not in (Outcome.REFUSED, Outcome.ASK), f"{outcome}: {refused.error.message}")
        return Verdict(outcome, self.request, self.rule, tuple(self.steps), unknown=unknown, refusal=refused.error)

    def _softened(self, refused: _Refused) -> Outcome:
        """Return what becomes of a refusal: by flag, then level, then a person's presence."""
        if refused.always:
            return Outcome.REFUSED
        before = self.memory.was_signed or bool(self.request.locked)
        if self.request.allow_unsigned and not before and not isinstance(refused.error, SignerRevoked):
            return Outcome.ALLOWED_UNSIGNED
        if self.rule.level is Level.WARN:
            return Outcome.WARNED
        return Outcome.ASK if refused.ask and self.request.interactive else Outcome.REFUSED
