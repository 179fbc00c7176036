"""``cache repair``: damaged blobs are mended with the chunks that are wrong, and installed files with them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..digest import Digest, Readable, hash_stream
from ..errors import InstallMLError, IntegrityError, NotFound
from ..events import BlobProgress, Event, Listener, Phase
from ..reference import LOCAL
from ..spec.chunks import MAX_CHUNK
from ..spec.descriptor import Descriptor
from ..spec.package import read_package
from ..store.disk import DiskRepository, Ref
from ..store.files import disk_errors, unique_suffix
from ..store.gc import reachable
from ..store.materialise import WAYS, How
from ..store.partial import Partial
from ..store.protocol import Assembly
from ..store.recovery import settle
from ..store.verified import read_manifest
from ..transfer import copy
from ..transfer.delta import Delta, holds
from .cache import CacheDamaged
from .places import Found, find_remote, full
from .pull import delta_of
from .results import CacheVerification, DamagedBlob, MendedBlob, RepairResult
from .session import AMBIENT, Session
from .subset import partial_packages

__all__ = ["cache_repair"]


def cache_repair(reference: str = "", *, session: Session = AMBIENT) -> RepairResult:
    """Hash blobs again and mend what is damaged: with a chunk index only the wrong chunks are fetched, else all.

    Args:
        reference: Only this package; everything in the store when left out.
        session: Collaborators.

    Raises:
        NotFound: The store has no such package.
        CacheDamaged: Some could not be mended; lists them. The others are mended.
    """
    session.on_event(Phase("verifying", str(session.home)))
    refs = _refs(reference, session)
    with session.store.lease():
        settle(session.store, on_event=session.on_event)
        checked, damaged = _damaged(refs, session)
        mended, reasons = _mend(damaged, session)
        relinked = _relink({blob.digest for blob in mended}, session) if mended else ()
    left = [
        DamagedBlob(digest, reasons.get(digest, "is damaged"), tuple(str(ref.reference) for ref in owners))
        for digest, owners in damaged.items()
        if digest not in {blob.digest for blob in mended}
    ]
    if left:
        raise CacheDamaged(CacheVerification(checked, tuple(left)))
    moved = sum(blob.fetched for blob in mended)
    return RepairResult(checked, tuple(mended), moved, relinked, partial_packages(refs, session))


def _refs(reference: str, session: Session) -> list[Ref]:
    """Return the refs of the store that are meant, and for each installed model that no ref keeps one of its own."""
    refs = list(session.store.refs())
    kept = {ref.descriptor.digest for ref in refs}
    refs += [Ref(r.reference, r.descriptor, 0) for r in session.installed.records() if r.descriptor.digest not in kept]
    if not reference:
        return refs
    wanted = full(reference, session)
    meant = [
        ref
        for ref in refs
        if (ref.reference.registry, ref.reference.repository) == (wanted.registry, wanted.repository)
        and (ref.descriptor.digest == wanted.digest if wanted.digest else ref.reference.tag == wanted.tag)
    ]
    if not meant:
        raise NotFound(f"{wanted} is not in the local store", hint="installml list", subject=str(wanted))
    return meant


def _damaged(refs: Sequence[Ref], session: Session) -> tuple[int, dict[Digest, list[Ref]]]:
    """Hash what ``refs`` need; return how many blobs that are, and the damaged ones with who needs them."""
    owners: dict[Digest, list[Ref]] = {}
    for ref in refs:
        try:
            digests = reachable(session.store, [ref.descriptor], expected=True)
        except IntegrityError:  # the manifest itself: what it names shows when it is sound again
            digests = {ref.descriptor.digest}
        for digest in digests:
            owners.setdefault(digest, []).append(ref)
    damaged = {}
    for digest, needed_by in owners.items():
        if session.store.blobs.check(digest):
            damaged[digest] = needed_by
        session.on_event(BlobProgress(str(digest), 0))
    return len(owners), damaged


def _mend(damaged: dict[Digest, list[Ref]], session: Session) -> tuple[list[MendedBlob], dict[Digest, str]]:
    """Mend package by package from its registry; return what is sound now, and why the rest is not."""
    mended: dict[Digest, MendedBlob] = {}
    reasons: dict[Digest, str] = {}
    for ref in {ref.descriptor.digest: ref for owners in damaged.values() for ref in owners}.values():
        mine = {digest for digest, owners in damaged.items() if ref in owners} - set(mended)
        if not mine:
            continue
        try:
            for blob in _from_registry(ref, mine, session):
                mended[blob.digest] = blob
        except InstallMLError as error:
            reasons |= dict.fromkeys(mine, f"could not be mended: {error.message}")
    return list(mended.values()), reasons


def _from_registry(ref: Ref, damaged: set[Digest], session: Session) -> Iterator[MendedBlob]:
    if ref.reference.registry in ("", LOCAL):
        raise NotFound(f"{ref.reference} was built here; build it again", subject=str(ref.reference))
    found = find_remote(ref.reference.with_digest(ref.descriptor.digest), session)
    delta = delta_of(found, session)
    left = session.store.left_out.of(found.descriptor.digest)
    place = _Mending(session.local(ref.reference), damaged, delta, session.on_event)
    copy(
        found.source,
        place,
        found.descriptor,
        jobs=session.jobs,
        on_event=place.hear,
        phase="mending",
        delta=delta,
        limit=session.limit,
        wanted=lambda blob: blob.digest not in left,
    )
    for blob in _named(found):
        if blob.digest in place.mended:
            yield MendedBlob(blob.digest, blob.size, place.fetched.get(blob.digest, 0))


def _named(found: Found) -> list[Descriptor]:
    return [*found.package().manifest.blobs, found.descriptor]


@dataclass(slots=True)
class _Mending:
    """The local store, whose damaged content counts as absent, with the sound chunks of it in their places.

    Attributes:
        local: The repository.
        damaged: What is to be mended.
        delta: Knows the chunks.
        on_event: Told what happens.
        mended: What is sound again.
        fetched: Bytes that came from the registry, by blob.
    """

    local: DiskRepository
    damaged: set[Digest]
    delta: Delta | None
    on_event: Listener
    mended: set[Digest] = field(default_factory=set)
    fetched: dict[Digest, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.local)

    def hear(self, event: Event) -> None:
        """Count what is fetched, and hand the event on."""
        if isinstance(event, BlobProgress):
            digest = Digest.parse(event.digest)
            self.fetched[digest] = self.fetched.get(digest, 0) + event.advance
        self.on_event(event)

    def exists(self, descriptor: Descriptor) -> bool:
        """Return whether the content is there and sound."""
        waiting = descriptor.digest in self.damaged and descriptor.digest not in self.mended
        return not waiting and self.local.store.blobs.exists(descriptor)

    def fetch(self, descriptor: Descriptor) -> contextlib.AbstractContextManager[Readable]:
        """Open content that is sound."""
        return self.local.fetch(descriptor)

    def push(self, descriptor: Descriptor, content: Readable) -> None:
        """Take small content whole, in the place of what is damaged."""
        if descriptor.digest in self.damaged:
            self.local.store.blobs.check(descriptor.digest, quarantine=True)
        self.local.push(descriptor, content)
        self.mended.add(descriptor.digest)

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        """Do nothing: the refs are as they were."""

    @contextlib.contextmanager
    def assemble(
        self, descriptor: Descriptor, *, stopped: Callable[[], bool], on_wait: Callable[[str], None]
    ) -> Iterator[Assembly | None]:
        """Open damaged content with its wrong chunks taken out; as a new blob when it is not there or too short."""
        if self.local.store.blobs.exists(descriptor):
            with self.local.store.reassemble(descriptor) as partial:
                self._take_out(partial)
                yield partial
                done = partial.published
        else:
            with self.local.assemble(descriptor, stopped=stopped, on_wait=on_wait) as fresh:
                yield fresh
                done = fresh is None or fresh.published
        if done:
            self.mended.add(descriptor.digest)

    def _take_out(self, partial: Partial) -> None:
        index = self.delta.index(partial.descriptor.digest) if self.delta is not None else None
        if index is None:
            partial.discard()
            return
        buffer = memoryview(bytearray(MAX_CHUNK))
        for number in range(len(index)):
            if not holds(partial, index, number, buffer):
                partial.forget(index.extent(number))


def _relink(mended: set[Digest], session: Session) -> tuple[str, ...]:
    """Mend the files of installed models that shared the damaged bytes; return their paths."""
    done = []
    for record in session.installed.records():
        place = session.local(record.reference)
        try:
            package = read_package(read_manifest(place, record.descriptor), str(record.reference))
        except InstallMLError:
            continue
        for file in package.files:
            path = record.path / file.path
            if file.form != "raw" or file.descriptor.digest not in mended or not record.has(file.path):
                continue
            if not _sound(path, file.descriptor):
                _replace(path, session.store.blobs.path(file.descriptor.digest))
                done.append(str(path))
    return tuple(done)


def _sound(path: Path, descriptor: Descriptor) -> bool:
    try:
        with path.open("rb", buffering=0) as file:
            return hash_stream(file, algorithm=descriptor.digest.algorithm) == (descriptor.digest, descriptor.size)
    except OSError:
        return False


def _replace(path: Path, blob: Path) -> None:
    """Put the blob's content in the place of ``path`` in one step, with the same permissions.

    Raises:
        StoreError: The disk refuses.
    """
    folder = path.parent
    with disk_errors(path):
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o444
        before = folder.stat().st_mode & 0o777
        folder.chmod(before | 0o200)  # installed folders are read-only
        staging = folder / f".{path.name[:100]}.{unique_suffix()}"
        try:
            _lay(blob, staging, mode)
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)
            folder.chmod(before)


def _lay(blob: Path, target: Path, mode: int) -> None:
    for way in (How.REFLINK, How.HARDLINK, How.COPY):
        if way is How.HARDLINK and mode != 0o444:
            continue  # a link shares the blob's own mode
        try:
            WAYS[way](blob, target)
        except OSError:
            target.unlink(missing_ok=True)
            if way is How.COPY:
                raise
            continue
        if way is not How.HARDLINK:
            target.chmod(mode)
        return
