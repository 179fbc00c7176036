"""Packages that are here in part: what a wish brings, what is here, and what cannot be done before the rest is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..digest import Digest
from ..errors import NotFound
from ..reference import Reference
from ..spec.descriptor import Descriptor
from ..spec.manifest import Index
from ..spec.package import Package, PackagedFile
from ..spec.subset import EVERYTHING, Wish, select_files
from ..store.disk import DiskRepository
from ..store.installed import Record
from .places import Found
from .results import PartialFiles
from .session import Session

__all__ = [
    "PackagePartial",
    "Part",
    "here_in_part",
    "installed_in_part",
    "part_of",
    "require_here",
    "require_whole",
    "wish",
]


class PackagePartial(NotFound):
    """Only a part of the package is on this machine, and what was asked for needs more of it."""

    reference = "package-partial"


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a package that somebody wants.

    Attributes:
        files: Its files, in the package's order.
        blobs: The config and what these files need, each once.
        whole: Whether that is every file.
        of: Number of files of the package.
    """

    files: tuple[PackagedFile, ...]
    blobs: tuple[Descriptor, ...]
    whole: bool
    of: int

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files when not all are wanted; empty when they are."""
        return () if self.whole else tuple(file.path for file in self.files)

    def told(self) -> PartialFiles | None:
        """Return what results say of it; None when it is everything."""
        return None if self.whole else _told(self.files, self.of)


def wish(only: str | Sequence[str], checkpoint: str) -> Wish:
    """Return what the arguments of a verb mean.

    Raises:
        UsageError: Both are given.
    """
    if not only and not checkpoint:
        return EVERYTHING
    return Wish((only,) if isinstance(only, str) else tuple(only), checkpoint)


def part_of(package: Package, wanted: Wish, origin: str) -> Part:
    """Return the part of ``package`` that is wanted.

    Raises:
        NothingSelected: There is nothing of the kind; lists what there is.
    """
    files = select_files(package, wanted, origin)
    digests = {file.descriptor.digest for file in files}
    manifest = package.manifest
    blobs = (*manifest.blobs[:1], *(blob for blob in manifest.blobs[1:] if blob.digest in digests))
    return Part(files, blobs, len(files) == len(package.files), len(package.files))


def _told(files: Sequence[PackagedFile], of: int) -> PartialFiles:
    size = sum({file.descriptor.digest: file.descriptor.size for file in files}.values())
    return PartialFiles(tuple(file.path for file in files), of, size)


def here_in_part(package: Package, manifest: Descriptor, session: Session) -> PartialFiles | None:
    """Return which files of a package of the local store are here; None when nothing was left out."""
    left = session.store.left_out.of(manifest.digest)
    if not left:
        return None
    return _told([file for file in package.files if file.descriptor.digest not in left], len(package.files))


def installed_in_part(package: Package, record: Record) -> PartialFiles | None:
    """Return which files of a package are installed; None when all are."""
    if not record.partial:
        return None
    there = set(record.partial)
    return _told([file for file in package.files if file.path in there], len(package.files))


def _typed(reference: Reference | str) -> str:
    """Return what names the package in a command: its tag where it has one."""
    if isinstance(reference, str):
        return reference
    return str(reference.with_tag(reference.tag) if reference.tag else reference)


def _left(place: DiskRepository, root: Descriptor) -> Iterator[Digest]:
    yield from place.store.left_out.of(root.digest)
    manifest = place.manifest(root)
    if isinstance(manifest, Index):
        for child in manifest.manifests:
            yield from _left(place, child)


def require_whole(place: object, root: Descriptor, reference: Reference | str) -> None:
    """Look whether everything below ``root`` can be read from ``place``, before anything is moved.

    Raises:
        PackagePartial: It is in the local store, in part.
    """
    if not isinstance(place, DiskRepository):
        return
    left = sum(1 for _ in _left(place, root))
    if left:
        name = _typed(reference)
        raise PackagePartial(
            f"{name} is here in part: {left} of its blobs were left out",
            hint=f"Fetch the rest: installml pull {name}",
            subject=name,
        )


def require_here(found: Found, part: Part, session: Session) -> None:
    """Look whether a part of a package that only the local store can give is in it.

    Raises:
        PackagePartial: Some of it was left out when it was fetched.
    """
    left = set() if found.remote else session.store.left_out.of(found.descriptor.digest)
    lacking = [file.path for file in part.files if file.descriptor.digest in left]
    if lacking:
        name = _typed(found.reference)
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise PackagePartial(
            f"{name} is here in part, without {', '.join(lacking[:5])}{more}",
            hint=f"Fetch the rest where its registry can be reached: installml pull {name}",
            subject=name,
        )
