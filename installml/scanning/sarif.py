"""A scan as SARIF 2.1.0 (OASIS), which GitHub, GitLab and editors show at the file that it is about."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from installml.scanning.finding import Finding, Rule, Severity
from installml.scanning.gate import Outcome, Suppression

__all__ = ["RULES_PAGE", "SCHEMA", "sarif"]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RULES_PAGE = "https://installml.dev/docs/reference/scan-rules.md"
#: SARIF knows four levels (section 3.27.10).
_LEVELS = {
    Severity.info: "note",
    Severity.low: "note",
    Severity.medium: "warning",
    Severity.high: "error",
    Severity.critical: "error",
}
#: GitHub sorts by a number from 0 to 10 in a rule's properties ("Supported SARIF output file properties").
_SCORES = {
    Severity.info: "0.0",
    Severity.low: "3.0",
    Severity.medium: "5.0",
    Severity.high: "8.0",
    Severity.critical: "9.5",
}


def sarif(outcome: Outcome, *, version: str) -> dict[str, Any]:
    """Return a SARIF log of one run.

    Args:
        outcome: What the gate said.
        version: Of InstallML.
    """
    findings = [(finding, None) for finding in outcome.findings] + list(outcome.suppressed)
    rules = sorted({finding.rule for finding, _ in findings}, key=lambda rule: rule.id)
    places = {rule.id: place for place, rule in enumerate(rules)}
    driver = {
        "name": "installml",
        "version": version,
        "informationUri": "https://installml.dev",
        "rules": [_rule(rule) for rule in rules],
    }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": True}],
                "results": list(_results(findings, places)),
            }
        ],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": rule.advice, "markdown": rule.advice},
        "helpUri": f"{RULES_PAGE}#{rule.id}",
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"security-severity": _SCORES[rule.severity], "tags": ["security"]},
    }


def _results(
    findings: Iterable[tuple[Finding, Suppression | None]], places: dict[str, int]
) -> Iterable[dict[str, Any]]:
    for finding, suppression in findings:
        result: dict[str, Any] = {
            "ruleId": finding.rule.id,
            "ruleIndex": places[finding.rule.id],
            "level": _LEVELS[finding.severity],
            "message": {"text": _message(finding)},
            "locations": [_location(finding)],
            "partialFingerprints": {"installml/v1": _fingerprint(finding)},
        }
        if suppression is not None:
            justification = f"{suppression.reason} ({suppression.who}, until {suppression.expires.isoformat()})"
            result["suppressions"] = [{"kind": "external", "justification": justification}]
        yield result


def _message(finding: Finding) -> str:
    inside = f" in {finding.inner}" if finding.inner else ""
    return f"{finding.rule.title}{inside}: {finding.detail}. {finding.rule.advice}"


def _location(finding: Finding) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.path), "uriBaseId": "%SRCROOT%"}}
    if finding.offset is not None and not finding.inner:
        place["region"] = {"byteOffset": finding.offset, "byteLength": 0}
    return {"physicalLocation": place}


def _fingerprint(finding: Finding) -> str:
    """Name the finding so that it stays the same when other findings come or go."""
    parts = (finding.rule.id, finding.path, finding.inner, finding.detail)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
