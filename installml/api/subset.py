"""Packages that are here in part: what a wish brings, what is here, and what cannot be done before the rest is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..digest import Digest
from ..errors import InstallMLError, NotFound, UsageError
from ..reference import Reference
from ..spec.descriptor import Descriptor
from ..spec.manifest import Index
from ..spec.package import Package, PackagedFile, read_package
from ..spec.subset import EVERYTHING, Wish, checkpoints_of, select_files
from ..store.disk import DiskRepository, Ref
from ..store.installed import Record
from .places import Found
from .results import PartialFiles
from .session import Session

__all__ = [
    "PackagePartial",
    "Part",
    "here_in_part",
    "installed_checkpoint",
    "installed_in_part",
    "part_of",
    "partial_packages",
    "require_here",
    "require_whole",
    "wish",
    "with_installed",
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
        told: What results say of it; None when it is everything.
    """

    files: tuple[PackagedFile, ...]
    blobs: tuple[Descriptor, ...]
    whole: bool
    told: PartialFiles | None

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files when not all are wanted; empty when they are."""
        return () if self.whole else tuple(file.path for file in self.files)

    @property
    def runs(self) -> bool:
        """Whether it can be run: everything is there, or a whole checkpoint."""
        return self.told is None or bool(self.told.checkpoints)


def wish(only: str | Sequence[str], checkpoint: str | None) -> Wish:
    """Return what the arguments of a verb mean.

    Raises:
        UsageError: Both are given, or a checkpoint without a name: a script's empty variable does not mean everything.
    """
    if checkpoint == "":
        raise UsageError("a checkpoint needs a name", hint="Leave out --checkpoint to have every file.")
    if not only and not checkpoint:
        return EVERYTHING
    return Wish((only,) if isinstance(only, str) else tuple(only), checkpoint or "")


def part_of(package: Package, wanted: Wish, origin: str) -> Part:
    """Return the part of ``package`` that is wanted.

    Raises:
        NothingSelected: There is nothing of the kind; lists what there is.
    """
    return _part(package, select_files(package, wanted, origin))


def _part(package: Package, files: tuple[PackagedFile, ...]) -> Part:
    digests = {file.descriptor.digest for file in files}
    manifest = package.manifest
    blobs = (*manifest.blobs[:1], *(blob for blob in manifest.blobs[1:] if blob.digest in digests))
    whole = len(files) == len(package.files)
    return Part(files, blobs, whole, None if whole else _told(package, files))


def with_installed(part: Part, package: Package, record: Record | None) -> Part:
    """Return ``part`` and what is installed of the package already: installing more of it takes nothing away.

    Args:
        part: What is wanted.
        package: The package.
        record: What is installed of this very package, if anything is.
    """
    if part.whole or record is None:
        return part
    wanted = {*part.paths, *record.partial}
    return _part(package, tuple(f for f in package.files if not record.partial or f.path in wanted))


def _told(package: Package, files: Sequence[PackagedFile]) -> PartialFiles:
    size = sum({file.descriptor.digest: file.descriptor.size for file in files}.values())
    checkpoints = _whole_checkpoints(package, files)
    return PartialFiles(tuple(file.path for file in files), len(package.files), size, checkpoints)


def here_in_part(package: Package, manifest: Descriptor, session: Session) -> PartialFiles | None:
    """Return which files of a package of the local store are here; None when nothing was left out."""
    left = session.store.left_out.of(manifest.digest)
    if not left:
        return None
    return _told(package, [file for file in package.files if file.descriptor.digest not in left])


def installed_in_part(package: Package, record: Record) -> PartialFiles | None:
    """Return which files of a package are installed; None when all are."""
    if not record.partial:
        return None
    there = set(record.partial)
    return _told(package, [file for file in package.files if file.path in there])


def partial_packages(refs: Iterable[Ref], session: Session) -> tuple[str, ...]:
    """Return the names of those packages of the local store that are here in part."""
    if not session.store.left_out.manifests():
        return ()
    return tuple(dict.fromkeys(_typed(ref.reference) for ref in refs if _partial(ref, session)))


def _partial(ref: Ref, session: Session) -> bool:
    try:
        return any(True for _ in _left(session.local(ref.reference), ref.descriptor))
    except InstallMLError:  # the manifest is damaged
        return False


def _whole_checkpoints(package: Package, files: Iterable[PackagedFile]) -> tuple[str, ...]:
    """Return the checkpoints of ``package`` that are whole in ``files``."""
    there = _paths(files)
    try:
        names = checkpoints_of(package)
        return tuple(n for n in names if _paths(select_files(package, Wish(checkpoint=n), package.name)) <= there)
    except UsageError:  # what it says of its checkpoints cannot be read
        return ()


def installed_checkpoint(record: Record, session: Session) -> str | None:
    """Return the checkpoint that can be run of a model that is installed in part; None when the model is whole.

    Raises:
        PackagePartial: It is installed in part, and no checkpoint of it is complete.
    """
    if not record.partial:
        return None
    with suppress(InstallMLError):  # its manifest is damaged or gone: nothing tells which checkpoints it has
        package = read_package(session.local(record.reference).manifest(record.descriptor), str(record.reference))
        part = installed_in_part(package, record)
        if part is not None and part.checkpoints:
            return part.checkpoints[0]
    typed = _typed(record.reference)
    raise PackagePartial(
        f"{record.name} {record.version} is installed in part, and runs when it or one of its checkpoints is whole",
        hint=f"Install the rest: installml install {typed}",
        subject=typed,
    )


def _paths(files: Iterable[PackagedFile]) -> set[str]:
    return {file.path for file in files}


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
            f"{name} is here in part, without {left} of its blobs",
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
