"""``hardware``: what this machine has, and whether a package would run on it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..machines.machine import Machine
from ..machines.match import match
from .places import find
from .results import HardwareReport
from .session import AMBIENT, Session

__all__ = ["hardware"]


def _facts(machine: Machine) -> dict[str, Any]:
    facts = asdict(machine)
    facts["diskFree"] = facts.pop("disk_free")
    return facts | {"features": sorted(machine.features), "accelerators": list(facts["accelerators"])}


def hardware(*, check: str = "", session: Session = AMBIENT) -> HardwareReport:
    """Return what this machine has; with a reference, whether that package fits. Only its manifest is read.

    Args:
        check: The package to ask about, or empty.
        session: Collaborators.

    Raises:
        NotFound: There is no such package.
    """
    machine = session.machine()
    if not check:
        return HardwareReport(_facts(machine))
    found = find(check, session)
    package = found.package()
    missing = sum(b.size for b in package.manifest.blobs if not session.store.blobs.exists(b))
    fit = match(package.profiles, machine, size=missing)
    return HardwareReport(
        machine=_facts(machine),
        reference=str(found.reference),
        fits=fit.fits,
        variant=fit.profile.name if fit.profile else "",
        shortfalls=() if fit.fits else tuple(str(s) for s in fit.shortfalls),
    )
