"""May a package pass, given what a scan found? Pure: the day is an argument, suppressions are values.

A suppression names a rule, a glob of paths, a reason, who answers for it and the day until which it holds. After that
day it hides nothing, and the outcome says so. What no scan could look at (`unreadable`, `unopened`) is a finding like
any other and blocks like any other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from installml.scanning.errors import SuppressionsInvalid
from installml.scanning.finding import Finding, Severity
from installml.spec.globs import matches
from installml.spec.node import Node

__all__ = ["Gate", "Level", "Outcome", "Suppression", "decide", "parse_suppressions"]

_MAX_FILE = 1 << 20
_MAX_SUPPRESSIONS = 10_000
_KEYS = ("rule", "path", "reason", "who", "expires")


class Level(StrEnum):
    """What a gate does with what it finds too bad."""

    BLOCK = "block"
    WARN = "warn"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Gate:
    """What passes.

    Attributes:
        level: ``block`` stops, ``warn`` tells, ``off`` does not even scan.
        severity: From here on a finding is too bad.
    """

    level: Level = Level.BLOCK
    severity: Severity = Severity.high


@dataclass(frozen=True, slots=True)
class Suppression:
    """A finding that somebody has looked at and answers for.

    Attributes:
        rule: The rule's id.
        path: Glob of the package's paths.
        reason: Why it is no danger here.
        who: Who says so.
        expires: The last day on which it holds.
    """

    rule: str
    path: str
    reason: str
    who: str
    expires: date

    def covers(self, finding: Finding) -> bool:
        """Return whether it is about ``finding``, whatever the day."""
        return finding.rule.id == self.rule and matches(finding.path, (self.path,))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gate says.

    Attributes:
        blocked: Whether it does not let the package through.
        findings: Those that count, the worst first.
        too_bad: Those of them that reach the gate's severity.
        suppressed: Those that do not count, each with why.
        expired: Suppressions that would hide a finding and no longer do.
        unused: Suppressions that are about nothing that was found.
    """

    blocked: bool
    findings: tuple[Finding, ...]
    too_bad: tuple[Finding, ...]
    suppressed: tuple[tuple[Finding, Suppression], ...]
    expired: tuple[Suppression, ...]
    unused: tuple[Suppression, ...]


def decide(
    findings: Iterable[Finding], gate: Gate, suppressions: Sequence[Suppression] = (), *, today: date
) -> Outcome:
    """Return whether a package may pass.

    Args:
        findings: Of its scan.
        gate: What passes.
        suppressions: What does not count.
        today: The day, in UTC.
    """
    valid = [one for one in suppressions if one.expires >= today]
    counting: list[Finding] = []
    hidden: list[tuple[Finding, Suppression]] = []
    met: set[Suppression] = set()
    for finding in findings:
        met.update(one for one in suppressions if one.covers(finding))
        by = next((one for one in valid if one.covers(finding)), None)
        if by is None:
            counting.append(finding)
        else:
            hidden.append((finding, by))
    counting.sort(key=lambda finding: (-finding.severity, finding.path, finding.offset or 0, finding.rule.id))
    too_bad = tuple(finding for finding in counting if finding.severity >= gate.severity)
    return Outcome(
        blocked=bool(too_bad) and gate.level is Level.BLOCK,
        findings=tuple(counting),
        too_bad=too_bad,
        suppressed=tuple(hidden),
        expired=tuple(one for one in suppressions if one.expires < today and one in met),
        unused=tuple(one for one in suppressions if one not in met),
    )


def parse_suppressions(data: bytes, origin: str, rules: Collection[str]) -> tuple[Suppression, ...]:
    """Read a file of suppressions: TOML with ``[[suppress]]`` tables.

    Args:
        data: The file.
        origin: Its name, for errors.
        rules: Ids of all rules; a suppression of a rule that does not exist would suppress nothing, and is refused.

    Raises:
        SuppressionsInvalid: It breaks its form; every violation is listed.
    """
    if len(data) > _MAX_FILE:
        raise SuppressionsInvalid(origin, [f"has more than {_MAX_FILE} bytes"])
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise SuppressionsInvalid(origin, [f"is not TOML: {error}"]) from error
    root = Node(document)
    tables = root.mapping(("suppress",))["suppress"].sequence(_MAX_SUPPRESSIONS)
    found = [_suppression(table, rules) for table in tables]
    if root.violations:
        raise SuppressionsInvalid(origin, root.violations)
    return tuple(one for one in found if one)


def _suppression(node: Node, rules: Collection[str]) -> Suppression | None:
    fields = node.mapping(_KEYS, _KEYS)
    rule = fields["rule"].choice(rules)
    path, reason, who = (fields[key].string(most=2000) for key in ("path", "reason", "who"))
    for key, text in (("path", path), ("reason", reason), ("who", who)):
        if fields[key] and not text.strip() and isinstance(fields[key].value, str):
            fields[key].fail("is empty")
    expires = _day(fields["expires"])
    return Suppression(rule, path, reason, who, expires) if rule and path and expires else None


def _day(node: Node) -> date | None:
    """Return a day that is written as TOML's own date, or as text."""
    value: Any = node.value
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        node.fail("must be a day such as 2027-01-31")
        return None
