"""What is on this machine: its store, its hardware, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...digest import Digest
from .form import Result

__all__ = [
    "CacheUsage",
    "CacheVerification",
    "Collection",
    "DamagedBlob",
    "DoctorFinding",
    "DoctorReport",
    "HardwareReport",
    "MendedBlob",
    "RepairResult",
    "SettingValue",
    "SettingsResult",
]


@dataclass(frozen=True, slots=True)
class CacheUsage(Result):
    """Bytes on disk by what holds them."""

    home: str
    packages: int
    reclaimable: int
    staging: int
    installed: int
    runtimes: int
    free: int


@dataclass(frozen=True, slots=True)
class Collection(Result):
    """What ``cache gc`` removed, or would."""

    blobs: int
    staging: int
    runtimes: int
    freed: int
    dry_run: bool


@dataclass(frozen=True, slots=True)
class DamagedBlob:
    """A blob that is not what its name says."""

    digest: Digest
    reason: str
    needed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CacheVerification(Result):
    """Every blob was hashed again.

    Attributes:
        checked: Blobs that were hashed.
        damaged: Those that are not what their names say, or are missing.
        partial: Packages that are here in part; what was left out of them on purpose is not missing.
    """

    checked: int
    damaged: tuple[DamagedBlob, ...]
    partial: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MendedBlob:
    """A blob that was damaged and is sound again.

    Attributes:
        digest: The blob.
        size: Its bytes.
        fetched: Bytes that it took from a registry.
    """

    digest: Digest
    size: int
    fetched: int


@dataclass(frozen=True, slots=True)
class RepairResult(Result):
    """Every blob was hashed again, and those that were damaged are sound now.

    Attributes:
        checked: Blobs that were hashed.
        mended: Those that were damaged.
        moved: Bytes fetched.
        relinked: Files of installed models that were damaged with them and are sound again.
        partial: Packages that are here in part; what was left out of them on purpose is not fetched.
    """

    checked: int
    mended: tuple[MendedBlob, ...]
    moved: int
    relinked: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HardwareReport(Result):
    """What this machine has, and whether a package fits.

    Attributes:
        machine: Facts by name.
        reference: The package asked about, or empty.
        fits: Whether it fits; None when no package was asked about.
        variant: The profile that fits.
        shortfalls: What is missing, in words.
    """

    machine: Mapping[str, Any]
    reference: str = ""
    fits: bool | None = None
    variant: str = ""
    shortfalls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One thing that was looked at. ``state`` is ``ok``, ``warning`` or ``problem``; ``hint`` is what to type."""

    check: str
    state: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class DoctorReport(Result):
    """What is right and wrong with this machine."""

    findings: tuple[DoctorFinding, ...]


@dataclass(frozen=True, slots=True)
class SettingValue:
    """One setting, and where its value came from."""

    name: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class SettingsResult(Result):
    """All settings."""

    settings: tuple[SettingValue, ...]
