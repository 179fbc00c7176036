"""What holds of every decision, whatever was signed, by whom, and whatever the policy says."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from installml.digest import Digest
from installml.reference import Reference
from installml.testing.strategies import references
from installml.trust.decide import decide
from installml.trust.evidence import Claims, Evidence, Form, IdentitySigner, KeySigner, Signed, Unproved, UnprovedKind
from installml.trust.judging import SIGNATURE_TYPES
from installml.trust.patterns import AllOf, AnyOf, IdentityLike, Not, UnsafeAnyone, exactly
from installml.trust.pins import Mark, Memory, Pin
from installml.trust.policy import (
    FirstUse,
    Level,
    NoWorseThan,
    Place,
    Policy,
    RequiredAttestation,
    Revocation,
    Rollback,
    Rule,
    Trusted,
    matched,
)
from installml.trust.policy_document import parse_policy
from installml.trust.verdict import Outcome, Request, Verdict

NOW = 1_000_000
SCAN = "https://installml.dev/scan/v1"
PACKAGE, OTHER = Digest.of(b"package"), Digest.of(b"other")
REPOSITORY = "r.example/acme/x"
SIGNERS = [
    KeySigner(str(Digest.of(b"alice"))),
    KeySigner(str(Digest.of(b"bob"))),
    IdentitySigner("ci@acme.example", "https://issuer.example"),
    IdentitySigner("dev@acme.example", "https://issuer.example"),
]

signers = st.sampled_from(SIGNERS)
few_signers = st.frozensets(signers, max_size=2)
times = st.sampled_from([None, NOW - 500, NOW - 100, NOW - 50, NOW, NOW + 10, NOW + 900_000])


@st.composite
def signatures(draw: st.DrawFn) -> Signed:
    """Return signatures of every sort, those that count as often as the others."""
    form = draw(st.sampled_from(Form))
    kind = draw(st.sampled_from([SIGNATURE_TYPES[form], SIGNATURE_TYPES[form], SCAN]))
    subjects = draw(st.sampled_from([(PACKAGE,), (PACKAGE,), (PACKAGE,), (OTHER,), (PACKAGE, OTHER), ()]))
    ref = draw(st.sampled_from(["", f"{REPOSITORY}:1", f"{REPOSITORY}:1", f"{REPOSITORY}:2", "r.example/acme/y:1"]))
    claims = Claims(ref, created=draw(times), expires=draw(st.sampled_from([None, None, NOW, NOW + 1])))
    severities = draw(st.lists(st.sampled_from(["low", "high", "strange"]), max_size=2))
    predicate = {"findings": [{"severity": severity} for severity in severities]} if kind == SCAN else {}
    return Signed(draw(signers), form, kind, subjects, claims, predicate, draw(times))


unproved = st.builds(Unproved, st.just(OTHER), st.sampled_from(UnprovedKind), st.just("something"))
several = st.lists(signatures(), max_size=4).map(tuple)
evidences = st.builds(Evidence, st.just(PACKAGE), several, st.lists(unproved, max_size=1).map(tuple))
patterns = st.one_of(
    signers.map(exactly),
    signers.map(exactly),
    st.just(UnsafeAnyone()),
    st.just(IdentityLike("*@acme.example", "https://issuer.example")),
    st.lists(signers.map(exactly), min_size=1, max_size=2).map(lambda found: AnyOf(tuple(found))),
    signers.map(lambda one: AllOf((IdentityLike("**acme**", "https://issuer.example"), Not(exactly(one))))),
)
trusted = st.lists(patterns.map(Trusted), max_size=3).map(tuple)


@st.composite
def rules(draw: st.DrawFn, prefix: str = "r.example") -> Rule:
    """Return rules that a document could spell."""
    entries = draw(trusted)
    threshold = draw(st.integers(1, max(1, len(entries))))
    first_use = FirstUse.NEVER if threshold > 1 else draw(st.sampled_from(FirstUse))
    conditions = draw(st.sampled_from([(), (NoWorseThan("low"),)]))
    needed = draw(st.sampled_from([(), (), (RequiredAttestation(SCAN, draw(trusted), conditions, 200),)]))
    return Rule(
        Place.parse(prefix),
        draw(st.sampled_from([Level.ENFORCE, Level.WARN])),
        entries,
        threshold,
        first_use,
        draw(st.sampled_from(Rollback)),
        draw(st.sampled_from([None, None, 80])),
        attestations=needed,
    )


revocations = st.builds(Revocation, signers.map(exactly), st.sampled_from([None, NOW - 60]))
policies = st.builds(Policy, rules().map(lambda rule: (rule,)), st.lists(revocations, max_size=1).map(tuple))
pins = st.one_of(st.none(), st.frozensets(signers, min_size=1, max_size=2).map(lambda found: Pin(tuple(found))))
marks = st.one_of(st.none(), st.builds(Mark, st.sampled_from([0, NOW - 100, NOW]), st.sampled_from([PACKAGE, OTHER])))
memories = st.builds(Memory, pins, marks, st.booleans())
asked = st.builds(
    Request,
    st.sampled_from([f"{REPOSITORY}:1", f"{REPOSITORY}:1", f"{REPOSITORY}@{PACKAGE}"]).map(Reference.parse),
    st.just(PACKAGE),
    st.booleans(),
    few_signers,
    st.booleans(),
    st.booleans(),
    st.one_of(st.just(frozenset()), few_signers),
)

RANK = {Outcome.REFUSED: 0, Outcome.ASK: 1, Outcome.WARNED: 2, Outcome.ALLOWED_UNSIGNED: 2, Outcome.PINNED: 3}


def rank(verdict: Verdict) -> int:
    return RANK.get(verdict.outcome, 4)


@settings(max_examples=300)
@given(evidences, signatures(), asked, policies, memories)
def test_more_evidence_never_makes_a_verdict_worse_but_for_revocation(
    found: Evidence, more: Signed, request: Request, policy: Policy, memory: Memory
) -> None:
    assume(policy.revoked(more.signer, more.signed_at) is None)
    before = decide(found, request, policy, memory, NOW)
    after = decide(replace(found, signed=(*found.signed, more)), request, policy, memory, NOW)
    assert rank(after) >= rank(before), (before.steps, after.steps)


@settings(max_examples=100)
@given(evidences, unproved, asked, policies, memories)
def test_what_proves_nothing_changes_nothing_but_words(
    found: Evidence, more: Unproved, request: Request, policy: Policy, memory: Memory
) -> None:
    before = decide(found, request, policy, memory, NOW)
    after = decide(replace(found, unproved=(*found.unproved, more)), request, policy, memory, NOW)
    assert (after.outcome, after.pin, after.mark) == (before.outcome, before.pin, before.mark)


@settings(max_examples=200)
@given(evidences, asked, rules(), st.lists(revocations, max_size=1), memories)
def test_enforce_never_lets_through_what_warn_flags(
    found: Evidence, request: Request, rule: Rule, revoked: list[Revocation], memory: Memory
) -> None:
    verdicts = [
        decide(found, request, Policy((replace(rule, level=level),), tuple(revoked)), memory, NOW)
        for level in (Level.ENFORCE, Level.WARN)
    ]
    enforced, warned = verdicts
    if warned.outcome in (Outcome.WARNED, Outcome.REFUSED):
        assert not enforced.passes
    if enforced.passes:
        assert warned.outcome is enforced.outcome


@settings(max_examples=100)
@given(evidences, st.randoms(use_true_random=False), asked, policies, memories)
def test_the_order_of_signatures_never_matters(
    found: Evidence, random: object, request: Request, policy: Policy, memory: Memory
) -> None:
    signed = list(found.signed)
    random.shuffle(signed)  # type: ignore[attr-defined]
    verdicts = [decide(replace(found, signed=tuple(s)), request, policy, memory, NOW) for s in (found.signed, signed)]
    one, two = ((v.outcome, v.reference, set(v.signers), v.mark, v.pin and set(v.pin.signers)) for v in verdicts)
    assert one == two


@settings(max_examples=200)
@given(evidences, asked, policies, memories)
def test_nothing_passes_without_a_signature_but_by_flag_or_level(
    found: Evidence, request: Request, policy: Policy, memory: Memory
) -> None:
    verdict = decide(found, request, policy, memory, NOW)
    if verdict.outcome in (Outcome.TRUSTED, Outcome.PINNED):
        fitting = {s.signer for s in found.signed if s.subjects == (PACKAGE,) and s.predicate_type != SCAN}
        assert verdict.signers
        assert set(verdict.signers) <= fitting
    else:
        assert verdict.refusal is not None
        assert (verdict.pin, verdict.mark, verdict.vouched) == (None, None, False)


PREFIXES = ["*", "r.example", "r.example/acme", "r.example/acme/x", "r.example/acme-evil", "r.example/acm", "s.example"]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(PREFIXES), unique=True, min_size=1), st.data(), evidences, asked, memories)
def test_the_order_of_the_file_never_matters(
    prefixes: list[str], data: st.DataObject, found: Evidence, request: Request, memory: Memory
) -> None:
    blocks = [data.draw(blocks_of(prefix)) for prefix in prefixes]
    shuffled = data.draw(st.permutations(blocks))
    policies = [parse_policy("".join(text).encode(), "trust.toml") for text in (blocks, shuffled)]
    one, two = (decide(found, request, policy, memory, NOW) for policy in policies)
    assert (one.outcome, one.reference, one.rule, one.message, one.hint) == (
        two.outcome,
        two.reference,
        two.rule,
        two.message,
        two.hint,
    )


@st.composite
def blocks_of(draw: st.DrawFn, prefix: str) -> str:
    """Return one rule as text."""
    level = draw(st.sampled_from(Level))
    lines = ["[[rules]]", f"prefix = {json.dumps(prefix)}", f'level = "{level}"']
    if keys := draw(st.lists(st.sampled_from(SIGNERS[:2]), unique=True)):
        spelled = ", ".join(f'{{ key = "{key.fingerprint}" }}' for key in keys if isinstance(key, KeySigner))
        lines.append(f"signers = [{spelled}]")
    return "\n".join(lines) + "\n"


@given(references(), st.text(alphabet="abcz0189-_.", min_size=1, max_size=5))
def test_a_prefix_never_covers_a_sibling(reference: Reference, more: str) -> None:
    assume(reference.registry)
    place = Place.of(reference)
    sibling = Place((*place.parts[:-1], place.parts[-1] + more))
    longer_host = Place((place.parts[0] + more, *place.parts[1:]))
    inside = Place((*place.parts, more))
    assert (place.covers(place), place.covers(inside)) == (True, True)
    assert not any(place.covers(other) for other in (sibling, longer_host, Place(place.parts[:-1])))


@given(references())
def test_a_prefix_that_is_a_repository_covers_it(reference: Reference) -> None:
    assume(reference.registry)
    parts = f"{reference.registry}/{reference.repository}".split("/")
    for length in range(1, len(parts) + 1):
        assert Place.parse("/".join(parts[:length])).covers(Place.of(reference))


@given(trusted, st.lists(signers, max_size=4))
def test_met_entries_have_signers_of_their_own_and_are_as_many_as_can_be(
    entries: tuple[Trusted, ...], who: list[KeySigner | IdentitySigner]
) -> None:
    met = matched(entries, who)
    assert len(set(met.values())) == len(met)
    assert all(entries[position].pattern.matches(signer) for position, signer in met.items())
    assert len(met) == most(list(entries), frozenset(who))


def most(entries: list[Trusted], who: frozenset[KeySigner | IdentitySigner]) -> int:
    """Return the size of the largest matching, by trying everything."""
    if not entries:
        return 0
    rest = entries[1:]
    fitting = [signer for signer in who if entries[0].pattern.matches(signer)]
    return max([most(rest, who), *(1 + most(rest, who - {signer}) for signer in fitting)])
