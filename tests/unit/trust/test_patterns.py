"""Whom a condition means: globs are anchored and never regular expressions, and nothing means everybody by accident."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installml.trust.evidence import IdentitySigner, KeySigner
from installml.trust.patterns import (
    MAX_IDENTITY,
    AllOf,
    AnyOf,
    IdentityIs,
    IdentityLike,
    KeyIs,
    Not,
    UnsafeAnyone,
    exactly,
    glob_matches,
    is_too_wide,
)
from installml.trust.policy import SEVERITIES, NoWorseThan, Trusted, matched

ISSUER = "https://issuer.example"
WORKFLOW = "https://github.com/acme/models/.github/workflows/release.yml@refs/tags/v1"


@pytest.mark.parametrize(
    ("glob", "identity", "means"),
    [
        (WORKFLOW, WORKFLOW, True),
        ("https://github.com/acme/*/.github/workflows/release.yml@refs/tags/*", WORKFLOW, True),
        ("https://github.com/acme/*/.github/workflows/release.yml@refs/tags/*", WORKFLOW + "/x", False),
        ("https://github.com/acme/**", WORKFLOW, True),
        ("https://github.com/acme/*", WORKFLOW, False),
        ("https://github.com/acme/**", WORKFLOW.replace("acme", "acme-evil"), False),
        ("https://github.com/acme/**", "http" + WORKFLOW[5:], False),
        ("https://github.com/acme/**", "x" + WORKFLOW, False),
        ("*@acme.example", "ann@acme.example", True),
        ("*@acme.example", "ann@acme.example.evil.example", False),
        ("*@acme.example", "ann@evil.example/x@acme.example", False),
        ("*@acme.example", "ann@evil.example@acme.example", False),
        ("*@acme.example", "ann@acmeXexample", False),
        ("**@acme.example", "a/b@c@acme.example", True),
        ("dependabot[bot]", "dependabot[bot]", True),
        ("dependabot[bot]", "dependabotb", False),
        ("a?c", "a?c", True),
        ("a?c", "abc", False),
        ("a.c", "abc", False),
        ("(a|b)+", "a", False),
        ("a*", "a", True),
        ("*a*", "bab", True),
        ("*a*", "b/b", False),
        ("***", "a/b@c", True),
        ("", "", True),
        ("", "a", False),
        ("a*\nb", "a\nb", True),
        ("a**", "a\nb", True),
        ("**", "x" * (MAX_IDENTITY + 1), False),
    ],
)
def test_a_glob_means_the_whole_identity(glob: str, identity: str, means: bool) -> None:
    assert glob_matches(glob, identity) is means


@given(st.text("ab*/@", max_size=12), st.text("ab/@", max_size=12))
def test_globs_are_what_a_regular_expression_says_that_was_made_with_care(glob: str, identity: str) -> None:
    parts = re.findall(r"\*{2,}|\*|[^*]", glob)
    spelled = "".join(".*" if p.startswith("**") else "[^/@]*" if p == "*" else re.escape(p) for p in parts)
    assert glob_matches(glob, identity) is (re.fullmatch(spelled, identity, re.DOTALL) is not None)


def test_many_wildcards_cost_no_time_to_speak_of() -> None:
    assert not glob_matches("**a" * 300, "a" * 299 + "b" * 1700)


@pytest.mark.parametrize("glob", ["*", "**", "https://**", "*@*", "**@**.**", "http://*/*", ""])
def test_a_glob_of_wildcards_alone_is_too_wide(glob: str) -> None:
    assert is_too_wide(glob)


@pytest.mark.parametrize("glob", ["*@acme.example", "https://github.com/**"])
def test_a_glob_that_names_somebody_is_not_too_wide(glob: str) -> None:
    assert not is_too_wide(glob)


def test_a_signer_with_a_star_in_its_name_is_only_itself() -> None:
    star = IdentitySigner("*@acme.example", ISSUER)
    assert exactly(star).matches(star)
    assert not exactly(star).matches(IdentitySigner("ann@acme.example", ISSUER))


def test_a_key_is_no_identity_of_the_same_spelling() -> None:
    assert not KeyIs("x").matches(IdentitySigner("x", ISSUER))
    assert not IdentityIs("x", ISSUER).matches(KeySigner("x"))
    assert not IdentityLike("**x**", ISSUER).matches(KeySigner("x"))


@pytest.mark.parametrize("kind", [AllOf, AnyOf])
def test_a_condition_of_no_conditions_is_refused(kind: type[AllOf] | type[AnyOf]) -> None:
    with pytest.raises(ValueError, match="of nothing"):
        kind(())


def test_what_names_nobody_is_not_bounded() -> None:
    key = KeyIs("x")
    bounded = [key, AnyOf((key, key)), AllOf((key, Not(key))), UnsafeAnyone()]
    unbounded = [Not(key), Not(Not(key)), AnyOf((key, Not(key))), AllOf((Not(key),))]
    assert [each.bounded for each in (*bounded, *unbounded)] == [True] * 4 + [False] * 4


def test_entries_are_shared_out_so_that_as_many_as_possible_are_met() -> None:
    ann, bob = KeySigner("ann"), KeySigner("bob")
    either, only_ann = Trusted(AnyOf((exactly(ann), exactly(bob)))), Trusted(exactly(ann))
    assert len(matched((either, only_ann), [ann, bob])) == 2
    assert len(matched((only_ann, either), [bob, ann])) == 2
    assert len(matched((either, either), [ann, ann])) == 1


@pytest.mark.parametrize("limit", ["none", *SEVERITIES])
def test_a_scan_is_as_bad_as_its_worst_finding(limit: str) -> None:
    ranks = ("none", *SEVERITIES)
    for worst in SEVERITIES:
        unmet = NoWorseThan(limit).unmet(
            {"findings": [{"severity": "info"}] * (limit != "none") + [{"severity": worst}]}
        )
        assert bool(unmet) is (ranks.index(worst) > ranks.index(limit))
    assert NoWorseThan(limit).unmet({"findings": []}) == ""


@pytest.mark.parametrize(
    "predicate",
    [
        {},
        {"findings": None},
        {"findings": "none"},
        {"findings": {"severity": "low"}},
        {"findings": [None]},
        {"findings": [{}]},
        {"findings": [{"severity": "Low"}]},
        {"findings": [{"severity": 1}]},
        {"findings": [{"severity": ["low"]}]},
    ],
)
def test_a_scan_that_cannot_be_understood_is_worse_than_any(predicate: dict[str, object]) -> None:
    assert NoWorseThan("critical").unmet(predicate)
