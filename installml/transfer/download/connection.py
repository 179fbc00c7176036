"""One connection: takes the next request, brings its bytes in their place, and again until all is over."""

from __future__ import annotations

from itertools import pairwise

from blake3 import blake3

from ...digest import CHUNK, VerifyingReader
from ...errors import DigestMismatch, IntegrityError
from ...events import BlobProgress, BlobStarted
from ...registry.errors import ConnectionLost, UnexpectedAnswer
from ...spec.chunks import ChunkIndex
from ...spec.extents import Extent
from ...store.protocol import Span
from .outcomes import Outcomes
from .places import Cancelled, Places, title
from .schedule import Schedule
from .work import Blob, Run, Small

__all__ = ["Connection"]


class Connection:
    """Does one request after the other, in a thread of its own; holds one buffer, whatever it brings.

    Args:
        places: What is asked, and where it goes.
        schedule: What to do next.
        outcomes: What follows from how it ended.
    """

    def __init__(self, places: Places, schedule: Schedule, outcomes: Outcomes) -> None:
        self._places = places
        self._schedule = schedule
        self._outcomes = outcomes
        self._stopped = schedule.stopped.is_set
        self._clock = schedule.tuning.clock
        self._buffer = memoryview(bytearray(CHUNK))

    def work(self) -> None:
        """Take requests until all is over."""
        try:
            while (run := self._schedule.take()) is not None:
                self._do(run)
        except BaseException as error:  # else the others would wait for it for ever
            self._schedule.fail(error)

    def _do(self, run: Run) -> None:
        """Do one request and deal with how it ends."""
        error: BaseException | None = None
        try:
            with run.line.held():
                if isinstance(run.job, Blob):
                    self._part(run, run.job)
                elif isinstance(run.job, Small):
                    self._small(run, run.job)
        except BaseException as raised:
            error = raised
        self._outcomes.ended(run, error)

    def _opened(self, run: Run, span: Span) -> None:
        """Take note of the head of an answer."""
        with self._schedule.lock:
            if self._stopped() or run.left:
                raise Cancelled("stopped")
            run.span = span
            run.quiet_since = self._clock()
            if span.start != run.start or span.stop > run.stop:
                self._comes_whole(run, span)

    def _comes_whole(self, run: Run, span: Span) -> None:
        """The registry sends the whole blob: take it, and ask for no part of it any more."""
        if span.start != 0 or run.start != 0 or not isinstance(run.job, Blob):
            place = self._places.origin
            raise UnexpectedAnswer(f"{place} sent other bytes than those asked for", subject=place)
        run.stop = span.stop
        run.job.single = True
        run.job.parts.clear()

    def _read(self, run: Run, span: Span, buffer: memoryview) -> int:
        """Read what comes next, as much at once as the limit lets through."""
        if self._stopped():
            raise Cancelled("stopped")
        limit = self._places.limit
        run.quiet_since = self._clock()
        count = span.readinto(buffer if limit is None else buffer[: limit.block(len(buffer))])
        run.quiet_since = float("inf")
        if limit is not None:
            limit.take(count, self._stopped)
        with self._schedule.lock:
            self._schedule.received += count
        return count

    def _landed(self, run: Run, fresh: int) -> None:
        run.fresh += fresh
        if fresh:
            self._schedule.progress_at = self._clock()

    # -- parts of large blobs -------------------------------------------------------------------------------------

    def _part(self, run: Run, blob: Blob) -> None:
        """Take a part, block by block."""
        with self._places.source.fetch_range(blob.descriptor, Extent(run.start, run.stop)) as span:
            self._opened(run, span)
            if blob.index is not None:
                self._chunks(run, blob, blob.index, span)
                return
            buffer = self._buffer
            while run.position < run.stop and (count := self._read(run, span, buffer[: run.stop - run.position])):
                self._landed(run, blob.landing.put(run.position, buffer[:count]))
                run.position += count

    def _chunks(self, run: Run, blob: Blob, index: ChunkIndex, span: Span) -> None:
        """Take a part chunk by chunk, each compared before it is written."""
        buffer = self._buffer = _grown(self._buffer, index)
        for number in index.touching(Extent(run.start, run.stop)):
            chunk, filled = index.extent(number), 0
            while filled < chunk.size and (count := self._read(run, span, buffer[filled : chunk.size])):
                filled += count
            if filled < chunk.size:
                return
            digest = blake3(buffer[:filled]).digest()
            if digest == index.digest(number):
                self._landed(run, blob.landing.put(chunk.start, buffer[:filled]))
            else:
                self._wrong(run, blob, index, number, digest)
            run.position = chunk.stop

    def _wrong(self, run: Run, blob: Blob, index: ChunkIndex, number: int, actual: bytes) -> None:
        """A chunk is not what a signature vouches for: ask for it once more, then only where it is elsewhere too.

        A request that had begun before the chunk came wrong elsewhere says nothing new: the place was the same.
        """
        chunk = index.extent(number)
        with self._schedule.lock:
            known = blob.suspects.get(number, 0)
            if run.number <= known or not blob.landing.missing(chunk):
                return
            blob.suspects[number] = self._schedule.begun
        if not self._places.elsewhere(blob.descriptor) and known:
            expected = f"blake3:{index.digest(number).hex()}"
            raise DigestMismatch(expected, f"blake3:{actual.hex()}", self._places.origin)
        with self._schedule.lock:
            self._schedule.give_back(blob, chunk)

    # -- small blobs ----------------------------------------------------------------------------------------------

    def _small(self, run: Run, small: Small) -> None:
        """Take a blob by one request, straight into the store, which compares it."""
        descriptor, places = small.descriptor, self._places
        if places.destination.exists(descriptor):
            self._finish(small, "exists")
            return
        if small.told < 0:
            small.told = 0
            places.on_event(BlobStarted(str(descriptor.digest), title(descriptor), descriptor.size))
        with places.source.fetch_range(descriptor, Extent(0, descriptor.size)) as span:
            self._opened(run, span)
            content = VerifyingReader(
                _Stream(self, run, small, span), descriptor.digest, descriptor.size, places.origin
            )
            try:
                places.destination.push(descriptor, content)
            except IntegrityError:
                if not places.elsewhere(descriptor):
                    raise
                place = places.origin
                raise ConnectionLost(f"{place} gave other bytes than it named", subject=place) from None
        self._finish(small, "copied")

    def _finish(self, small: Small, outcome: str) -> None:
        self._places.done(small.descriptor, outcome)
        self._schedule.finish()

    def block(self, run: Run, small: Small, span: Span, size: int) -> bytes:
        """Return the next bytes of a small blob, at most ``size`` or what the buffer holds."""
        buffer = self._buffer if size < 0 else self._buffer[:size]
        count = self._read(run, span, buffer)
        run.position += count
        fresh = max(0, run.position - small.told)
        if fresh:
            small.told += fresh
            self._landed(run, fresh)
            self._places.on_event(BlobProgress(str(small.descriptor.digest), fresh))
        return bytes(buffer[:count])


class _Stream:
    """A small blob on its way, as the stream that a place takes."""

    def __init__(self, connection: Connection, run: Run, small: Small, span: Span) -> None:
        self._connection = connection
        self._of = run, small, span

    def read(self, size: int = -1, /) -> bytes:
        return self._connection.block(*self._of, size)


def _grown(buffer: memoryview, index: ChunkIndex) -> memoryview:
    """Return a buffer that holds the largest chunk (``spec.chunks.MAX_CHUNK`` at most)."""
    largest = max(right - left for left, right in pairwise(index.bounds))
    return buffer if len(buffer) >= largest else memoryview(bytearray(largest))
