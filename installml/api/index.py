"""``index``: chunk indexes for a package, so that updates to and from it fetch only what differs.

``push`` attaches them by itself; this verb is for packages that other tools pushed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..digest import Digest, Readable
from ..errors import InstallMLError, IntegrityError
from ..events import BlobDone, BlobProgress, BlobStarted, Notice, Phase
from ..reference import Reference
from ..spec.chunks import LARGE, ChunkIndex, chunks_digest
from ..spec.descriptor import Descriptor
from ..spec.manifest import Manifest
from ..spec.media import ANNOTATION_TITLE
from ..spec.package import read_package
from ..store.protocol import Destination, Fetcher
from ..store.verified import open_verified, read_manifest
from ..transfer.delta import LocalDelta, Release, publish_indexes
from ..transfer.seeds import Seeds
from .places import Found, find
from .results import IndexResult
from .session import AMBIENT, Session
from .subset import require_whole

__all__ = ["attach_indexes", "index", "known_indexes", "relatives", "release_of", "seeds"]

_RELATIVES = 4
"""Versions of the same package whose blobs become seeds: further ones share little that these do not."""


def index(reference: str, *, session: Session = AMBIENT) -> IndexResult:
    """Make the chunk indexes of a package and attach them to it where it is.

    Every large file is read once: from the local store if it is there, else from the registry.

    Args:
        reference: The package: the registry's, else the local store's.
        session: Collaborators.

    Raises:
        NotFound: Neither has it.
        NotAPackage: It is something else.
        RegistryError: The registry does not take them.
    """
    session.on_event(Phase("resolving", reference))
    found = find(reference, session)
    found.package()
    require_whole(found.source, found.descriptor, found.reference)
    release = release_of(found)
    with session.store.lease():
        indexes = _indexes(release, found.source, session)
        place: Destination = session.remote(found.reference) if found.remote else session.local(found.reference)
        new = False
        if indexes:
            session.on_event(Phase("attaching", str(found.reference)))
            _, new = publish_indexes(place, release, indexes)
    return IndexResult(
        reference=found.reference,
        digest=found.descriptor.digest,
        place=found.origin,
        files=len(indexes),
        chunks=sum(map(len, indexes)),
        size=sum(len(one.to_bytes()) for one in indexes),
        chunks_digest=chunks_digest(Descriptor.of(one.to_bytes(), "") for one in indexes) if indexes else None,
        unchanged=not new,
    )


def attach_indexes(release: Release, source: Fetcher, place: Destination, session: Session) -> None:
    """Attach the chunk indexes of a package that has just been pushed; that it cannot be done is a notice.

    Args:
        release: The package.
        source: Where its bytes are, should an index still have to be made.
        place: Where it was pushed to.
        session: Collaborators.
    """
    try:
        indexes = _indexes(release, source, session)
        if indexes:
            publish_indexes(place, release, indexes)
    except IntegrityError:
        raise
    except InstallMLError as error:
        session.on_event(Notice(f"chunk indexes could not be attached, so updates fetch whole files: {error.message}"))


def _indexes(release: Release, source: Fetcher, session: Session) -> list[ChunkIndex]:
    here = seeds(session)
    if release.large:
        size = sum(blob.size for blob in release.large)
        session.on_event(Phase("indexing", count=len(release.large), size=size))
    return [_index_of(blob, source, here, session) for blob in release.large]


def _index_of(blob: Descriptor, source: Fetcher, here: Seeds, session: Session) -> ChunkIndex:
    known = here.index(blob.digest, blob.size) or here.make(blob)
    if known is not None:
        return known
    title = blob.annotations.get(ANNOTATION_TITLE, blob.digest.short)
    session.on_event(BlobStarted(str(blob.digest), title, blob.size))
    with open_verified(source, blob, lambda stream: _Reported(stream, blob, session)) as stream:
        made = _read_index(stream, blob)
    session.on_event(BlobDone(str(blob.digest), title, blob.size, "copied"))
    here.learn(made)
    return made


class _Reported:
    """A stream that reports what is read of it."""

    def __init__(self, stream: Readable, blob: Descriptor, session: Session) -> None:
        self._stream = stream
        self._blob = str(blob.digest)
        self._session = session

    def read(self, size: int = -1, /) -> bytes:
        block = self._stream.read(size)
        if block:
            self._session.on_event(BlobProgress(self._blob, len(block)))
        return block


def release_of(found: Found) -> Release:
    """Return the package that was found, as ``transfer`` wants it; ``found`` has been seen to be a package."""
    package = found.package()
    return Release(found.descriptor, package.manifest)


def seeds(session: Session) -> Seeds:
    """Return what is on this machine and may have chunks of something else."""
    return Seeds(session.store, _installed_files(session), _read_index)


def _read_index(file: Readable, blob: Descriptor) -> ChunkIndex:
    from ..packing.chunking import index_stream  # it knows the formats of files, which a pull has no need of

    return index_stream(file, blob.digest, blob.size)


def _installed_files(session: Session) -> Mapping[Digest, Sequence[Path]]:
    """Return the large files of installed models; they have their content even where the store has lost it."""
    found: dict[Digest, list[Path]] = {}
    for record in session.installed.records():
        try:
            package = read_package(session.local(record.reference).manifest(record.descriptor), str(record.reference))
        except InstallMLError:  # its manifest is damaged or gone: nothing tells what its files are
            continue
        for file in package.files:
            if file.form == "raw" and file.descriptor.size >= LARGE and record.has(file.path):
                found.setdefault(file.descriptor.digest, []).append(record.path / file.path)
    return found


def known_indexes(found: Found, session: Session) -> list[ChunkIndex]:
    """Return the chunk indexes of a package as far as they are here or its registry has them; none is made."""
    release, here = release_of(found), seeds(session)
    known = [one for blob in release.large if (one := here.index(blob.digest, blob.size)) is not None]
    lacking = {blob.digest: blob for blob in release.large} if len(known) < len(release.large) else {}
    for one in known:
        lacking.pop(one.blob, None)
    if lacking and found.remote:
        delta = LocalDelta(session.remote(found.reference), release, here, on_event=session.on_event)
        known += [one for blob in lacking if (one := delta.index(blob)) is not None]
    return known


def relatives(reference: Reference, but: Digest, session: Session) -> list[Release]:
    """Return the packages of the same repository that are here, newest first.

    Args:
        reference: The repository.
        but: Digest of the package that is wanted itself.
        session: Collaborators.
    """
    local = session.local(reference)
    mine = (reference.registry, reference.repository)
    refs = [ref for ref in session.store.refs() if (ref.reference.registry, ref.reference.repository) == mine]
    newest = sorted(refs, key=lambda ref: ref.modified, reverse=True)
    records = [
        record
        for record in session.installed.records()
        if (record.reference.registry, record.reference.repository) == mine
    ]
    descriptors = dict.fromkeys(d.bare() for d in (*(r.descriptor for r in newest), *(r.descriptor for r in records)))
    found = (_release(local, descriptor) for descriptor in descriptors if descriptor.digest != but)
    return list(itertools.islice((release for release in found if release is not None), _RELATIVES))


def _release(local: Fetcher, descriptor: Descriptor) -> Release | None:
    try:
        manifest = read_manifest(local, descriptor)
    except InstallMLError:
        return None
    return Release(descriptor, manifest) if isinstance(manifest, Manifest) else None
