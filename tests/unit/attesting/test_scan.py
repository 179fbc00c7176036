"""Scan predicates: valid by the published schema, worst first, and read by policies as they are meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from installml.attesting.scan import MAX_FINDINGS, Found, Suppressed, found, rules_version, scan_predicate
from installml.scanning.finding import Finding, Rule, Severity
from installml.spec.canonical import canonical
from installml.trust.policy import SEVERITIES, NoWorseThan

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "reference" / "scan-v1.schema.json").read_text("utf-8"))
CHECK = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
HIGH = Found("pickle-unknown-import", "high", "model.pkl", "it imports os.system", offset=17, inner="data.pkl")
LOW = Found("unusual-extension", "low", "a.bin")


def made(*findings: Found, **more: Any) -> dict[str, Any]:
    return scan_predicate(findings, tool="0.1.0", rules="1", scanned_at=1_790_000_000, files=3, **more)


def test_the_schema_itself_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("findings", [(), (LOW,), (LOW, HIGH)], ids=["none", "one", "two"])
def test_the_schema_accepts_it(findings: tuple[Found, ...]) -> None:
    assert list(CHECK.iter_errors(made(*findings, suppressed=[Suppressed(LOW, "a test file", by="Ada")]))) == []


@pytest.mark.parametrize("key", ["findings", "worst", "counts", "scanner", "scannedAt"])
def test_the_schema_refuses_a_predicate_without(key: str) -> None:
    predicate = made(HIGH)
    del predicate[key]
    assert list(CHECK.iter_errors(predicate))


def test_the_worst_stands_first_and_is_named() -> None:
    predicate = made(LOW, HIGH)
    assert [one["severity"] for one in predicate["findings"]] == ["high", "low"]
    assert predicate["worst"] == "high"
    assert predicate["counts"] == {"info": 0, "low": 1, "medium": 0, "high": 1, "critical": 0}


def test_nothing_found_is_said_as_none() -> None:
    assert made()["worst"] == "none"


def test_a_policy_reads_the_severities() -> None:
    assert NoWorseThan("medium").unmet(made(LOW)) == ""
    assert "high" in NoWorseThan("medium").unmet(made(LOW, HIGH))
    assert NoWorseThan("none").unmet(made()) == ""


def test_a_suppressed_finding_counts_no_more_and_is_shown_with_its_reason() -> None:
    predicate = made(suppressed=[Suppressed(HIGH, "a fixture", by="Ada", expires="2027-01-01")])
    assert (predicate["worst"], predicate["findings"]) == ("none", [])
    assert predicate["suppressed"][0]["suppressed"] == {"reason": "a fixture", "by": "Ada", "expires": "2027-01-01"}


def test_beyond_the_cap_the_harmless_are_left_out_and_counted() -> None:
    many = [Found("unusual-extension", "low", f"{number:05}") for number in range(MAX_FINDINGS)]
    predicate = made(*many, HIGH)
    assert (len(predicate["findings"]), predicate["findingsLeftOut"]) == (MAX_FINDINGS, 1)
    assert predicate["findings"][0]["severity"] == "high"
    assert predicate["counts"]["low"] == MAX_FINDINGS
    assert list(CHECK.iter_errors(predicate)) == []


def test_a_severity_that_no_policy_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="fatal"):
        made(Found("x", "fatal", "a"))


@given(st.permutations([LOW, HIGH, Found("x", "low", "a.bin", "d"), Found("x", "low", "b", offset=3)]))
def test_the_order_of_the_walk_makes_no_difference(findings: list[Found]) -> None:
    assert canonical(made(*findings)) == canonical(made(*sorted(findings, key=repr)))


@given(st.sampled_from(SEVERITIES), st.text(), st.text(), st.text())
def test_text_out_of_files_cannot_break_it(severity: str, path: str, detail: str, inner: str) -> None:
    predicate = made(Found("x", severity, path, detail, inner=inner))
    assert list(CHECK.iter_errors(predicate)) == []
    assert "\x1b" not in canonical(predicate).decode()


RULE = Rule("pickle-unknown-import", Severity.high, "unknown import", "why", "what to do")


def test_a_scanners_finding_keeps_its_place() -> None:
    finding = Finding(RULE, "model.pkl", "it imports os.system", offset=17, inner="data.pkl")
    assert found(finding) == HIGH


def test_policies_and_scanners_have_the_same_severities() -> None:
    assert tuple(severity.name for severity in sorted(Severity)) == SEVERITIES


def test_the_rules_have_another_version_when_one_of_them_changes() -> None:
    milder = Rule(RULE.id, Severity.low, RULE.title, RULE.explanation, RULE.advice)
    worded = Rule(RULE.id, RULE.severity, "another title", RULE.explanation, RULE.advice)
    assert rules_version([RULE]) != rules_version([milder])
    assert rules_version([RULE]) != rules_version([])
    assert rules_version([RULE]) == rules_version([worded])
