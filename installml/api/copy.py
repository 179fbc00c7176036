"""``copy`` and ``export``: a package from any place to any place."""

from __future__ import annotations

from contextlib import nullcontext

from ..errors import UsageError
from ..events import Phase
from ..reference import parse_location
from ..spec.descriptor import Descriptor
from ..store.disk import DiskRepository
from ..store.layout import LayoutStore
from ..store.protocol import Source
from ..store.verified import read_manifest
from ..transfer import copy as transfer
from .build import made
from .places import find, folder_of, is_folder, open_place
from .results import CopyResult, ExportResult
from .session import AMBIENT, Session
from .subset import require_whole

__all__ = ["copy", "export"]


def copy(source: str, destination: str, *, session: Session = AMBIENT) -> CopyResult:
    """Copy a package between registries, ``oci-layout:`` folders, the local store and (as a source) ``dir:`` folders.

    Args:
        source: Reference, ``oci-layout:PATH[:tag]`` or ``dir:PATH``.
        destination: Reference or ``oci-layout:PATH[:tag]``; the source's tag when it names none.
        session: Collaborators.

    Raises:
        NotFound: The source does not have it.
        UsageError: The destination is a ``dir:``; use ``install`` for that.
    """
    if parse_location(destination).scheme == "dir":
        raise UsageError("a package is not copied into a folder of files", hint=f"installml install {source}")
    session.on_event(Phase("copying", f"{source} to {destination}"))
    if is_folder(source):
        package = made(folder_of(source), session)
        return _copied(package, package.root, package.tag, source, destination, session)
    place, pointer, _ = open_place(source, session)
    if isinstance(place, LayoutStore) and not pointer:
        pointer = _only(source, place)
    root = place.resolve(pointer or "latest")
    return _copied(place, root, "" if ":" in pointer else pointer or "latest", source, destination, session)


def _only(source: str, layout: LayoutStore) -> str:
    """Return what names the only package of a layout: its tag, or the digest of one that was exported without."""
    tags, listed = layout.tags(), layout.manifests()
    if len(tags) == 1:
        return tags[0]
    if not tags and len(listed) == 1:
        return str(listed[0].digest)
    listing = f"tags {', '.join(tags[:10])}" if tags else f"{len(listed)} packages without a tag"
    raise UsageError(f"{source} has {listing}: which one is meant", hint=f"installml copy {source}:TAG DESTINATION")


def _copied(place: Source, root: Descriptor, tag: str, source: str, destination: str, session: Session) -> CopyResult:
    require_whole(place, root, source)
    target, pointer, location = open_place(destination, session)
    if ":" in pointer and pointer != str(root.digest):
        raise UsageError(f"{source} is {root.digest}, not what {destination} names", hint="Leave the digest out.")
    if isinstance(target, DiskRepository):
        session.store.prepare()
    here = isinstance(place, DiskRepository) or isinstance(target, DiskRepository)
    with session.store.lease() if here else nullcontext():
        done = transfer(
            place,
            target,
            root,
            tags=[pointer or tag or str(root.digest)],
            jobs=session.jobs,
            limit=session.limit,
            part_size=session.part_size,
            tuning=session.tuning,
            on_event=session.on_event,
        )
    manifest = read_manifest(place, root)
    size = sum(blob.size for blob in manifest.blobs)
    return CopyResult(source, str(location), root.digest, size, done.moved, done.blobs)


def export(reference: str, destination: str, *, session: Session = AMBIENT) -> ExportResult:
    """Write a package to an OCI layout folder that other tools read.

    Args:
        reference: The package: the registry's answer, else the local store's.
        destination: ``PATH`` or ``oci-layout:PATH[:tag]``.
        session: Collaborators.
    """
    if not destination.startswith("oci-layout:"):
        destination = f"oci-layout:{destination}"
    found = find(reference, session)
    result = _copied(found.source, found.descriptor, found.reference.tag, str(found.reference), destination, session)
    return ExportResult(result.source, result.destination, result.digest, result.size, result.moved, result.blobs)
