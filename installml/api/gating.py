"""The gate behind a download: what somebody else has made is scanned before any of it is put to use."""

from __future__ import annotations

from ..events import Phase
from ..spec.package import Package
from .places import Found
from .session import Session
from .subset import Part

__all__ = ["gate"]

_SHOWN = 5


def gate(
    found: Found, package: Package, part: Part, session: Session, *, block: str, suppressions: str = ""
) -> tuple[str, ...]:
    """Return what there is to say about a package whose files are here, when it may be used.

    Args:
        found: The package.
        package: The same.
        part: What of it will be used.
        session: Collaborators.
        block: Severity from which it may not, or ``never``.
        suppressions: TOML file of findings that do not count; empty for none.

    Raises:
        ScanBlocked: It may not.
        UsageError: ``block`` is no severity, or ``suppressions`` cannot be read.
    """
    from ..scanning.errors import ScanBlocked  # here: what is built or installed already needs no scanner
    from .scan import examine, gate_of, read_suppressions

    asked, excused = gate_of(block), read_suppressions(suppressions)
    session.on_event(Phase("scanning", str(found.reference), count=len(part.files)))
    _, outcome = examine(package, session, asked, excused, only=None if part.whole else {f.path for f in part.files})
    told = [f"{each.severity.name}: {each.path}: {each.rule.title} ({each.rule.id})" for each in outcome.too_bad]
    if outcome.blocked:
        more = f"\n  - and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        listed = "".join(f"\n  - {line}" for line in told[:_SHOWN])
        raise ScanBlocked(
            f"{found.reference} is not used; the scan found:{listed}{more}",
            hint=f"See all of it: installml scan {found.reference}. If you have looked and know that it is no danger, "
            "write that down and install with --suppressions FILE (docs/guides/scan.md). --block never lets all in.",
            subject=str(found.reference),
        )
    return tuple(f"scan: {line}" for line in told)
