"""What single rules of the decision do, and what a person is told. The table of all cells is test_decide_table.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from installml.digest import Digest
from installml.errors import TrustError
from installml.trust.decide import decide
from installml.trust.evidence import Evidence, Form, IdentitySigner, Signer, Unproved, UnprovedKind
from installml.trust.patterns import AllOf, IdentityLike, KeyIs, Not, UnsafeAnyone, exactly
from installml.trust.pins import Mark, Memory, Pin
from installml.trust.policy import (
    DEFAULT_POLICY,
    Equals,
    FirstUse,
    Level,
    Place,
    Policy,
    RequiredAttestation,
    Revocation,
    Rollback,
    Rule,
    Trusted,
)
from installml.trust.verdict import Outcome, Request, Verdict

from .people import (
    ALICE,
    BOB,
    CAROL,
    DAY,
    ISSUER,
    NOW,
    OTHER,
    PACKAGE,
    REF,
    RELEASE,
    SCAN,
    STRANGER,
    asked,
    evidence,
    scan,
    signature,
)

NOTHING = Memory()
ASKED = Request(asked(), PACKAGE)


def trusting(*signers: Signer, **more: object) -> Policy:
    """Return a policy with one rule for the namespace."""
    entries = tuple(Trusted(exactly(signer)) for signer in signers)
    first_use = FirstUse.NEVER if entries else FirstUse.ASK
    rule = Rule(Place.parse("registry.example.com/acme"), signers=entries, first_use=first_use, origin="trust.toml")
    return Policy((replace(rule, **more),))  # type: ignore[arg-type]


def decided(
    found: Evidence, policy: Policy = DEFAULT_POLICY, request: Request = ASKED, memory: Memory = NOTHING
) -> Verdict:
    return decide(found, request, policy, memory, NOW)


def test_without_any_policy_a_stranger_is_refused_with_the_line_that_trusts_them() -> None:
    verdict = decided(evidence(signature(STRANGER)))
    assert verdict.outcome is Outcome.REFUSED
    assert verdict.hint.endswith(
        f"installml trust add registry.example.com/acme/sentiment --key {STRANGER.fingerprint}"
    )
    assert "Compare this with what the publisher says on another site" in verdict.hint


def test_the_line_that_trusts_an_identity_is_quoted_for_a_shell() -> None:
    signer = IdentitySigner("o'neil@example.com; rm -rf /", ISSUER)
    verdict = decided(evidence(signature(signer)))
    assert f"""--identity 'o'"'"'neil@example.com; rm -rf /' --issuer {ISSUER}""" in verdict.hint


def test_an_identity_with_control_characters_is_neither_drawn_nor_offered_to_be_typed() -> None:
    verdict = decided(evidence(signature(IdentitySigner("a\x1b[2Jb\u202ec", ISSUER))))
    told = verdict.message + verdict.hint + "".join(step.sentence for step in verdict.steps)
    assert told.isprintable()
    assert "--identity IDENTITY" in verdict.hint


def test_a_person_is_asked_about_a_stranger_and_their_yes_becomes_a_pin() -> None:
    found = evidence(signature(STRANGER))
    question = decided(found, request=replace(ASKED, interactive=True))
    assert (question.outcome, question.unknown, question.pin) == (Outcome.ASK, (STRANGER,), None)
    answer = decided(found, request=replace(ASKED, interactive=True, accepted=frozenset(question.unknown)))
    assert (answer.outcome, answer.pin) == (Outcome.PINNED, Pin((STRANGER,), NOW))
    assert answer.message == f"registry.example.com/acme/sentiment: signed by {STRANGER}, pinned from now on"


def test_only_those_are_pinned_about_whom_a_person_said_yes() -> None:
    found = evidence(signature(STRANGER), signature(BOB))
    verdict = decided(found, request=replace(ASKED, interactive=True, accepted=frozenset({BOB})))
    assert verdict.pin == Pin((BOB,), NOW)


def test_a_yes_about_somebody_who_has_not_signed_changes_nothing() -> None:
    request = replace(ASKED, interactive=True, accepted=frozenset({BOB}))
    assert decided(evidence(signature(STRANGER)), request=request).outcome is Outcome.ASK


def test_a_yes_does_not_replace_a_pin() -> None:
    request = replace(ASKED, interactive=True, accepted=frozenset({STRANGER}))
    verdict = decided(evidence(signature(STRANGER)), request=request, memory=Memory(Pin((ALICE,))))
    assert (verdict.outcome, verdict.reference) == (Outcome.REFUSED, "signer-changed")
    assert f"installml trust rotate registry.example.com/acme/sentiment --key {STRANGER.fingerprint}" in verdict.hint


def test_nobody_is_asked_where_the_rule_names_the_signers() -> None:
    verdict = decided(evidence(signature(STRANGER)), trusting(ALICE), replace(ASKED, interactive=True))
    assert verdict.outcome is Outcome.REFUSED


def test_a_pin_does_not_help_where_the_rule_names_the_signers() -> None:
    verdict = decided(evidence(signature(BOB)), trusting(ALICE), memory=Memory(Pin((BOB,))))
    assert verdict.reference == "signer-unknown"


def test_no_question_is_asked_whose_answer_could_not_help() -> None:
    policy = trusting(attestations=(RequiredAttestation(SCAN),))
    verdict = decided(evidence(signature(STRANGER)), policy, replace(ASKED, interactive=True))
    assert (verdict.outcome, verdict.reference) == (Outcome.REFUSED, "attestation-missing")


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ("https://github.com/acme/models/.github/workflows/release.yml@refs/tags/v1", ""),
        ("https://github.com/acme/models/.github/workflows/release.yml@refs/tags/v2", ""),
        ("https://github.com/acme/models/.github/workflows/release.yml@refs/heads/main", "signer-changed"),
        ("https://github.com/acme/models/.github/workflows/other.yml@refs/tags/v2", "signer-changed"),
        ("https://github.com/acme/evil/.github/workflows/release.yml@refs/tags/v2", "signer-changed"),
        ("https://github.com/acme/models/.github/workflows/release.yml@refs/tags/", "signer-changed"),
    ],
)
def test_another_tag_of_the_pinned_workflow_is_the_same_signer(identity: str, reason: str) -> None:
    memory = Memory(Pin((RELEASE,)))
    assert decided(evidence(signature(IdentitySigner(identity, ISSUER))), memory=memory).reference == reason
    other_issuer = IdentitySigner(identity, "https://other.example")
    assert decided(evidence(signature(other_issuer)), memory=memory).reference == "signer-changed"


def test_a_branch_that_is_pinned_is_that_branch() -> None:
    main, other = (replace(RELEASE, identity=f"https://x.example/w.yml@refs/heads/{name}") for name in ("main", "x"))
    assert decided(evidence(signature(main)), memory=Memory(Pin((main,)))).passes
    assert decided(evidence(signature(other)), memory=Memory(Pin((main,)))).reference == "signer-changed"


def test_the_line_that_trusts_a_release_workflow_means_its_next_release_too() -> None:
    verdict = decided(evidence(signature(RELEASE)))
    glob = RELEASE.identity.replace("tags/v1", "tags/**")
    assert f"--identity-glob '{glob}' --issuer {ISSUER}" in verdict.hint
    assert IdentityLike(glob, ISSUER).matches(replace(RELEASE, identity=glob.replace("**", "models/v2@x")))


def test_a_signature_beside_the_pinned_one_does_no_harm() -> None:
    found = evidence(signature(STRANGER), signature(ALICE))
    assert decided(found, memory=Memory(Pin((ALICE,)))).outcome is Outcome.TRUSTED


def test_a_refusal_is_raised_with_exit_code_4() -> None:
    with pytest.raises(TrustError) as raised:
        decided(evidence()).check()
    assert (raised.value.exit_code, raised.value.reference) == (4, "unsigned")
    assert "--allow-unsigned takes them this time" in raised.value.hint


def test_evidence_about_another_manifest_is_not_decided_about() -> None:
    with pytest.raises(ValueError, match="the evidence is not about"):
        decide(Evidence(OTHER, (signature(),)), ASKED, DEFAULT_POLICY, NOTHING, NOW)


def test_missing_evidence_is_not_taken_for_no_signature() -> None:
    with pytest.raises(ValueError, match="the evidence is not about"):
        decide(None, ASKED, DEFAULT_POLICY, NOTHING, NOW)


def test_off_needs_no_evidence() -> None:
    verdict = decide(None, ASKED, trusting(level=Level.OFF), NOTHING, NOW)
    assert (verdict.outcome, verdict.passes, verdict.signers) == (Outcome.OFF, True, ())


def test_a_scan_attestation_by_a_known_key_is_no_signature() -> None:
    verdict = decided(evidence(scan(ALICE)), trusting(ALICE))
    assert verdict.reference == "unsigned"
    assert f"a statement of type {SCAN}, no signature" in verdict.message


@pytest.mark.parametrize("form", list(Form))
def test_a_signature_of_any_form_vouches(form: Form) -> None:
    found = evidence(signature(ref="", created=None, form=form))
    assert decided(found, trusting(ALICE)).outcome is Outcome.TRUSTED


def test_the_type_of_one_form_is_no_signature_in_another() -> None:
    found = evidence(signature(form=Form.OMS, kind="https://sigstore.dev/cosign/sign/v1"))
    assert decided(found, trusting(ALICE)).reference == "unsigned"


def test_a_foreign_signature_vouches_for_the_digest_only_and_the_explanation_says_so() -> None:
    verdict = decided(evidence(signature(ref="", created=None)), trusting(ALICE))
    assert any("names no package and vouches for the digest only" in step.sentence for step in verdict.steps)


@pytest.mark.parametrize(
    ("wish", "signed", "reason"),
    [
        (REF, "registry.example.com/acme/sentiment", ""),
        (REF, "registry.example.com:443/acme/sentiment:1.4.0", ""),
        (REF, "Registry.Example.com/acme/sentiment:1.4.0", ""),
        (REF, "registry.example.com/acme/sentiment:1.4", "subject-mismatch"),
        (REF, "registry.example.com/acme/sentiment:1.4.0-rc.1", "subject-mismatch"),
        (REF, "other.example.com/acme/sentiment:1.4.0", "subject-mismatch"),
        (REF, "acme/sentiment:1.4.0", "subject-mismatch"),
        (REF, "registry.example.com/acme/sentiment/x:1.4.0", "subject-mismatch"),
        (REF, "no name at all", "subject-mismatch"),
        ("registry.example.com/acme/sentiment", REF, "subject-mismatch"),
        ("registry.example.com/acme/sentiment", "registry.example.com/acme/sentiment:latest", ""),
        (f"registry.example.com/acme/sentiment@{PACKAGE}", REF, ""),
        (f"registry.example.com/acme/sentiment:1.3.0@{PACKAGE}", REF, "subject-mismatch"),
        (f"registry.example.com/acme/vision@{PACKAGE}", REF, "subject-mismatch"),
    ],
)
def test_a_signature_counts_only_for_the_name_that_was_signed(wish: str, signed: str, reason: str) -> None:
    verdict = decided(evidence(signature(ref=signed)), trusting(ALICE), Request(asked(wish), PACKAGE))
    assert verdict.reference == reason


def test_a_package_is_accepted_under_the_name_of_the_place_that_a_mirror_copies() -> None:
    policy = trusting(ALICE, mirror_of=Place.parse("upstream.example.com/models"))
    verdicts = [
        decided(evidence(signature(ref=ref)), policy).reference
        for ref in (
            "upstream.example.com/models/sentiment:1.4.0",
            REF,
            "upstream.example.com/sentiment:1.4.0",
            "upstream.example.com/models/sentiment:1.3.0",
        )
    ]
    assert verdicts == ["", "", "subject-mismatch", "subject-mismatch"]


def test_a_substituted_tag_is_refused_with_the_name_that_was_signed() -> None:
    ref = "registry.example.com/acme/sentiment:1.0.0"
    verdict = decided(evidence(signature(ref=ref)), trusting(ALICE))
    assert verdict.hint.endswith(f"installml install {ref}")


def test_a_signature_expires_at_its_second() -> None:
    outcomes = [decided(evidence(signature(expires=NOW + left)), trusting(ALICE)).reference for left in (1, 0, -1)]
    assert outcomes == ["", "signature-expired", "signature-expired"]


def test_max_age_counts_from_the_proved_time_and_not_from_what_the_signer_says() -> None:
    policy = trusting(ALICE, max_age=30 * DAY)
    found = {
        "young": signature(created=NOW - 29 * DAY),
        "old": signature(created=NOW - 31 * DAY),
        "says young, proved old": signature(created=NOW, signed_at=NOW - 31 * DAY),
        "proved young": signature(ref="", created=None, signed_at=NOW - DAY),
        "nobody says": signature(ref="", created=None),
    }
    assert {name: decided(evidence(each), policy).passes for name, each in found.items()} == {
        "young": True,
        "old": False,
        "says young, proved old": False,
        "proved young": True,
        "nobody says": False,
    }


def test_a_revoked_key_counts_where_a_log_proves_that_it_signed_before() -> None:
    revocation = Revocation(KeyIs(ALICE.fingerprint), NOW - 10 * DAY, "a stolen laptop")
    policy = replace(trusting(ALICE), revocations=(revocation,))
    found = {
        "said to be older": signature(created=NOW - 20 * DAY),
        "proved older": signature(created=NOW - 20 * DAY, signed_at=NOW - 20 * DAY),
        "proved at that second": signature(created=NOW - 20 * DAY, signed_at=NOW - 10 * DAY),
        "proved newer": signature(signed_at=NOW - DAY),
    }
    assert {name: decided(evidence(each), policy).passes for name, each in found.items()} == {
        "said to be older": False,
        "proved older": True,
        "proved at that second": False,
        "proved newer": False,
    }


def test_a_revocation_says_why() -> None:
    policy = replace(trusting(ALICE), revocations=(Revocation(KeyIs(ALICE.fingerprint), None, "a stolen laptop"),))
    verdict = decided(evidence(signature()), policy)
    assert "revoked (a stolen laptop)" in verdict.message


def test_a_revocation_below_a_given_policy_holds_too() -> None:
    own = Policy((), (Revocation(KeyIs(ALICE.fingerprint)),))
    assert decided(evidence(signature()), trusting(ALICE).over(own)).reference == "signer-revoked"


def test_another_signature_counts_where_the_revoked_one_does_not() -> None:
    policy = replace(trusting(ALICE, BOB), revocations=(Revocation(KeyIs(ALICE.fingerprint)),))
    assert decided(evidence(signature(ALICE), signature(BOB)), policy).signers == (BOB,)


def test_who_signed_twice_counts_once() -> None:
    policy = trusting(ALICE, BOB, threshold=2)
    twice = evidence(signature(), signature(created=NOW - 5 * DAY), signature(form=Form.CLASSIC))
    assert decided(twice, policy).reference == "threshold-missed"
    assert decided(evidence(signature(), signature(BOB)), policy).signers == (ALICE, BOB)


def test_one_signer_whom_two_entries_mean_counts_once() -> None:
    everyone = Trusted(IdentityLike("https://github.com/acme/**", ISSUER))
    policy = trusting(RELEASE, threshold=2)
    policy = Policy((replace(policy.rules[0], signers=(*policy.rules[0].signers, everyone)),))
    assert decided(evidence(signature(RELEASE)), policy).reference == "threshold-missed"
    second = IdentitySigner("https://github.com/acme/audit", ISSUER)
    assert decided(evidence(signature(RELEASE), signature(second)), policy).passes


def test_the_missing_signers_are_named() -> None:
    verdict = decided(evidence(signature()), trusting(ALICE, BOB, CAROL, threshold=2))
    assert str(BOB) in verdict.hint
    assert str(CAROL) in verdict.hint
    assert str(ALICE) not in verdict.hint


def test_a_condition_put_together_means_whom_it_says() -> None:
    mine = AllOf((IdentityLike("https://github.com/acme/**", ISSUER), Not(exactly(RELEASE))))
    policy = Policy((replace(trusting(ALICE).rules[0], signers=(Trusted(mine),)),))
    assert not decided(evidence(signature(RELEASE)), policy).passes
    assert decided(evidence(signature(IdentitySigner("https://github.com/acme/x", ISSUER))), policy).passes


def test_an_identity_of_another_issuer_is_somebody_else() -> None:
    policy = trusting(RELEASE)
    impostor = replace(RELEASE, issuer="https://accounts.example.com/")
    assert decided(evidence(signature(impostor)), policy).reference == "signer-unknown"


def test_going_back_is_allowed_where_the_rule_says_so() -> None:
    seen = Memory(mark=Mark(NOW, OTHER))
    assert decided(evidence(signature()), trusting(ALICE), memory=seen).reference == "outdated"
    assert decided(evidence(signature()), trusting(ALICE, rollback=Rollback.ALLOW), memory=seen).passes


def test_the_same_package_is_never_a_step_back() -> None:
    seen = Memory(mark=Mark(NOW, PACKAGE))
    assert decided(evidence(signature(created=NOW - 9 * DAY)), trusting(ALICE), memory=seen).passes


def test_the_newest_of_all_known_signers_counts_and_not_of_as_many_as_are_needed() -> None:
    seen = Memory(mark=Mark(NOW - 5, OTHER))
    both = evidence(signature(ALICE, created=NOW - 9), signature(BOB, created=NOW - 1))
    verdict = decided(both, trusting(ALICE, BOB), memory=seen)
    assert (verdict.outcome, verdict.signers, verdict.mark) == (Outcome.TRUSTED, (ALICE, BOB), Mark(NOW - 1, PACKAGE))
    everybody = Policy((replace(trusting(ALICE).rules[0], signers=(Trusted(UnsafeAnyone()),)),))
    for found in (both, replace(both, signed=both.signed[::-1])):
        assert decided(found, everybody, memory=seen).passes


def test_two_packages_signed_in_the_same_second_are_no_step_back() -> None:
    seen = Memory(mark=Mark(NOW - DAY, OTHER))
    assert decided(evidence(signature(created=NOW - DAY)), trusting(ALICE), memory=seen).passes


def test_a_yes_about_a_second_signer_gives_them_nothing_where_one_is_pinned() -> None:
    request = replace(ASKED, interactive=True, accepted=frozenset({BOB}))
    verdict = decided(evidence(signature(ALICE), signature(BOB)), request=request, memory=Memory(Pin((ALICE,))))
    assert (verdict.outcome, verdict.signers, verdict.pin) == (Outcome.TRUSTED, (ALICE,), None)


def test_an_attestation_is_noted_among_the_signatures_and_is_no_failure() -> None:
    verdict = decided(evidence(signature(), scan(ALICE)), trusting(ALICE))
    assert [step.passed for step in verdict.steps if step.rule == "signature"] == [True, None]


def test_a_signature_that_says_no_time_is_a_step_back_where_one_did() -> None:
    seen = Memory(mark=Mark(NOW - 9 * DAY, OTHER))
    assert decided(evidence(signature(ref="", created=None)), trusting(ALICE), memory=seen).reference == "outdated"


def test_a_digest_that_was_asked_for_by_itself_is_no_step_back() -> None:
    request = Request(asked(f"registry.example.com/acme/sentiment@{PACKAGE}"), PACKAGE)
    verdict = decided(evidence(signature()), trusting(ALICE), request, Memory(mark=Mark(NOW, OTHER)))
    assert (verdict.passes, verdict.mark) == (True, None)


def test_the_newest_signature_of_those_who_count_is_remembered() -> None:
    found = evidence(signature(created=NOW - 5), signature(created=NOW - 2), signature(STRANGER, created=NOW - 1))
    assert decided(found, trusting(ALICE)).mark == Mark(NOW - 2, PACKAGE)


def test_after_going_back_on_purpose_the_newest_stays_remembered() -> None:
    verdict = decided(
        evidence(signature()),
        trusting(ALICE),
        replace(ASKED, allow_downgrade=True),
        Memory(mark=Mark(NOW, OTHER)),
    )
    assert (verdict.passes, verdict.mark) == (True, None)


def test_nothing_is_remembered_of_what_was_not_vouched_for() -> None:
    verdict = decided(evidence(), request=replace(ASKED, allow_unsigned=True))
    assert (verdict.outcome, verdict.pin, verdict.mark, verdict.vouched) == (
        Outcome.ALLOWED_UNSIGNED,
        None,
        None,
        False,
    )


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (None, "there is none"),
        (scan(ALICE, subjects=(OTHER,)), "is about something else"),
        (scan(STRANGER), "is not by anybody whom the policy names"),
        (scan(BOB, expires=NOW), "is too old"),
        (scan(BOB, created=NOW - 40 * DAY), "is too old"),
        (signature(BOB, kind=SCAN, predicate={"builder": {"id": "y"}}), "has 'y' at builder.id, not 'x'"),
    ],
)
def test_an_attestation_that_does_not_fit_is_none_and_the_reason_is_told(statement: object, found: str) -> None:
    wanted = RequiredAttestation(
        SCAN, (Trusted(exactly(ALICE)), Trusted(exactly(BOB))), (Equals("builder.id", "x"),), 30 * DAY
    )
    signed = (signature(), *([statement] if statement else []))
    verdict = decided(evidence(*signed), trusting(ALICE, attestations=(wanted,)))  # type: ignore[arg-type]
    assert verdict.reference == "attestation-missing"
    assert found in verdict.message


def test_an_attestation_with_several_subjects_is_about_each_of_them() -> None:
    policy = trusting(ALICE, attestations=(RequiredAttestation(SCAN),))
    assert decided(evidence(signature(), scan(ALICE, subjects=(OTHER, PACKAGE))), policy).passes


def test_an_attestation_by_a_revoked_signer_is_none() -> None:
    wanted = RequiredAttestation(SCAN, (Trusted(exactly(BOB)),))
    policy = replace(trusting(ALICE, attestations=(wanted,)), revocations=(Revocation(exactly(BOB)),))
    verdict = decided(evidence(signature(), scan(BOB)), policy)
    assert "by a signer who was revoked" in verdict.message


def test_a_pinned_signer_may_attest_where_nobody_is_named() -> None:
    policy = trusting(attestations=(RequiredAttestation(SCAN),))
    assert decided(evidence(signature(BOB), scan(BOB)), policy, memory=Memory(Pin((BOB,)))).passes


def test_a_lock_must_be_kept_and_gives_nobody_trust() -> None:
    locked = replace(ASKED, locked=frozenset({BOB}))
    assert decided(evidence(signature(BOB)), trusting(ALICE), locked).reference == "signer-unknown"
    assert decided(evidence(signature(ALICE)), trusting(ALICE), locked).reference == "signer-changed"
    assert decided(evidence(signature(ALICE), signature(BOB)), trusting(ALICE), locked).passes


def test_neither_warn_nor_a_flag_lets_a_broken_lock_through() -> None:
    request = replace(ASKED, locked=frozenset({BOB}), allow_unsigned=True)
    assert decided(evidence(), trusting(level=Level.WARN), request).outcome is Outcome.REFUSED


def test_chunk_indexes_are_those_of_signers_who_count() -> None:
    good, bad = Digest.of(b"good"), Digest.of(b"bad")
    found = evidence(signature(chunks=good), signature(STRANGER, chunks=bad), signature(ALICE, ref="", chunks=good))
    assert decided(found, trusting(ALICE)).chunks == (good,)


def test_unsafe_anyone_is_anyone_who_signed_and_not_nobody() -> None:
    policy = Policy((replace(trusting(ALICE).rules[0], signers=(Trusted(UnsafeAnyone()),)),))
    assert decided(evidence(signature(STRANGER)), policy).passes
    assert not decided(evidence(), policy).passes


def test_a_signature_of_a_kind_that_is_not_read_is_told_about() -> None:
    other = Unproved(OTHER, UnprovedKind.UNSUPPORTED, "a notation signature in COSE")
    verdict = decided(evidence(unproved=(other,)))
    assert (verdict.reference, "a notation signature in COSE" in verdict.message) == ("unsigned", True)


def test_a_key_that_is_not_here_is_asked_for_from_the_publisher_and_not_from_the_registry() -> None:
    other = Unproved(OTHER, UnprovedKind.UNKNOWN_KEY, "made with another key", "aGludA==")
    verdict = decided(evidence(unproved=(other,)))
    assert "installml trust add registry.example.com/acme/sentiment --key FILE" in verdict.hint
    assert "not from the registry" in verdict.hint


def test_every_rule_that_was_asked_is_in_the_explanation() -> None:
    verdict = decided(evidence(signature(), scan(ALICE)), trusting(ALICE, attestations=(RequiredAttestation(SCAN),)))
    assert [step.rule for step in verdict.steps] == [
        "digest",
        "policy",
        "signature",
        "signature",
        "signers",
        "rollback",
        "attestation",
        "verdict",
    ]
