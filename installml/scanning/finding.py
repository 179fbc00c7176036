"""What a scan finds, and the small interfaces between the walk and the scanners of single formats.

A scanner module declares `RULES` (every rule it may report) and one or more `Scanner` objects;
`installml.scanning.scanners` gathers both. A scanner reads through `Content` and speaks through `Visit`::

    class Example:
        name = "example"

        def claims(self, head: bytes, name: str) -> bool:
            return head.startswith(b"EXMP") or name.endswith(".exmp")

        def scan(self, content: Content, visit: Visit) -> None:
            if content.size > LARGEST:
                visit.found(EXAMPLE_TOO_LARGE, f"it has {content.size} bytes")

What a scanner cannot parse it raises as `Unreadable`; the walk turns that, and running over a limit, into a
finding of its own. Nothing else may be raised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

__all__ = [
    "Budget",
    "Content",
    "Exhausted",
    "Finding",
    "Limits",
    "Report",
    "Rule",
    "ScannedFile",
    "Scanner",
    "Severity",
    "Unreadable",
    "Visit",
]


class Severity(IntEnum):
    """How bad it is; the gate blocks from `high` on unless the policy says otherwise."""

    info = 0
    low = 1
    medium = 2
    high = 3
    critical = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked for; its id never changes its meaning.

    Args:
        id: Kebab-case, unique; the anchor in docs/reference/scan-rules.md.
        severity: Of every finding by this rule.
        title: What was found, in a few words.
        explanation: Why it matters, in one or two sentences.
        advice: What to do about it.
    """

    id: str
    severity: Severity
    title: str
    explanation: str
    advice: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule met at one place.

    Args:
        rule: What was met.
        path: The file, relative to the package's root, with forward slashes.
        detail: What exactly stands there; text out of the file is shortened and made printable.
        offset: Byte in the file, or in the innermost member where `inner` is set; None where there is no such place.
        inner: The member inside a container, outer to inner separated by "!"; "" for the file itself.
    """

    rule: Rule
    path: str
    detail: str
    offset: int | None = None
    inner: str = ""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return self.rule.severity


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """One file that was looked at.

    Args:
        path: As in findings.
        size: Bytes.
        scanners: Names of the scanners that looked at it or at what is in it; none if nobody knows such a file.
    """

    path: str
    size: int
    scanners: tuple[str, ...] = ()


@dataclass(slots=True)
class Report:
    """What one scan looked at and found.

    Args:
        files: Every file, in the order in which it came.
        findings: Every finding, once, in the order in which it was met.
        skipped: Path and reason of files that could not be opened; each has a finding as well.
    """

    files: list[ScannedFile] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def worst(self) -> Severity | None:
        """The highest severity found; None if nothing was."""
        return max((finding.severity for finding in self.findings), default=None)

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of this severity and above."""
        return tuple(finding for finding in self.findings if finding.severity >= severity)

    def add(self, findings: Iterable[Finding]) -> None:
        """Take further findings, each once."""
        known = set(self.findings)
        for finding in findings:
            if finding not in known:
                known.add(finding)
                self.findings.append(finding)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much work one file may make; whoever needs more has a finding.

    Args:
        depth: Containers inside containers.
        entries: Members of all containers of one file together.
        expanded: Bytes that are decompressed for one file.
        ratio: Expanded to compressed bytes, where more than `ratio_from` bytes come out.
        ratio_from: Bytes below which no ratio matters.
        steps: Opcodes, fields and similar small steps for one file.
        findings: Findings by one file; the first ones are kept.
    """

    depth: int = 6
    entries: int = 200_000
    expanded: int = 8 << 30
    ratio: int = 250
    ratio_from: int = 1 << 30
    steps: int = 60_000_000
    findings: int = 200


class Unreadable(Exception):
    """A file is not what its name or its first bytes say.

    Args:
        reason: How the sentence "it ..." goes on: "ends in the middle of a header".
        offset: Where reading stopped making sense.
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class Exhausted(Exception):
    """A file makes more work than a scan does for one file."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Budget:
    """What is left of the limits for one file, shared by everything inside it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.steps = limits.steps
        self.expanded = limits.expanded
        self.entries = limits.entries

    def step(self, count: int = 1) -> None:
        """Account for small steps.

        Raises:
            Exhausted: There were too many.
        """
        self.steps -= count
        if self.steps < 0:
            raise Exhausted(f"takes more than {self.limits.steps} steps to read")

    def expand(self, count: int) -> None:
        """Account for bytes that came out of a compression.

        Raises:
            Exhausted: There were too many.
        """
        self.expanded -= count
        if self.expanded < 0:
            raise Exhausted(f"expands to more than {self.limits.expanded} bytes")

    def entry(self, count: int = 1) -> None:
        """Account for members of a container.

        Raises:
            Exhausted: There were too many.
        """
        self.entries -= count
        if self.entries < 0:
            raise Exhausted(f"holds more than {self.limits.entries} members")


class Content(Protocol):
    """The bytes of one file, of a package in the store, of a folder or of a member in a container."""

    @property
    def size(self) -> int:
        """Bytes in all; finding it out may cost a pass where the content is compressed."""
        ...

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``, fewer only at the end, none behind it.

        The caller asks for at most some MiB at a time. Forward reading is cheap everywhere; going back in a
        compressed member decompresses again from its start, which counts on the budget.

        Raises:
            Unreadable: The compression is damaged.
            Exhausted: The file expands to more than a scan takes on.
        """
        ...


class Visit(Protocol):
    """Where a scanner stands, and whom it tells."""

    @property
    def path(self) -> str:
        """The file, relative to the package's root."""
        ...

    @property
    def inner(self) -> str:
        """The member inside a container, "" for the file itself."""
        ...

    @property
    def name(self) -> str:
        """The innermost name, of the member or the file; with its folder."""
        ...

    @property
    def budget(self) -> Budget:
        """What may still be spent on this file."""
        ...

    def found(self, rule: Rule, detail: str, offset: int | None = None) -> None:
        """Report one finding here; the detail is shortened and made printable."""
        ...

    def enter(self, name: str, content: Content) -> None:
        """Scan a member of this container as a file of its own."""
        ...


class Scanner(Protocol):
    """What knows one kind of file. All that claim a file scan it, so that a file of two kinds is met as both."""

    @property
    def name(self) -> str:
        """One word for reports: "pickle"."""
        ...

    def claims(self, head: bytes, name: str) -> bool:
        """Say whether a file is of this kind, or pretends to be.

        Args:
            head: Its first 4096 bytes, fewer if it is shorter.
            name: Its lower-case path, for extensions and well-known names.
        """
        ...

    def scan(self, content: Content, visit: Visit) -> None:
        """Look for everything that this scanner has rules for.

        Raises:
            Unreadable: It is not such a file although it was claimed.
            Exhausted: It makes too much work.
        """
        ...
