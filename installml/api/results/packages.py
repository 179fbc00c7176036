"""What is known about packages, and the recipes that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...digest import Digest
from ...reference import Reference
from .attesting import AttestationInfo
from .form import Result
from .moving import PartialFiles

__all__ = [
    "FileInfo",
    "InfoResult",
    "InitResult",
    "ListEntry",
    "ListResult",
    "UpdateInfo",
]


@dataclass(frozen=True, slots=True)
class InitResult(Result):
    """A recipe was written, or would be.

    Attributes:
        path: The recipe's file.
        recipe: Its text.
        format: What was recognised, best first; empty when nothing was.
        engine: Chosen engine.
        written: Files written, the recipe among them.
        notices: What could not be told and should be filled in by hand.
    """

    path: str
    recipe: str
    format: str
    engine: str
    written: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One file of a package."""

    path: str
    role: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class UpdateInfo:
    """What going from one package to another would fetch.

    Attributes:
        reference: The package that one comes from.
        size: Bytes of content, where that package is here with its chunk indexes.
        requests: Requests for them.
        files: Files that differ.
    """

    reference: Reference
    size: int
    requests: int
    files: int


@dataclass(frozen=True, slots=True)
class InfoResult(Result):
    """What a manifest tells; no blob was read.

    Attributes:
        place: Where the manifest was read.
        hardware: Profiles in words; empty when it runs anywhere.
        annotations: As they stand in the manifest.
        installed: Path when it is installed here, else empty.
        update: With ``--from``: what an update would fetch.
        checkpoints: Names that ``--checkpoint`` takes.
        partial: Which files are here (installed, or else in the local store) where some were left out.
        attestations: With ``--attestations``: what was signed about it; null when nobody asked.
    """

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    engine: str
    place: str
    description: str
    license: str
    hardware: tuple[str, ...]
    files: tuple[FileInfo, ...]
    annotations: Mapping[str, str]
    installed: str = ""
    update: UpdateInfo | None = None
    checkpoints: tuple[str, ...] = ()
    partial: PartialFiles | None = None
    attestations: tuple[AttestationInfo, ...] | None = None


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One package on this machine.

    Attributes:
        partial: Which files are here (installed, or else in the local store) where some were left out.
    """

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    installed: bool
    path: str = ""
    partial: PartialFiles | None = None


@dataclass(frozen=True, slots=True)
class ListResult(Result):
    """Packages on this machine."""

    packages: tuple[ListEntry, ...]
