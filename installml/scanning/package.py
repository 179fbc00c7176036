"""Scan a whole package: every file by itself, then what only shows when files are looked at together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from installml.errors import FormatError
from installml.packing.formats.documents import mapping, parse_yaml, text
from installml.scanning import advisories, licences, onnx
from installml.scanning.advisories import Advisories
from installml.scanning.finding import Budget, Content, Exhausted, Finding, Limits, Report, Rule, Scanner, Unreadable
from installml.scanning.walk import scan_files
from installml.spec.media import RECIPE_NAME

__all__ = ["Context", "scan_package"]

_MAX_LOCK = 16 << 20
_MAX_RECIPE = 512 << 10


@dataclass(frozen=True, slots=True)
class Context:
    """What is known about a package besides its files.

    Attributes:
        licence: SPDX expression that its manifest states; empty for none.
        bases: Base models and their licences, empty texts where those are not known.
        advisories: Known vulnerabilities, by package; None where nobody gave any.
        whole: Whether the files are a package, so that what lacks in it can be told; a single file is none.
    """

    licence: str = ""
    bases: Mapping[str, str] = field(default_factory=dict)
    advisories: Advisories | None = None
    whole: bool = True


@dataclass(slots=True)
class _Silent:
    """A visit that nobody hears of: for reading a file a second time."""

    path: str
    budget: Budget
    inner: str = ""

    @property
    def name(self) -> str:
        return self.path

    def found(self, rule: Rule, detail: str, offset: int | None = None) -> None:
        """Say nothing."""

    def enter(self, name: str, content: Content) -> None:
        """Go nowhere."""


def scan_package(
    files: Iterable[tuple[str, Content]],
    scanners: Sequence[Scanner],
    context: Context,
    *,
    limits: Limits | None = None,
) -> Report:
    """Scan files, and what they say about each other.

    Args:
        files: Path in the package and content of each; each content is used only until the next is asked for.
        scanners: Usually `installml.scanning.scanners.SCANNERS`.
        context: What else is known.
        limits: For each file by itself.

    Returns:
        What was looked at and found.
    """
    notes = _Notes(context, limits or Limits())
    report = scan_files(notes.listening(files), scanners, limits=limits)
    if context.whole:
        sizes = {file.path: file.size for file in report.files}
        for path, external in notes.external.items():
            onnx.check_external(path, external, sizes, report)
        report.add(notes.about_licences())
    report.add(notes.findings)
    return report


@dataclass(slots=True)
class _Notes:
    """What is kept of single files until all have been seen."""

    context: Context
    limits: Limits
    external: dict[str, list[onnx.External]] = field(default_factory=dict)
    card: tuple[str, str, tuple[str, ...]] | None = None
    stated: str = ""
    base: str = ""
    findings: list[Finding] = field(default_factory=list)

    def listening(self, files: Iterable[tuple[str, Content]]) -> Iterator[tuple[str, Content]]:
        for path, content in files:
            yield path, content
            # Back here the file has been scanned, and is still open.
            try:
                self._look(path, content)
            except (Unreadable, Exhausted, FormatError, OSError):
                continue  # the scan itself has told

    def _look(self, path: str, content: Content) -> None:
        name = path.rpartition("/")[2].lower()
        if name.endswith(".onnx"):
            self.external[path] = onnx.references(content, _Silent(path, Budget(self.limits)))
        elif name == "readme.md" and "/" not in path:
            found = licences.read_card(content, path)
            if found is not None:
                self.card = (path, *found)
        elif path == RECIPE_NAME:
            facts = mapping(parse_yaml(content.read_at(0, _MAX_RECIPE), path))
            self.stated = text(facts.get("license"))
            self.base = text(mapping(facts.get("base")).get("ref"))
        elif name in advisories.LOCKS and self.context.advisories is not None:
            self._lock(path, name, content, self.context.advisories)

    def _lock(self, path: str, name: str, content: Content, known: Advisories) -> None:
        try:
            pins = advisories.pins_of(name, content.read_at(0, _MAX_LOCK + 1))
        except (ValueError, RecursionError) as error:
            self.findings.append(Finding(advisories.UNREADABLE_LOCK, path, str(error)[:200]))
            return
        self.findings.extend(advisories.check_pins(pins, known, path))

    def about_licences(self) -> Iterator[Finding]:
        path, licence, bases = self.card or (RECIPE_NAME if self.stated else ".", "", ())
        named = dict.fromkeys(filter(None, (*bases, self.base)), "") | dict(self.context.bases)
        yield from licences.check_licence(self.context.licence or self.stated or licence, named, path)
