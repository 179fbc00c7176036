"""What moved: packages that were built, sent, fetched, copied or installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...digest import Digest
from ...reference import Reference
from .form import Result

__all__ = [
    "BuildResult",
    "CopyResult",
    "ExportResult",
    "InstallResult",
    "PartialFiles",
    "PullResult",
    "PushResult",
    "UninstallResult",
]


@dataclass(frozen=True, slots=True)
class BuildResult(Result):
    """A package was built; ``destination`` is where it is: the local store or a registry."""

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    files: int
    destination: str
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PartialFiles:
    """Some files of a package.

    Attributes:
        files: Their paths.
        of: Number of files of the whole package.
        size: Bytes of these files.
        checkpoints: Names of the checkpoints that are whole in them.
    """

    files: tuple[str, ...]
    of: int
    size: int
    checkpoints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PushResult(Result):
    """A package was sent.

    Attributes:
        moved: Bytes that went.
        blobs: Outcomes by number: copied, exists, mounted.
        notices: What the reader should know.
        signers: Who signed it there, with ``--sign``.
    """

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    moved: int
    blobs: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PullResult(PushResult):
    """A package was fetched into the local store.

    Attributes:
        seeded: Bytes that this machine had in other files.
        partial: What of it is here now where files were left out; null when it is whole.
        signers: Who vouches for it.
    """

    seeded: int = 0
    partial: PartialFiles | None = None
    signers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CopyResult(Result):
    """A package was copied from one place to another."""

    source: str
    destination: str
    digest: Digest
    size: int
    moved: int
    blobs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportResult(CopyResult):
    """A package was written to an OCI layout folder."""


@dataclass(frozen=True, slots=True)
class InstallResult(Result):
    """A model is installed.

    Attributes:
        path: The read-only folder.
        variant: Hardware profile that fits, or empty.
        signers: Who vouches for it.
        source: Where the bytes came from.
        moved: Bytes fetched; with ``--dry-run``, that would be.
        seeded: Bytes that this machine had in other files.
        requests: With ``--dry-run``: requests for content that fetching would take.
        partial: Which files are installed where some were left out; null when it is whole.
        linked: How the files share the store's bytes.
        runtime: Key of the runtime environment, or empty.
        python: Its interpreter, or empty.
        unchanged: It was installed already, the same bytes.
        notices: What the reader should know, such as that nobody vouches for it.
    """

    reference: Reference
    name: str
    version: str
    digest: Digest
    size: int
    path: str
    variant: str
    signers: tuple[str, ...]
    source: str
    moved: int
    linked: str
    runtime: str
    python: str
    unchanged: bool = False
    notices: tuple[str, ...] = ()
    seeded: int = 0
    requests: int = 0
    partial: PartialFiles | None = None


@dataclass(frozen=True, slots=True)
class UninstallResult(Result):
    """A model is no longer installed; its content goes with the next ``cache gc`` unless it is needed elsewhere."""

    reference: Reference
    name: str
    version: str
    path: str
