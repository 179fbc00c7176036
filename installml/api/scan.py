"""``scan``: look for danger in a package, a folder or a file, and say whether the gate lets it pass.

Nothing is unpickled, imported or run. A package of a registry is brought into the local store first, as `pull` does,
so that what was scanned is what an installation takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from ..errors import InstallMLError, UsageError
from ..events import Phase
from ..scanning import advisories as known_vulnerabilities
from ..scanning.content import FileContent, folder_files
from ..scanning.finding import Content, Finding, Report, Scanner, Severity
from ..scanning.gate import Gate, Level, Outcome, Suppression, decide, parse_suppressions
from ..scanning.opinions import OPINIONS, modelaudit, picklescan, trivy
from ..scanning.package import Context, scan_package
from ..scanning.scanners import RULES, SCANNERS
from ..spec.canonical import parse_json
from ..spec.media import ANNOTATION_BASE
from ..spec.package import Package
from ..spec.subset import EVERYTHING
from .places import Found, find, folder_of, is_folder
from .pull import bring
from .results.scanning import HiddenFinding, ScanFinding, ScanResult
from .session import AMBIENT, Session
from .subset import part_of, require_here

__all__ = ["NEVER", "examine", "gate_of", "read_suppressions", "scan"]

NEVER = "never"
_MAX_SUPPRESSIONS = 1 << 20
_LICENCES = "org.opencontainers.image.licenses"


@dataclass(frozen=True, slots=True)
class _Target:
    """What is scanned.

    Attributes:
        name: For people.
        files: Its files.
        context: What is known besides.
        folder: Where it lies, for scanners that want a folder; None for what lies in the store.
        digest: Of the manifest, or empty.
    """

    name: str
    files: Iterable[tuple[str, Content]]
    context: Context
    folder: Path | None = None
    digest: str = ""


def scan(
    target: str,
    *,
    block: str = Severity.high.name,
    suppressions: str = "",
    advisories: str = "",
    opinions: Sequence[str] = (),
    session: Session = AMBIENT,
) -> ScanResult:
    """Look for danger in a package, a folder or a file.

    Args:
        target: A reference (its registry's answer, else the local store's), ``dir:PATH``, a folder or a file.
        block: Severity from which the result says ``blocked``: info, low, medium, high, critical; or never.
        suppressions: TOML file of findings that do not count; each names who answers for it, why and until when.
        advisories: File or folder of OSV documents, with which locked Python packages are compared.
        opinions: Other scanners to ask: ``picklescan``, ``modelaudit-picklescan``, ``trivy``.
        session: Collaborators.

    Raises:
        NotFound: Nobody has the package, or there is no such file.
        SuppressionsInvalid: The file of suppressions breaks its form.
        AdvisoriesInvalid: The advisories are no OSV documents.
        ScannerMissing: Another scanner was asked for that is not here.
        UsageError: ``block`` or one of ``opinions`` is no such word.
    """
    gate = gate_of(block)
    excused = read_suppressions(suppressions)
    scanners = (*SCANNERS, *_scanners(opinions))
    known = known_vulnerabilities.load(Path(advisories).expanduser()) if advisories else None
    found = _open(target, known, session)
    session.on_event(Phase("scanning", found.name))
    report = scan_package(found.files, scanners, found.context)
    if "trivy" in opinions:
        report.add(_trivy(found, session))
    outcome = decide(report.findings, gate, excused, today=_today(session))
    return _result(found, report, outcome, block, tuple(opinions))


def gate_of(block: str) -> Gate:
    """Return the gate that blocks from a severity, or never.

    Raises:
        UsageError: There is no such severity.
    """
    if block == NEVER:
        return Gate(Level.WARN)
    if block not in Severity.__members__:
        names = ", ".join((*Severity.__members__, NEVER))
        raise UsageError(f"{block!r} is no severity", hint=f"One of: {names}", subject=block)
    return Gate(Level.BLOCK, Severity[block])


def read_suppressions(path: str) -> tuple[Suppression, ...]:
    """Return the suppressions of a file; none for an empty path.

    Raises:
        UsageError: It cannot be read.
        SuppressionsInvalid: It breaks its form.
    """
    if not path:
        return ()
    try:
        with Path(path).expanduser().open("rb") as file:
            data = file.read(_MAX_SUPPRESSIONS + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", subject=path) from error
    return parse_suppressions(data, path, RULES)


def examine(
    package: Package,
    session: Session,
    gate: Gate,
    suppressions: Sequence[Suppression] = (),
    *,
    only: Collection[str] | None = None,
) -> tuple[Report, Outcome]:
    """Scan a package whose files are in the local store, and ask the gate: what an installation does.

    Args:
        package: The package.
        session: Collaborators.
        gate: What passes.
        suppressions: What does not count.
        only: Paths of the files that are here, where a part of the package is; None for all. A file that should be
            here and is not is a finding.
    """
    context = _context(package, None) if only is None else Context(whole=False)
    report = scan_package(_stored(package, session, only), SCANNERS, context)
    return report, decide(report.findings, gate, suppressions, today=_today(session))


def _today(session: Session) -> date:
    return datetime.fromtimestamp(session.clock(), UTC).date()


def _scanners(opinions: Sequence[str]) -> Iterator[Scanner]:
    for name in opinions:
        if name not in OPINIONS:
            raise UsageError(f"{name!r} is no other scanner", hint=f"One of: {', '.join(OPINIONS)}", subject=name)
        if name == "picklescan":
            yield picklescan()
        elif name == "modelaudit-picklescan":
            yield modelaudit()


def _trivy(found: _Target, session: Session) -> tuple[Finding, ...]:
    """Ask Trivy; it wants a folder, and a package of the store is none."""
    if found.folder is None:
        raise UsageError(
            "trivy looks at folders only",
            hint="Install or export the package, and scan its folder.",
            subject=found.name,
        )
    session.on_event(Phase("asking trivy", found.name))
    return trivy(found.folder)


def _open(target: str, known: known_vulnerabilities.Advisories | None, session: Session) -> _Target:
    path = folder_of(target)
    if path.is_file():
        content = FileContent(path)
        return _Target(target, _closing(path.name, content), Context(advisories=known, whole=False), path.parent)
    if is_folder(target) or path.is_dir():
        if not path.is_dir():
            raise UsageError(f"there is no folder or file {path}", subject=str(path))
        return _Target(target, folder_files(path), Context(advisories=known), path)
    return _package(find(target, session), target, known, session)


def _closing(name: str, content: FileContent) -> Iterator[tuple[str, Content]]:
    try:
        yield name, content
    finally:
        content.close()


def _package(found: Found, target: str, known: known_vulnerabilities.Advisories | None, session: Session) -> _Target:
    package = found.package()
    if found.remote:
        bring(found, part_of(package, EVERYTHING, target), session)
    else:
        require_here(found, part_of(package, EVERYTHING, target), session)
    files = _stored(package, session)
    return _Target(str(found.reference), files, _context(package, known), digest=str(found.descriptor.digest))


def _context(package: Package, known: known_vulnerabilities.Advisories | None) -> Context:
    return Context(package.annotations.get(_LICENCES, ""), _bases(package), known)


def _bases(package: Package) -> dict[str, str]:
    """Return the model that a package was made from; what cannot be read is left to those who check manifests."""
    with suppress(InstallMLError):
        said = parse_json(package.annotations.get(ANNOTATION_BASE, "null").encode(), ANNOTATION_BASE)
        if isinstance(said, dict) and isinstance(said.get("ref"), str):
            return {said["ref"]: ""}
    return {}


def _stored(package: Package, session: Session, only: Collection[str] | None = None) -> Iterator[tuple[str, Content]]:
    """Yield the files of a package from the store, each open only until the next is asked for."""
    for file in package.files:
        if only is not None and file.path not in only:
            continue
        content = FileContent(session.store.blobs.path(file.descriptor.digest))
        try:
            yield file.path, content
        finally:
            content.close()


def _result(found: _Target, report: Report, outcome: Outcome, block: str, opinions: tuple[str, ...]) -> ScanResult:
    counts = Counter(finding.severity for finding in outcome.findings)
    notices = [
        f"a suppression of {one.rule} in {one.path} by {one.who} ended on {one.expires.isoformat()} and hides nothing"
        for one in outcome.expired
    ]
    notices += [f"a suppression of {one.rule} in {one.path} by {one.who} is about nothing" for one in outcome.unused]
    return ScanResult(
        target=found.name,
        digest=found.digest,
        files=len(report.files),
        size=sum(file.size for file in report.files),
        blocked=outcome.blocked,
        block=block,
        counts={severity.name: counts[severity] for severity in reversed(Severity) if counts[severity]},
        findings=tuple(map(_finding, outcome.findings)),
        suppressed=tuple(
            HiddenFinding(_finding(finding), by.reason, by.who, by.expires.isoformat())
            for finding, by in outcome.suppressed
        ),
        notices=tuple(notices),
        opinions=opinions,
        unknown=tuple(file.path for file in report.files if not file.scanners),
        outcome=outcome,
    )


def _finding(finding: Finding) -> ScanFinding:
    rule = finding.rule
    return ScanFinding(
        rule.id,
        rule.severity.name,
        finding.path,
        finding.inner,
        finding.offset,
        rule.title,
        finding.detail,
        rule.explanation,
        rule.advice,
    )
