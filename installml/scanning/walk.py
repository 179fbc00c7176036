"""Bring files to the scanners that claim them, into containers and out again, within limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from installml.scanning.content import Expanded
from installml.scanning.finding import (
    Budget,
    Content,
    Exhausted,
    Finding,
    Limits,
    Report,
    Rule,
    ScannedFile,
    Scanner,
    Severity,
    Unreadable,
)
from installml.scanning.sniff import ends_as_zip

__all__ = ["HEAD", "RULES", "printable", "scan_files"]

#: Bytes of a file that are shown to `Scanner.claims`.
HEAD = 4096
_DETAIL = 300
_TAIL = 65_557  # a zip's end record with the longest comment

UNREADABLE = Rule(
    "unreadable",
    Severity.high,
    "A file is not what it claims to be",
    "Its name or its first bytes say what kind of file it is, but it cannot be read as such to its end. "
    "What a scanner cannot follow may still do harm in the program that loads it.",
    "Get the file again from its maker; if it is meant to be like this, give it a name that says so.",
)
TOO_MUCH = Rule(
    "too-much-work",
    Severity.high,
    "A file makes more work than a scan does",
    "It expands to very much, nests containers too deeply, or has too many parts: a decompression bomb, or "
    "something hidden where a scanner gives up.",
    "Repack the file without nesting, or scan it with higher limits if you know its maker.",
)
UNOPENED = Rule(
    "unopened",
    Severity.high,
    "A file could not be read",
    "Nothing can be said about a file whose bytes could not be had.",
    "Check that the file is there, that it is a regular file, and that you may read it.",
)
FLOOD = Rule(
    "more-findings",
    Severity.high,
    "A file has more findings than are shown",
    "Only the first ones of each file are kept.",
    "Treat the file as dangerous.",
)
RULES = (UNREADABLE, TOO_MUCH, UNOPENED, FLOOD)


def printable(text: str, limit: int = _DETAIL) -> str:
    """Return text out of a file as it may be shown: one line, no control characters, shortened."""
    clean = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[: limit + 1])
    return clean if len(clean) <= limit else clean[:limit] + "..."


@dataclass(slots=True)
class _Tally:
    """What one file of the package has brought so far."""

    path: str
    budget: Budget
    scanners: dict[str, None]
    findings: dict[Finding, None]

    def add(self, finding: Finding) -> None:
        limit = self.budget.limits.findings
        if len(self.findings) < limit or finding in self.findings:
            self.findings[finding] = None
        else:
            self.findings[Finding(FLOOD, self.path, f"more than {limit}")] = None


class _Visit:
    """One file or member on the way; the `Visit` that scanners get."""

    def __init__(self, tally: _Tally, inner: str, depth: int, scanners: Sequence[Scanner]) -> None:
        self._tally = tally
        self._inner = inner
        self._depth = depth
        self._scanners = scanners

    @property
    def path(self) -> str:
        return self._tally.path

    @property
    def inner(self) -> str:
        return self._inner

    @property
    def name(self) -> str:
        return self._inner.rpartition("!")[2] or self._tally.path

    @property
    def budget(self) -> Budget:
        return self._tally.budget

    def found(self, rule: Rule, detail: str, offset: int | None = None) -> None:
        self._tally.add(Finding(rule, self.path, printable(detail), offset, printable(self._inner)))

    def enter(self, name: str, content: Content) -> None:
        inner = f"{self._inner}!{name}" if self._inner else name
        visit = _Visit(self._tally, inner, self._depth + 1, self._scanners)
        if visit._depth > self.budget.limits.depth:
            visit.found(TOO_MUCH, f"lies more than {self.budget.limits.depth} containers deep")
            return
        visit.look(content)

    def look(self, content: Content) -> None:
        """Show the content to every scanner that claims it."""
        try:
            head = content.read_at(0, HEAD)
        except (Unreadable, Exhausted) as error:
            self._failed(error)
            return
        name = self.name.lower()
        claims = [scanner for scanner in self._scanners if scanner.claims(head, name)]
        holds = any(scanner.name in ("tar", "compressed") for scanner in claims)
        if not isinstance(content, Expanded) and ends_as_zip(content, exactly=holds):
            # A zip is known by its end, whatever stands before it.
            claims += [scanner for scanner in self._scanners if scanner.name == "zip" and scanner not in claims]
        for scanner in claims:
            self._tally.scanners[scanner.name] = None
            try:
                scanner.scan(content, self)
            except (Unreadable, Exhausted) as error:
                self._failed(error)

    def _failed(self, error: Unreadable | Exhausted) -> None:
        if isinstance(error, Unreadable):
            self.found(UNREADABLE, error.reason, error.offset)
        else:
            self.found(TOO_MUCH, error.reason)


def scan_files(
    files: Iterable[tuple[str, Content]], scanners: Sequence[Scanner], *, limits: Limits | None = None
) -> Report:
    """Scan files one after another.

    Args:
        files: Path in the package and content of each.
        scanners: Usually `installml.scanning.scanners.SCANNERS`.
        limits: For each file by itself.

    Returns:
        What was looked at and found. A file that cannot be read has a finding; nothing is raised for it.
    """
    report = Report()
    for path, content in files:
        tally = _Tally(path, Budget(limits or Limits()), {}, {})
        visit = _Visit(tally, "", 0, scanners)
        size = 0
        try:
            size = content.size
            visit.look(content)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            report.skipped[path] = reason
            visit.found(UNOPENED, reason)
        report.files.append(ScannedFile(path, size, tuple(tally.scanners)))
        report.add(tally.findings)
    return report
