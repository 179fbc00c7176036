"""What InstallML itself can say about a package: its bill of materials, how it was built, what a scan found.

Each is a predicate with its type, for ``attach_statement``; nothing here signs. ``sign --sbom --provenance --scan`` is
made of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..attesting.scan import PREDICATE_TYPE as SCAN
from ..attesting.scan import Suppressed, found, rules_version, scan_predicate
from ..attesting.slsa import LOCAL_BUILDER, Run, provenance
from ..attesting.slsa import PREDICATE_TYPE as PROVENANCE
from ..packing.provenance import commit_of
from ..scanning.finding import Report
from ..scanning.gate import Outcome
from ..scanning.scanners import RULES
from ..version import __version__
from .places import Found
from .sbom import facts_of, predicate_of, standard
from .session import Session

__all__ = ["Said", "provenance_statement", "sbom_statement", "scan_statement"]


@dataclass(frozen=True, slots=True)
class Said:
    """Something that can be signed about a package.

    Attributes:
        type: Predicate type.
        predicate: What is said.
    """

    type: str
    predicate: Mapping[str, Any]


def sbom_statement(package: Found, session: Session, *, spec: str = "cyclonedx") -> Said:
    """Return a package's bill of materials.

    Args:
        package: The package.
        session: Collaborators.
        spec: As of ``sbom``.
    """
    form = standard(spec)
    return Said(form.predicate_type, predicate_of(facts_of(package, session), form, session))


def provenance_statement(
    package: Found, session: Session, *, folder: Path | None = None, builder: str = LOCAL_BUILDER, invocation: str = ""
) -> Said:
    """Return how a package was built.

    Args:
        package: The package.
        session: Collaborators.
        folder: The model folder that it was just built from, for the commit that this is at; None when it is not here.
        builder: URI of the build service; this machine when left out.
        invocation: What the build service calls this run.
    """
    run = Run(__version__, builder, invocation, commit=commit_of(folder) if folder else "")
    return Said(PROVENANCE, provenance(facts_of(package, session), run))


def scan_statement(report: Report, outcome: Outcome, session: Session) -> Said:
    """Return what a scan found.

    Args:
        report: Of ``examine``.
        outcome: Of the gate: which findings count.
        session: Collaborators.
    """
    predicate = scan_predicate(
        [found(finding) for finding in outcome.findings],
        tool=__version__,
        rules=rules_version(RULES.values()),
        scanned_at=int(session.clock()),
        files=len(report.files) - len(report.skipped),
        skipped=len(report.skipped),
        suppressed=[
            Suppressed(found(finding), by.reason, by.who, by.expires.isoformat()) for finding, by in outcome.suppressed
        ],
    )
    return Said(SCAN, predicate)
