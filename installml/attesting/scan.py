"""What a scan found, as a predicate that others can require: ``https://installml.dev/scan/v1``.

docs/reference/scan-v1.schema.json is its JSON Schema. Policies read ``findings[].severity``; findings that somebody
suppressed stand apart, with the reason, so that a policy which does not trust suppressions can look there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..digest import Digest
from ..packing.formats.model import printable
from ..scanning.finding import Finding, Rule
from ..spec.canonical import canonical
from ..trust.policy import SEVERITIES
from ..trust.statement import SCAN

__all__ = ["PREDICATE_TYPE", "Found", "Suppressed", "found", "rules_version", "scan_predicate"]

PREDICATE_TYPE = SCAN
MAX_FINDINGS = 1000
"""Findings that are listed, worst first; the counts are of all."""
MAX_DETAIL = 300
"""Characters of one finding's detail."""


@dataclass(frozen=True, slots=True)
class Found:
    """One finding.

    Attributes:
        rule: The rule's id.
        severity: One of ``trust.policy.SEVERITIES``.
        path: The file in the package.
        detail: What stands there.
        offset: Byte in the file, or None.
        inner: Member inside a container, or empty.

    Raises:
        ValueError: A severity that no policy knows.
    """

    rule: str
    severity: str
    path: str
    detail: str = ""
    offset: int | None = None
    inner: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"{self.severity!r} is no severity; it is one of {', '.join(SEVERITIES)}")

    def to_json(self) -> dict[str, Any]:
        """Return its value in the predicate; text out of files is made printable and cut."""
        value: dict[str, Any] = {"rule": self.rule, "severity": self.severity, "path": _short(self.path, 4096)}
        if self.detail:
            value["detail"] = _short(self.detail, MAX_DETAIL)
        if self.offset is not None:
            value["offset"] = self.offset
        if self.inner:
            value["inner"] = _short(self.inner, 1024)
        return value


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A finding that somebody has looked at and does not want to hear of.

    Attributes:
        found: The finding.
        reason: Why.
        by: Who.
        expires: Until when, as it was written; empty for ever.
    """

    found: Found
    reason: str
    by: str = ""
    expires: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return its value in the predicate."""
        about = {"reason": _short(self.reason, 1000), "by": _short(self.by, 300), "expires": _short(self.expires, 64)}
        return {**self.found.to_json(), "suppressed": {key: text for key, text in about.items() if text}}


def found(finding: Finding) -> Found:
    """Return a scanner's finding as it stands in a predicate."""
    return Found(finding.rule.id, finding.severity.name, finding.path, finding.detail, finding.offset, finding.inner)


def rules_version(rules: Iterable[Rule]) -> str:
    """Return what names a set of rules: it changes when a rule comes, goes or gets another severity."""
    return Digest.of(canonical(sorted([rule.id, rule.severity.name] for rule in rules))).short


def scan_predicate(
    findings: Iterable[Found],
    *,
    tool: str,
    rules: str,
    scanned_at: int,
    files: int,
    skipped: int = 0,
    suppressed: Iterable[Suppressed] = (),
) -> dict[str, Any]:
    """Return the predicate of one scan.

    Args:
        findings: Every finding that counts.
        tool: Version of installml.
        rules: Version of the rules.
        scanned_at: Seconds since the epoch.
        files: Number of files that were looked at.
        skipped: Number of files that could not be.
        suppressed: Findings that do not count, with the reason.
    """
    ordered = sorted(findings, key=_order)
    hidden = sorted(suppressed, key=lambda one: _order(one.found))
    counts = Counter(found.severity for found in ordered)
    return {
        "scanner": {"name": "installml", "version": tool, "rules": rules},
        "scannedAt": datetime.fromtimestamp(scanned_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": {"scanned": files, "skipped": skipped},
        "worst": ordered[0].severity if ordered else "none",
        "counts": {severity: counts[severity] for severity in SEVERITIES},
        "findings": [found.to_json() for found in ordered[:MAX_FINDINGS]],
        "findingsLeftOut": max(0, len(ordered) - MAX_FINDINGS),
        "suppressed": [one.to_json() for one in hidden[:MAX_FINDINGS]],
        "suppressedLeftOut": max(0, len(hidden) - MAX_FINDINGS),
    }


def _order(found: Found) -> tuple[int, str, str, int, str, str]:
    """Return what sorts findings: the worst first, then by place, whatever order the walk met them in."""
    offset = -1 if found.offset is None else found.offset
    return -SEVERITIES.index(found.severity), found.path, found.inner, offset, found.rule, found.detail


def _short(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
