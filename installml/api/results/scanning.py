"""What a scan tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .form import Result

__all__ = ["HiddenFinding", "ScanFinding", "ScanResult"]


@dataclass(frozen=True, slots=True)
class ScanFinding:
    """One thing that was found.

    Attributes:
        rule: The rule's id, as in the list of rules.
        severity: ``info``, ``low``, ``medium``, ``high`` or ``critical``.
        path: The file.
        inner: Member inside a container, outer to inner with ``!`` between; empty for the file itself.
        offset: Byte in the file or member; null where there is no such place.
        title: What it is, in a few words.
        detail: What stands there.
        explanation: Why it matters.
        advice: What to do.
    """

    rule: str
    severity: str
    path: str
    inner: str
    offset: int | None
    title: str
    detail: str
    explanation: str
    advice: str


@dataclass(frozen=True, slots=True)
class HiddenFinding:
    """A finding that does not count, because somebody answers for it.

    Attributes:
        finding: What was found.
        reason: Why it is no danger here.
        who: Who says so.
        expires: The last day on which that holds.
    """

    finding: ScanFinding
    reason: str
    who: str
    expires: str


@dataclass(frozen=True, slots=True)
class ScanResult(Result):
    """What a scan found, and whether the gate lets it pass.

    Attributes:
        target: What was scanned: a reference with its digest, a folder or a file.
        digest: The package's manifest; empty for a folder or file.
        files: Number of files that were looked at.
        size: Their bytes.
        blocked: Whether something reaches the severity from which the gate blocks.
        block: That severity, or ``never``.
        counts: Number of findings by severity, of those that occur.
        findings: Findings, the worst first.
        suppressed: Findings that do not count.
        notices: Suppressions that hold no longer, or are about nothing.
        opinions: Other scanners that were asked.
        unknown: Files that no scanner knows, so that nothing was found in them by not looking.
    """

    target: str
    digest: str
    files: int
    size: int
    blocked: bool
    block: str
    counts: Mapping[str, int]
    findings: tuple[ScanFinding, ...]
    suppressed: tuple[HiddenFinding, ...] = ()
    notices: tuple[str, ...] = ()
    opinions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    outcome: Any = field(default=None, repr=False, compare=False)
