"""The gate: what blocks, what somebody answers for, and for how long."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.scanning.errors import SuppressionsInvalid
from installml.scanning.finding import Finding, Severity
from installml.scanning.gate import Gate, Level, Suppression, decide, parse_suppressions
from installml.scanning.scanners import RULES

TODAY = date(2027, 1, 31)
MAP = Finding(RULES["config-auto-map"], "sub/config.json", "auto_map", 4)
ESCAPE = Finding(RULES["template-escape"], "model.gguf", "__class__", 9)
SOURCE = Finding(RULES["code-python"], "model.py", "12 bytes", 0)
EXCUSE = Suppression("config-auto-map", "**/config.json", "read it, it is ours", "ana@example.org", TODAY)

FILE = """
[[suppress]]
rule = "config-auto-map"
path = "**/config.json"
reason = "we have read modeling_x.py at 3f2a"
who = "ana@example.org"
expires = 2027-01-31
"""


@pytest.mark.parametrize(
    ("severity", "blocked"), [("info", True), ("low", True), ("medium", True), ("high", True), ("critical", False)]
)
def test_it_blocks_from_its_severity_on(severity: str, blocked: bool) -> None:
    assert decide([MAP, SOURCE], Gate(severity=Severity[severity]), today=TODAY).blocked is blocked


def test_by_default_high_blocks_and_medium_passes() -> None:
    assert decide([MAP], Gate(), today=TODAY).blocked
    assert not decide([SOURCE], Gate(), today=TODAY).blocked
    assert not decide([], Gate(), today=TODAY).blocked


def test_a_gate_that_warns_tells_and_lets_through() -> None:
    outcome = decide([ESCAPE], Gate(Level.WARN), today=TODAY)
    assert (outcome.blocked, outcome.too_bad) == (False, (ESCAPE,))


def test_the_worst_come_first() -> None:
    assert decide([SOURCE, MAP, ESCAPE], Gate(), today=TODAY).findings == (ESCAPE, MAP, SOURCE)


def test_what_somebody_answers_for_does_not_block_and_is_told() -> None:
    outcome = decide([MAP, SOURCE], Gate(), [EXCUSE], today=TODAY)
    assert not outcome.blocked
    assert outcome.suppressed == ((MAP, EXCUSE),)
    assert outcome.findings == (SOURCE,)


def test_a_suppression_that_ended_yesterday_hides_nothing_and_is_told() -> None:
    outcome = decide([MAP], Gate(), [EXCUSE], today=TODAY + timedelta(days=1))
    assert outcome.blocked
    assert outcome.expired == (EXCUSE,)
    assert outcome.suppressed == ()


def test_an_expired_suppression_beside_a_valid_one_does_not_matter() -> None:
    later = replace(EXCUSE, expires=TODAY + timedelta(days=9))
    outcome = decide([MAP], Gate(), [EXCUSE, later], today=TODAY + timedelta(days=1))
    assert (outcome.blocked, outcome.suppressed) == (False, ((MAP, later),))


@pytest.mark.parametrize("change", [{"rule": "template-escape"}, {"path": "config.json"}, {"path": "*/*.py"}])
def test_a_suppression_of_another_rule_or_place_hides_nothing(change: dict[str, str]) -> None:
    excuse = replace(EXCUSE, **change)
    outcome = decide([MAP], Gate(), [excuse], today=TODAY)
    assert outcome.blocked
    assert outcome.unused == (excuse,)


@settings(deadline=None)
@given(st.lists(st.sampled_from([MAP, ESCAPE, SOURCE]), unique=True), st.sampled_from(list(Severity)))
def test_more_findings_never_open_the_gate(found: list[Finding], severity: Severity) -> None:
    gate = Gate(severity=severity)
    if decide(found, gate, today=TODAY).blocked:
        assert decide([*found, MAP], gate, today=TODAY).blocked


def test_the_file_is_read() -> None:
    (excuse,) = parse_suppressions(FILE.encode(), "s.toml", RULES)
    assert (excuse.rule, excuse.path, excuse.expires) == ("config-auto-map", "**/config.json", TODAY)
    assert parse_suppressions(FILE.replace("2027-01-31", '"2027-01-31"').encode(), "s.toml", RULES) == (excuse,)
    assert parse_suppressions(b"", "s.toml", RULES) == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('who = "ana@example.org"', "", "'who' is missing"),
        ("reason = ", "because = ", "'reason' is missing"),
        ('"we have read modeling_x.py at 3f2a"', '" "', "is empty"),
        ("expires = 2027-01-31", "", "'expires' is missing"),
        ("2027-01-31", '"next year"', "must be a day"),
        ("config-auto-map", "config-automap", "did you mean 'config-auto-map'"),
        ("[[suppress]]", "[suppress]", "must be a list"),
        ("[[suppress]]", "[[suppressed]]", "unknown key"),
        ("[[suppress]]", "[[suppress", "is not TOML"),
    ],
)
def test_a_file_that_breaks_its_form_is_refused_with_every_reason(old: str, new: str, said: str) -> None:
    with pytest.raises(SuppressionsInvalid) as caught:
        parse_suppressions(FILE.replace(old, new).encode(), "s.toml", RULES)
    assert said in caught.value.message


def test_a_file_of_many_megabytes_is_refused() -> None:
    with pytest.raises(SuppressionsInvalid):
        parse_suppressions(b"#" * (2 << 20), "s.toml", RULES)


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_file_is_read_or_refused(data: bytes) -> None:
    try:
        parse_suppressions(data, "s.toml", RULES)
    except SuppressionsInvalid:
        pass
