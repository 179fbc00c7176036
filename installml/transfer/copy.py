"""``copy``: walk a manifest, move what the destination lacks, children first, and tag at the end.

The order is what keeps every destination whole: blobs, then the manifests that name them, then the tag
(distribution-spec, "Pushing manifests"). Blobs that come from a registry into a store go through the download engine
(``download``), files that go to a registry through ``upload``; between all other places they are streams.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

from ..digest import Digest, Readable, VerifyingReader
from ..events import BlobDone, BlobProgress, BlobStarted, Listener, Phase, ignore
from ..registry.errors import ConnectionLost
from ..spec.canonical import MAX_MANIFEST
from ..spec.descriptor import Descriptor
from ..spec.manifest import ManifestInvalid, parse_manifest
from ..store.protocol import (
    Assembler,
    Completeness,
    Destination,
    Fetcher,
    Mounter,
    RangeFetcher,
    Roomy,
    Source,
    Supposer,
    TagPusher,
)
from ..store.verified import open_verified, read_verified
from .delta import Delta, spared
from .download import Cancelled, Store, Tuning, title
from .rate import Rate
from .upload import file_sender

__all__ = ["Cancelled", "Copied", "copy"]

ATTEMPTS = 3
"""Times that one blob is begun when connections break in the middle of it."""

JOBS = 16
"""Connections at most unless said otherwise; how many are worth it is measured (``pace``)."""

STREAMS = 4
"""Large blobs sent at once at most; more helps only where a stream is slower than the disk."""

SMALL = 1 << 20
"""Bytes of the largest blob whose push is mostly waiting for answers, so that more at once are faster."""

MAX_DEPTH = 8
"""Indexes within indexes; nobody makes two, and an endless chain must end somewhere."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did.

    Attributes:
        descriptor: The root manifest.
        blobs: Blobs and manifests by outcome: ``copied``, ``exists``, ``mounted``.
        moved: Bytes that were sent or received.
    """

    descriptor: Descriptor
    blobs: dict[str, int]
    moved: int


@dataclass(slots=True)
class _Tally:
    """Counts that several threads add to."""

    outcomes: dict[str, int] = field(default_factory=dict)
    moved: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, outcome: str) -> None:
        with self.lock:
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def move(self, count: int) -> None:
        with self.lock:
            self.moved += count


def copy(
    source: Source,
    destination: Destination,
    root: Descriptor,
    *,
    tags: Iterable[str] = (),
    jobs: int = JOBS,
    on_event: Listener = ignore,
    phase: str = "copying",
    delta: Delta | None = None,
    limit: Rate | None = None,
    part_size: int = 0,
    tuning: Tuning | None = None,
    wanted: Callable[[Descriptor], bool] | None = None,
) -> Copied:
    """Bring ``root`` and all below it from ``source`` to ``destination``.

    Args:
        source: Where it is.
        destination: Where it shall be; content that is there already is not read from the source.
        root: The manifest or index.
        tags: Set at the end, in this order; a digest keeps the manifest without a tag.
        jobs: Most connections at the same time.
        on_event: Told what happens, from several threads.
        phase: What the caller calls this, for people.
        delta: Chunk indexes, and what is on this machine already; used where blobs come in parts.
        limit: A ceiling on bytes a second.
        part_size: Bytes asked for in one request where blobs come in parts; 0 to choose by size and speed.
        tuning: What the download engine takes for given, but for the size of parts.
        wanted: Which layers to bring; all when left out. Configs and manifests always come, and the destination must
            know what it lacks before it is asked to tag.

    Returns:
        What was moved and what was there.

    Raises:
        NotFound: The source lacks something.
        IntegrityError: The source sent other bytes than it named; nothing was tagged.
        InstallMLError: Whatever the places raise; what arrived whole stays, nothing is tagged.
    """
    tally = _Tally()
    tuned = replace(tuning or Tuning(), part=part_size)
    tags = list(tags)
    mover = _Mover(source, destination, jobs, on_event, tally, phase, delta, limit, tuned, wanted)
    mover.walk(root, tag=next((tag for tag in tags if ":" not in tag), ""))
    for tag in tags:
        destination.tag(root, tag)
    return Copied(root, dict(tally.outcomes), tally.moved)


class _Mover:
    """Moves blobs between two places on a bounded number of threads; stops all of them at the first failure."""

    def __init__(
        self,
        source: Source,
        destination: Destination,
        jobs: int,
        on_event: Listener,
        tally: _Tally,
        phase: str,
        delta: Delta | None,
        limit: Rate | None,
        tuning: Tuning,
        wanted: Callable[[Descriptor], bool] | None,
    ) -> None:
        self._source = source
        self._destination = destination
        self._jobs = max(1, jobs)
        self._on_event = on_event
        self._tally = tally
        self._phase = phase
        self._delta = delta
        self._limit = limit
        self._tuning = tuning
        self._wanted = wanted
        self._stop = threading.Event()
        self._walked: set[Digest] = set()
        # Looked at once: to ask an object for all methods of a protocol costs more than some of the methods.
        self._supposer = destination if isinstance(destination, Supposer) else None
        self._mounter = destination if isinstance(destination, Mounter) else None
        self._send_file = file_sender(source, destination)

    def walk(self, root: Descriptor, depth: int = 0, tag: str = "") -> None:
        """Move everything below ``root`` and then ``root`` itself; what several indexes share is walked once.

        Args:
            root: The manifest or index.
            depth: Of indexes within indexes.
            tag: One that ``root`` will get: a place may set it while it takes the manifest.
        """
        if root.digest in self._walked:
            return
        if isinstance(self._destination, Completeness):
            there = whole = self._destination.complete(root)
        else:
            there, whole = self._destination.exists(root), False
        if whole:
            self._done(root, "exists")
            return
        origin = cast(Fetcher, self._destination) if there and hasattr(self._destination, "fetch") else self._source
        if depth > MAX_DEPTH:
            raise ManifestInvalid(str(origin), [f"indexes are nested deeper than {MAX_DEPTH}"])
        data = read_verified(origin, root, cap=MAX_MANIFEST)
        manifest = parse_manifest(data, root.media_type, f"{origin}@{root.digest}")
        for child in manifest.manifests:
            self.walk(child, depth + 1)
        config, layers = manifest.blobs[:1], manifest.blobs[1:]
        self._move((*config, *(layers if self._wanted is None else filter(self._wanted, layers))))
        if there:
            self._done(root, "exists")
        else:
            self._send(root, data, tag)
        self._walked.add(root.digest)

    def _move(self, blobs: Sequence[Descriptor]) -> None:
        if not blobs:  # an index has none of its own
            return
        if isinstance(self._destination, Roomy):
            self._destination.check_room(blobs, partial(spared, self._delta))
        self._on_event(Phase(self._phase, count=len(blobs), size=sum(blob.size for blob in blobs)))
        if isinstance(self._source, RangeFetcher) and isinstance(self._destination, Assembler):
            self._download(self._source, cast(Store, self._destination), blobs)
        else:
            self._stream(blobs)

    def _download(self, source: RangeFetcher, destination: Store, blobs: Sequence[Descriptor]) -> None:
        if all(map(destination.exists, blobs)):
            for blob in blobs:
                self._done(blob, "exists")
            return
        from .download.engine import Download

        engine = Download(
            source,
            destination,
            jobs=self._jobs,
            on_event=self._on_event,
            done=self._done,
            delta=self._delta,
            limit=self._limit,
            tuning=self._tuning,
        )
        try:
            engine.run(blobs)
        finally:
            self._tally.move(engine.received)

    def _stream(self, blobs: Sequence[Descriptor]) -> None:
        with ExitStack() as pools:
            futures = []
            for lane, threads in _lanes(blobs, self._jobs):
                pool = pools.enter_context(ThreadPoolExecutor(threads, "copy"))
                futures += [pool.submit(self._one, blob) for blob in lane]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            except BaseException:  # Ctrl-C in the waiting thread: the others must not go on for minutes
                self._cancel(futures)
                raise
            if any(future.exception() for future in done if not future.cancelled()):
                self._cancel(futures)
        _raise_first(futures)

    def _cancel(self, futures: list[Future[None]]) -> None:
        self._stop.set()
        for future in futures:
            future.cancel()

    def _one(self, blob: Descriptor) -> None:
        if self._stop.is_set():
            raise Cancelled("stopped")
        if self._there(blob):
            self._done(blob, "exists")
        elif self._mount(blob):
            self._done(blob, "mounted")
        else:
            self._send(blob)

    def _there(self, blob: Descriptor) -> bool:
        if self._supposer is not None and self._supposer.supposes_missing(blob):
            return False
        return self._destination.exists(blob)

    def _send(self, descriptor: Descriptor, data: bytes | None = None, tag: str = "") -> None:
        """Send one blob, or the manifest whose ``data`` are in hand already and which will get ``tag``."""
        self._on_event(BlobStarted(str(descriptor.digest), title(descriptor), descriptor.size))
        self._push(descriptor, data, tag)
        self._done(descriptor, "copied")

    def _done(self, descriptor: Descriptor, outcome: str) -> None:
        self._tally.add(outcome)
        self._on_event(BlobDone(str(descriptor.digest), title(descriptor), descriptor.size, outcome))

    def _push(self, descriptor: Descriptor, data: bytes | None, tag: str) -> None:
        """Send one blob; a connection that breaks on the way is made anew, and the blob begins again."""
        passing, resumed = partial(self._passing, descriptor.digest), partial(self._resumed, descriptor)
        if data is None and self._send_file is not None and self._send_file(descriptor, passing, resumed):
            return
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._open(descriptor, data) as stream:
                    if tag and isinstance(self._destination, TagPusher):
                        self._destination.push_tagged(descriptor, stream, tag)
                    else:
                        self._destination.push(descriptor, stream)
            except ConnectionLost:
                if attempt == ATTEMPTS or self._stop.is_set():
                    raise
            else:
                self._tally.move(descriptor.size)
                return

    def _mount(self, blob: Descriptor) -> bool:
        return self._mounter is not None and self._mounter.mount(blob, self._source)

    def _open(self, descriptor: Descriptor, data: bytes | None) -> AbstractContextManager[VerifyingReader]:
        counted = partial(_Counted, partial(self._progress, descriptor.digest), self._stop)
        if data is None:
            return open_verified(self._source, descriptor, counted)
        held = counted(io.BytesIO(data))
        return nullcontext(VerifyingReader(held, descriptor.digest, descriptor.size, str(self._source)))

    def _passing(self, digest: Digest, count: int) -> None:
        if self._stop.is_set():
            raise Cancelled("stopped")
        if count:
            self._tally.move(count)
            self._progress(digest, count)

    def _resumed(self, descriptor: Descriptor, done: int) -> None:
        self._on_event(BlobStarted(str(descriptor.digest), title(descriptor), descriptor.size, done=done))

    def _progress(self, digest: Digest, count: int) -> None:
        if self._limit is not None:
            self._limit.take(count, self._stop.is_set)
        self._on_event(BlobProgress(str(digest), count))


def _lanes(blobs: Sequence[Descriptor], jobs: int) -> list[tuple[list[Descriptor], int]]:
    """Return the blobs that are sent one after the other, and on how many threads: small ones do not wait for large."""
    largest_first = sorted(blobs, key=lambda blob: -blob.size)  # the longest job must not be the last to start
    large = [blob for blob in largest_first if blob.size > SMALL]
    small = largest_first[len(large) :]
    if large and small and jobs > STREAMS:
        return [(large, STREAMS), (small, jobs - STREAMS)]
    return [(largest_first, min(jobs, STREAMS) if large else jobs)]


def _raise_first(futures: list[Future[None]]) -> None:
    errors = [error for f in futures if f.done() and not f.cancelled() and (error := f.exception())]
    for error in sorted(errors, key=lambda e: isinstance(e, Cancelled)):
        raise error


class _Counted:
    """A stream that reports what passes, and stops when the copy has failed elsewhere."""

    def __init__(self, report: Callable[[int], None], stop: threading.Event, stream: Readable) -> None:
        self._stream = stream
        self._report = report
        self._stop = stop

    def read(self, size: int = -1, /) -> bytes:
        if self._stop.is_set():
            raise Cancelled("stopped")
        block = self._stream.read(size)
        if block:
            self._report(len(block))
        return block
