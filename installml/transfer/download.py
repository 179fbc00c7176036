"""The download engine: the blobs of one copy, in parts, over one set of connections whose number adapts.

What goes on at the same time:

- *Connections*: threads that take the next part, read it into a buffer of their own and write it in its place. How
  many may work is ``pace``'s to say, which part is next is decided here: the front of a blob first, because hashing
  follows the front; large blobs before small ones.
- *Blobs*: a thread for each large blob that is open, which opens its assembly (and may wait there for another process),
  lets local bytes be put in, hashes what has arrived, from the front on, and publishes. As many hash at once as there
  are cores.
- The caller's thread measures, looks for connections that stand still, opens blobs when the connections run out of
  parts, and is where Ctrl-C arrives.

What is decided elsewhere: what a range request is (``registry.downloads``), how bytes survive a crash
(``store.partial``), which bytes are on this machine already (``delta``). The rules of failing: a part that breaks is
asked for again from where it broke; the wait grows while nothing new comes, and only a copy that gets no further for
``Tuning.patience`` seconds gives up. Anything that another attempt cannot mend ends the copy at once.
"""

from __future__ import annotations

import os
import random as _random
import statistics
import threading
import time
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Protocol, cast

from blake3 import blake3

from ..digest import CHUNK, Digest, VerifyingReader
from ..errors import DigestMismatch, InstallMLError, IntegrityError, StoreUnusable
from ..events import BlobChecked, BlobProgress, BlobStarted, Listener, Notice, Waiting
from ..registry.errors import (
    ConnectionLost,
    ConnectionRefused,
    HostUnknown,
    RangesUnsupported,
    RegistryError,
    ServerFailed,
    TimedOut,
    TransportError,
    UnexpectedAnswer,
)
from ..spec.chunks import ChunkIndex
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent, Extents
from ..spec.media import ANNOTATION_TITLE
from ..store.protocol import Assembler, Assembly, Destination, Doubter, RangeFetcher, Span
from .delta import Delta
from .landing import Landing
from .pace import LONGEST_PAUSE, Pace
from .parts import SMALLEST, Parts, to_fetch
from .rate import Rate

__all__ = ["Cancelled", "Download", "Tuning", "title"]

MAX_OPEN = 32
"""Large blobs that are open at once; hashing them is what is behind then, and downloading waits for it."""
FIRST_WAIT = 0.25
LONGEST_WAIT = 30.0
"""Seconds before something is asked for again, doubled by each failure in a row, times a random 0.5 to 1.5."""
SLOW = 0.1
"""Share of the usual speed of a connection below which a last part is asked for a second time."""
REMEMBERED = 32
"""Finished parts whose speed tells what is usual."""
TURN = 64 << 20
"""Bytes that a blob may hash before another one gets the core."""
TOLD_S = 1.0
"""Seconds of waiting that people are told about even when other connections go on."""
JOIN_S = 2.0
"""Seconds given to threads to end by themselves; those that still wait for the head of an answer are left behind, and
write nothing when it comes."""


class Cancelled(InstallMLError):
    """Another part of the same copy failed first; never shown by itself."""

    reference = "cancelled"


def title(descriptor: Descriptor) -> str:
    """Return what people call a blob: its file's path, or the beginning of its digest."""
    return descriptor.annotations.get(ANNOTATION_TITLE, descriptor.digest.short)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Tuning:
    """What the engine takes for given; others only for tests and odd networks.

    Attributes:
        part: Bytes of a part; 0 to choose by size and speed.
        small: Bytes up to which a blob is fetched by one request and begins again when it breaks.
        tick: Seconds between two looks at everything.
        stall: Seconds without a byte, while others flow, after which a connection is given up; four times as long when
            nothing flows, or while the head of the answer is still to come.
        patience: Seconds without any new byte after which a copy that fails gives up.
        hashers: Blobs hashed at the same time.
        clock: Monotonic seconds.
        random: A number from 0 to 1.
    """

    part: int = 0
    small: int = 4 << 20
    tick: float = 0.25
    stall: float = 5.0
    patience: float = 120.0
    hashers: int = field(default_factory=_cores)
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = _random.random


class Source(RangeFetcher, Protocol):
    """Where blobs are downloaded from."""


class Store(Assembler, Destination, Protocol):
    """Where they are put."""


@dataclass(eq=False, slots=True)
class _Job:
    """One blob: when it may be asked for again, and what was told about it.

    Attributes:
        descriptor: The blob.
        order: Its place in the queue.
        failures: Attempts in a row that brought nothing.
        not_before: Time of the next attempt.
        failing_since: Time of the first of them.
        stalls: Times that it was given up because nothing came.
        running: Requests for it that are under way.
    """

    descriptor: Descriptor
    order: int
    failures: int = 0
    failing_since: float = 0.0
    not_before: float = float("-inf")
    stalls: int = 0
    running: list[_Run] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Small(_Job):
    """A blob that comes by one request."""

    told: int = -1


@dataclass(eq=False, slots=True)
class _Blob(_Job):
    """A blob that comes in parts.

    Attributes:
        assembled: Where they come together; None until the assembly is open.
        index: Chunks that are compared as they land, or None.
        parts: What is still to be asked for.
        single: The registry sends it whole or not at all.
        waiting: Another process puts it together.
        suspects: Chunks that came wrong once.
    """

    assembled: Landing | None = None
    index: ChunkIndex | None = None
    parts: Parts = field(default_factory=lambda: Parts(()))
    single: bool = False
    waiting: bool = False
    suspects: set[int] = field(default_factory=set)

    @property
    def landing(self) -> Landing:
        """Where the parts come together; parts are given out only when it is there."""
        return cast(Landing, self.assembled)


@dataclass(eq=False, slots=True)
class _Run:
    """One request.

    Attributes:
        job: What for.
        start: Offset of the first byte asked for.
        stop: Offset behind the last one.
        asked_at: When.
        position: Offset of the next byte to come.
        fresh: Bytes that it brought and nobody else.
        span: What is read from, once the head of the answer is there.
        quiet_since: When the connection was asked for bytes that are still to come; infinite while it is not.
        mark: ``position`` at the last look.
        rate: Bytes a second lately.
        twin: Its rest was asked for a second time.
        left: It was given up; what comes of it does not count.
        thread: Who does it.
    """

    job: _Job
    start: int
    stop: int
    asked_at: float
    position: int = 0
    fresh: int = 0
    span: Span | None = None
    quiet_since: float = 0.0
    mark: int = 0
    rate: float = 0.0
    twin: bool = False
    left: bool = False
    thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.position = self.mark = self.start
        self.quiet_since = self.asked_at


class Download:
    """Brings blobs from a registry into a store. For one use.

    Args:
        source: Where they are.
        destination: Where they go.
        jobs: Most connections.
        on_event: Told what happens, from several threads.
        delta: Chunk indexes, and what is on this machine already.
        limit: A ceiling on bytes a second.
        tuning: See there.
    """

    def __init__(
        self,
        source: RangeFetcher,
        destination: Store,
        *,
        jobs: int,
        on_event: Listener,
        delta: Delta | None = None,
        limit: Rate | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        self._source = source
        self._destination = destination
        self._on_event = on_event
        self._stop = threading.Event()
        self._delta = delta
        self._limit = limit
        self._tuning = tuning or Tuning()
        self._clock = self._tuning.clock
        self._pace = Pace(jobs)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # connections wait for something to do
        self._alarm = threading.Condition(self._lock)  # the caller's thread waits for something to decide
        self._quiet = threading.Condition(self._lock)  # blobs wait for their connections to let go
        self._cores = threading.Condition(self._lock)  # blobs wait for a core to hash on
        self._free_cores = max(1, self._tuning.hashers)
        self._small: deque[_Small] = deque()
        self._unopened: deque[_Blob] = deque()
        self._open: list[_Blob] = []
        self._busy: set[_Run] = set()
        self._connections: list[threading.Thread] = []
        self._bringers: list[threading.Thread] = []
        self._idle = 0
        self._left = 0
        self._hungry = False
        self._slack = True
        self._received = 0
        self._speeds: deque[float] = deque(maxlen=REMEMBERED)
        self._errors: list[BaseException] = []
        self._done: Callable[[Descriptor, str], None] = lambda descriptor, outcome: None
        self._progress_at = self._window_at = self._clock()
        self._window_bytes = 0

    @property
    def received(self) -> int:
        """Bytes that came over the network, those that came twice twice."""
        return self._received

    # -- the caller's thread --------------------------------------------------------------------------------------

    def run(self, blobs: Sequence[Descriptor], done: Callable[[Descriptor, str], None]) -> None:
        """Bring ``blobs``.

        Args:
            blobs: Each once.
            done: Told of each that is there, and how: ``copied`` or ``exists``.

        Raises:
            InstallMLError: The first failure that another attempt cannot mend; everything has stopped, and what
                arrived is kept for another time.
        """
        self._done = done
        lacking = [blob for blob in blobs if not self._exists(blob)]
        ordered = sorted(lacking, key=lambda blob: -blob.size)  # the longest must not be the last to start
        for order, blob in enumerate(ordered):
            if blob.size <= self._tuning.small:
                self._small.append(_Small(blob, order))
            else:
                self._unopened.append(_Blob(blob, order))
        self._left = len(ordered)
        if self._left:
            self._bring_all()

    def _exists(self, blob: Descriptor) -> bool:
        there = self._destination.exists(blob)
        if there:
            self._done(blob, "exists")
        return there

    def _bring_all(self) -> None:
        try:
            with self._lock:
                for _ in range(self._tuning.hashers):
                    self._open_next()
                while self._left and not self._stop.is_set():
                    self._look()
                    self._alarm.wait(self._tuning.tick)
        except BaseException as error:  # Ctrl-C
            self._fail(error)
        finally:
            self._close()
        if self._errors:
            raise self._errors[0]
        if self._left:
            raise Cancelled("stopped")

    def _close(self) -> None:
        self._fail(None)
        for thread in self._bringers:  # their assemblies must be left in order
            thread.join()
        with self._lock:
            stuck = {run.thread for run in self._busy if run.span is None}
        for thread in self._connections:
            if thread not in stuck and thread.ident is not None:  # interrupted between its making and its start
                thread.join(JOIN_S)

    def _fail(self, error: BaseException | None) -> None:
        """Stop everything, because of ``error`` or because all is done."""
        with self._lock:
            if error is not None and not (isinstance(error, Cancelled) and self._stop.is_set()):
                self._errors.append(error)
            self._stop.set()
            for run in self._busy:
                if run.span is not None:
                    run.span.abort()
            for blob in self._open:
                if blob.assembled is not None:
                    blob.assembled.end()
            for condition in (self._work, self._alarm, self._quiet, self._cores):
                condition.notify_all()

    def _look(self) -> None:
        """Measure, give up what stands still, and let more threads work where there is work."""
        now = self._clock()
        if now - self._window_at >= self._tuning.tick * 0.8:
            self._measure(now)
            self._give_up_stalled(now)
        opening = sum(blob.assembled is None and not blob.waiting for blob in self._open)
        if self._hungry and not opening:
            self._hungry = False
            self._open_next()
        if self._idle:
            self._work.notify_all()
        wanted = self._pace.limit - len(self._busy) - self._idle
        for _ in range(min(wanted, self._waiting_parts())):
            self._idle += 1  # until it takes something
            self._start(self._connections, self._connection)

    def _waiting_parts(self) -> int:
        """Return how many more connections would find something to do; at least that many."""
        parts = sum(-(-blob.parts.size // (self._tuning.part or SMALLEST)) for blob in self._open)
        return parts + len(self._small) + (1 if self._busy else 0)

    def _measure(self, now: float) -> None:
        seconds = now - self._window_at
        for run in self._busy:
            rate = (run.position - run.mark) / seconds
            run.rate, run.mark = (run.rate + rate) / 2 if run.rate else rate, run.position
        if not self._slack and len(self._busy) >= self._pace.limit:
            self._pace.measured(now, (self._received - self._window_bytes) / seconds)
        self._slack = False
        self._window_at, self._window_bytes = now, self._received

    def _give_up_stalled(self, now: float) -> None:
        """Cut connections on which nothing comes any more; their parts go to others."""
        flowing = any(run.rate > 0 for run in self._busy)
        for run in list(self._busy):
            patient = self._tuning.stall * (1 if flowing and run.span is not None else 4) * (1 << run.job.stalls)
            if now - run.quiet_since < patient:
                continue
            run.job.stalls += 1
            run.quiet_since = float("inf")
            if run.span is not None:
                run.span.abort()
            else:
                self._leave(run)

    def _leave(self, run: _Run) -> None:
        """Go on without a connection that waits for the head of an answer; it cannot be cut."""
        run.left = True
        self._busy.discard(run)
        run.job.running.remove(run)
        if run.thread is not None:
            self._connections.remove(run.thread)
        if isinstance(run.job, _Small):
            self._small.append(run.job)
        elif isinstance(run.job, _Blob):
            self._ask_again(run.job, run)

    def _start(self, threads: list[threading.Thread], target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="download", daemon=True)
        threads.append(thread)
        thread.start()

    def _open_next(self) -> None:
        if self._unopened and len(self._open) < MAX_OPEN:
            blob = self._unopened.popleft()
            insort(self._open, blob, key=lambda other: other.order)
            self._start(self._bringers, partial(self._bring, blob))

    # -- which part is next ---------------------------------------------------------------------------------------

    def _connection(self) -> None:
        """Take parts until all is over."""
        buffer = memoryview(bytearray(CHUNK))
        while True:
            with self._lock:
                run = self._taken()
            if run is None:
                return
            buffer = self._do(run, buffer)

    def _taken(self) -> _Run | None:
        """Wait for something to do and take it; None when all is over."""
        while not self._stop.is_set():
            run = self._next()
            if run is not None:
                self._idle -= 1
                run.thread = threading.current_thread()
                run.job.running.append(run)
                self._busy.add(run)
                return run
            self._work.wait()
        return None

    def _next(self) -> _Run | None:
        """Return what to ask for next; None when there is nothing, or no connection to spare."""
        now = self._clock()
        if len(self._busy) >= self._pace.limit or now < self._pace.paused_until:
            return None
        ready = [blob for blob in self._open if blob.parts and blob.not_before <= now]
        if ready:
            blob = min(ready[: self._tuning.hashers], key=lambda blob: len(blob.running))
            extent = Extent(0, blob.descriptor.size) if blob.single else blob.parts.take(self._speed(), self._pace.cap)
            if blob.single:
                blob.parts.clear()
            return _Run(blob, *extent, now)
        self._look_for_more()
        for _ in range(len(self._small)):
            small = self._small.popleft()
            if small.not_before <= now:
                return _Run(small, 0, small.descriptor.size, now)
            self._small.append(small)
        self._slack = True
        return self._second(now)

    def _look_for_more(self) -> None:
        if self._unopened and not self._hungry:
            self._hungry = True
            self._alarm.notify()

    def _speed(self) -> float:
        return statistics.median(self._speeds) if self._speeds else 0.0

    def _second(self, now: float) -> _Run | None:
        """Return a second request for the rest of the slowest part, when it is slower than a tenth of the usual."""
        usual = self._speed()
        slow = [
            run
            for run in self._busy
            if isinstance(run.job, _Blob)
            and not (run.twin or run.job.single)
            and run.job.not_before <= now
            and now - run.asked_at >= 4 * self._tuning.tick
            and run.rate < usual * SLOW
            and run.position < run.stop
        ]
        if not slow:
            return None
        slowest = min(slow, key=lambda run: run.rate)
        slowest.twin = True
        return _Run(slowest.job, slowest.position, slowest.stop, now, twin=True)

    # -- a connection ---------------------------------------------------------------------------------------------

    def _do(self, run: _Run, buffer: memoryview) -> memoryview:
        """Do one request and deal with how it ends; return the buffer, which may have grown."""
        error: BaseException | None = None
        try:
            if isinstance(run.job, _Blob):
                if run.job.index is not None:
                    buffer = _grown(buffer, run.job.index)
                self._part(run, run.job, buffer)
            elif isinstance(run.job, _Small):
                self._whole(run, run.job, buffer)
        except BaseException as raised:
            error = raised
        try:
            self._ended(run, error)
        except BaseException as raised:
            self._fail(raised)
        return buffer

    def _opened(self, run: _Run, span: Span) -> None:
        with self._lock:
            if self._stop.is_set() or run.left:
                raise Cancelled("stopped")
            run.span = span
            run.quiet_since = self._clock()
            if span.start != run.start or span.stop > run.stop:
                self._comes_whole(run, span)

    def _comes_whole(self, run: _Run, span: Span) -> None:
        """The registry sends the whole blob: take it, and ask for no part of it any more."""
        if span.start != 0 or run.start != 0 or not isinstance(run.job, _Blob):
            raise UnexpectedAnswer(f"{self._source} sent other bytes than those asked for", subject=str(self._source))
        run.stop = span.stop
        run.job.single = True
        run.job.parts.clear()

    def _read(self, run: _Run, span: Span, buffer: memoryview) -> int:
        """Read what comes next, as much at once as the limit lets through."""
        if self._stop.is_set():
            raise Cancelled("stopped")
        run.quiet_since = self._clock()
        count = span.readinto(buffer if self._limit is None else buffer[: self._limit.block(len(buffer))])
        run.quiet_since = float("inf")
        if self._limit is not None:
            self._limit.take(count, self._stop.is_set)
        with self._lock:
            self._received += count
        return count

    def _part(self, run: _Run, blob: _Blob, buffer: memoryview) -> None:
        with self._source.fetch_range(blob.descriptor, Extent(run.start, run.stop)) as span:
            self._opened(run, span)
            if blob.index is not None:
                self._chunks(run, blob, blob.index, span, buffer)
                return
            while run.position < run.stop and (count := self._read(run, span, buffer[: run.stop - run.position])):
                self._landed(run, blob.landing.put(run.position, buffer[:count]))
                run.position += count

    def _landed(self, run: _Run, fresh: int) -> None:
        run.fresh += fresh
        if fresh:
            self._progress_at = self._clock()

    def _chunks(self, run: _Run, blob: _Blob, index: ChunkIndex, span: Span, buffer: memoryview) -> None:
        """Take a part chunk by chunk, each compared before it is written."""
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
                self._wrong(blob, index, number, digest)
            run.position = chunk.stop

    def _wrong(self, blob: _Blob, index: ChunkIndex, number: int, actual: bytes) -> None:
        """A chunk is not what a signature vouches for: ask for it once more, then only where it is elsewhere too."""
        elsewhere = self._elsewhere(blob.descriptor)
        with self._lock:
            again = elsewhere or number not in blob.suspects
            blob.suspects.add(number)
            if again:
                blob.parts.give_back(index.extent(number))
                self._alarm.notify()
        if not again:
            expected = f"blake3:{index.digest(number).hex()}"
            raise DigestMismatch(expected, f"blake3:{actual.hex()}", str(self._source))

    def _whole(self, run: _Run, small: _Small, buffer: memoryview) -> None:
        descriptor = small.descriptor
        if self._destination.exists(descriptor):
            self._finish(small, "exists")
            return
        if small.told < 0:
            small.told = 0
            self._on_event(BlobStarted(str(descriptor.digest), title(descriptor), descriptor.size))
        with self._source.fetch_range(descriptor, Extent(0, descriptor.size)) as span:
            self._opened(run, span)
            reader = _Through(lambda into: self._small_block(run, small, span, into), buffer)
            content = VerifyingReader(reader, descriptor.digest, descriptor.size, str(self._source))
            try:
                self._destination.push(descriptor, content)
            except IntegrityError:
                if not self._elsewhere(descriptor):
                    raise
                raise ConnectionLost(
                    f"{self._source} gave other bytes than it named", subject=str(self._source)
                ) from None
        self._finish(small, "copied")

    def _small_block(self, run: _Run, small: _Small, span: Span, into: memoryview) -> int:
        count = self._read(run, span, into)
        run.position += count
        fresh = max(0, run.position - small.told)
        if fresh:
            small.told += fresh
            self._landed(run, fresh)
            self._on_event(BlobProgress(str(small.descriptor.digest), fresh))
        return count

    # -- how a request ends ---------------------------------------------------------------------------------------

    def _ended(self, run: _Run, error: BaseException | None) -> None:
        job = run.job
        if isinstance(job, _Blob) and run.fresh:
            job.landing.keep(Extent(run.start, run.position))
        wait: float | None = 0.0
        with self._lock:
            self._idle += 1
            if run.left:
                return
            now = self._clock()
            self._busy.discard(run)
            job.running.remove(run)
            self._quiet.notify_all()
            if self._stop.is_set():
                return
            if run.fresh:
                job.failures = job.stalls = 0
                self._note_speed(run, now)
            if isinstance(job, _Blob):
                error = self._settled(job, run, error)
            if error is not None:
                wait = self._wait(run, error, now)
            alone = not self._busy
        if error is not None and wait is None:
            self._fail(error)
        elif wait and (alone or wait >= TOLD_S):
            self._on_event(Waiting(str(error), wait))

    def _note_speed(self, run: _Run, now: float) -> None:
        if isinstance(run.job, _Blob) and run.position == run.stop and now > run.asked_at:
            self._speeds.append((run.stop - run.start) / (now - run.asked_at))

    def _settled(self, blob: _Blob, run: _Run, error: BaseException | None) -> BaseException | None:
        """Put back what a request did not bring; return the error if it still matters."""
        if isinstance(error, (RangesUnsupported, UnexpectedAnswer)) and run.start > 0:
            error = self._no_ranges(blob, error)
        lacking = self._ask_again(blob, run)
        if error is None and lacking and not run.fresh:
            host = str(self._source)
            return ConnectionLost(f"{host} ended its answer too early", subject=host)
        for other in blob.running:  # what was asked for twice has come
            if other.span is not None and not blob.landing.missing(Extent(other.position, other.stop)):
                other.span.abort()
        return error if lacking or not _passing(error, moved=True) else None

    def _no_ranges(self, blob: _Blob, error: BaseException) -> BaseException | None:
        """From now on the blob comes whole; what is there of it already is not written again."""
        if blob.single:
            return None
        blob.single = True
        blob.parts.clear()
        blob.parts.give_back(Extent(0, blob.descriptor.size))
        return None

    def _ask_again(self, blob: _Blob, run: _Run) -> bool:
        """Put back the rest of a part, as far as nobody else brings it; return whether there is any."""
        if run.position >= run.stop:
            return False
        if blob.single:
            if blob.parts or any(other.start == 0 and other.stop == blob.descriptor.size for other in blob.running):
                return False
            rest = [Extent(0, blob.descriptor.size)] if blob.landing.missing() else []
        else:
            others = [Extent(other.position, other.stop) for other in blob.running]
            rest = _without(blob.landing.missing(Extent(run.position, run.stop)), others)
            if blob.index is not None:
                rest = list(map(blob.index.aligned, rest))
        for extent in rest:
            blob.parts.give_back(extent)
        if rest:
            self._work.notify()
        return bool(rest)

    def _wait(self, run: _Run, error: BaseException, now: float) -> float | None:
        """Return how long to wait before the next attempt; None when there is none. Called with the lock held."""
        job, asked = run.job, error.retry_after if isinstance(error, RegistryError) else None
        if not job.failures:
            job.failing_since = now
        since = max(self._progress_at, self._pace.paused_until, job.failing_since)
        if not _passing(error, moved=self._received > 0) or (asked or 0) > LONGEST_PAUSE:
            return None
        if now - since > self._tuning.patience:
            return None
        if isinstance(job, _Small):
            self._small.append(job)
        if isinstance(error, RegistryError) and error.status in {429, 503}:
            self._pace.refused(now, run.asked_at, asked)
        wait = 0.0
        if not run.fresh:
            wait = min(LONGEST_WAIT, FIRST_WAIT * (1 << min(job.failures, 10))) * (0.5 + self._tuning.random())
            job.failures += 1
            job.not_before = max(job.not_before, now + wait)
        return max(wait, asked or 0.0)

    def _finish(self, job: _Job, outcome: str) -> None:
        self._done(job.descriptor, outcome)
        with self._lock:
            self._left -= 1
            if not self._left:
                self._alarm.notify()

    # -- a blob ---------------------------------------------------------------------------------------------------

    def _bring(self, blob: _Blob) -> None:
        """Put one blob together, in a thread of its own."""
        outcome = ""
        try:
            with self._destination.assemble(
                blob.descriptor, stopped=self._stop.is_set, on_wait=partial(self._waits, blob)
            ) as assembly:
                if assembly is not None:
                    try:
                        outcome = "copied" if self._assemble(blob, assembly) else ""
                    finally:
                        self._let_go(blob)
                elif not self._stop.is_set():
                    outcome = "exists"
            if outcome:
                self._finish(blob, outcome)
        except BaseException as error:
            self._fail(error)
        finally:
            with self._lock:
                if blob in self._open:
                    self._open.remove(blob)

    def _waits(self, blob: _Blob, text: str) -> None:
        with self._lock:
            blob.waiting = True
            self._alarm.notify()
        self._on_event(Notice(text))

    def _let_go(self, blob: _Blob) -> None:
        """Wait until no connection touches the assembly any more."""
        with self._lock:
            blob.parts.clear()
            self._open.remove(blob)
            for run in list(blob.running):
                if run.span is not None:
                    run.span.abort()
                else:
                    self._leave(run)
            while blob.running:
                self._quiet.wait()

    def _assemble(self, blob: _Blob, assembly: Assembly) -> bool:
        """Fill, fetch and prove a blob, and make it visible; return false when the copy ended before."""
        descriptor, delta = blob.descriptor, self._delta
        if delta is not None:
            delta.fill(descriptor, assembly)
        if delta is not None and delta.vouched(descriptor.digest) and (index := self._index(descriptor)) is not None:
            blob.index = index
            # Whoever brought what is there already need not have compared it.
            for extent in Landing(descriptor, assembly, _nobody).wrong(index):
                assembly.forget(extent)
        landing = Landing(descriptor, assembly, partial(self._progress, descriptor.digest))
        name = str(descriptor.digest)
        self._on_event(BlobStarted(name, title(descriptor), descriptor.size, landing.done, checked=blob.index is None))
        self._ask_for(blob, landing)
        if blob.index is not None:
            whole = self._all_there(landing)
        else:
            whole = self._prove(blob, landing, local=landing.done > 0)
        if whole:
            assembly.publish(hashed=blob.index is None)
        return whole

    def _progress(self, digest: Digest, count: int) -> None:
        self._on_event(BlobProgress(str(digest), count))

    def _ask_for(self, blob: _Blob, landing: Landing) -> None:
        """Let the connections have what lacks."""
        stretches = to_fetch(landing.missing(), blob.descriptor.size, blob.index, self._tuning.part)
        with self._lock:
            blob.assembled = landing
            blob.parts = Parts(stretches, blob.index, self._tuning.part)
            self._hungry = False
            self._work.notify_all()
            self._alarm.notify()

    def _all_there(self, landing: Landing) -> bool:
        """Wait for the last byte; each was compared before it was written."""
        front, size = 0, landing.descriptor.size
        while front < size and not self._stop.is_set():
            front = landing.wait(front)
        return front >= size

    def _index(self, descriptor: Descriptor) -> ChunkIndex | None:
        """Return the chunk index of a blob; asking for it may cost requests, so only whoever needs it does."""
        return _matching(self._delta.index(descriptor.digest), descriptor) if self._delta is not None else None

    def _prove(self, blob: _Blob, landing: Landing, *, local: bool) -> bool:
        """Compare the whole with its digest, mending what can be mended.

        With an index the wrong chunks are found and fetched once more. If that is not it, and if part of the bytes was
        there before (an earlier attempt, a file on this machine), all is fetched once. What the registry itself sent
        from beginning to end, and is wrong, is refused.
        """
        digest, mended, told = blob.descriptor.digest, False, 0
        while True:
            actual, told = self._hash(landing, told)
            if actual is None or actual == digest:
                return actual is not None
            elsewhere = self._elsewhere(blob.descriptor)
            index = self._index(blob.descriptor) if not mended else None
            bad = landing.wrong(index) if index is not None else []
            for extent in bad:
                landing.forget(extent)
            if not bad:
                landing.discard()
                if not (local or elsewhere):
                    raise DigestMismatch(str(digest), str(actual), str(self._source))
                local = False
            mended = True
            self._ask_for(blob, landing)

    def _elsewhere(self, descriptor: Descriptor) -> bool:
        """Say that what came was wrong; return whether the next attempt gets it from another place."""
        return isinstance(self._source, Doubter) and self._source.doubt(descriptor)

    def _hash(self, landing: Landing, told: int) -> tuple[Digest | None, int]:
        """Follow the front; return the digest of the whole, None when the copy ended before, and what was told."""
        digest, size = landing.descriptor.digest, landing.descriptor.size
        state, position, buffer = digest.hasher(), 0, memoryview(bytearray(CHUNK))
        while position < size:
            front = landing.wait(position)
            if self._stop.is_set():
                return None, told
            with self._core():
                until = min(front, position + TURN)
                while position < until and not self._stop.is_set():
                    count = landing.read(position, buffer[: until - position])
                    if not count:
                        raise StoreUnusable(f"{title(landing.descriptor)} was changed while it was downloaded")
                    state.update(buffer[:count])
                    position += count
                    if position > told:
                        self._on_event(BlobChecked(str(digest), position - told))
                        told = position
        return Digest(digest.algorithm, state.hexdigest()), told

    @contextmanager
    def _core(self) -> Iterator[None]:
        """Hold one of the cores on which blobs are hashed."""
        with self._lock:
            while not self._free_cores and not self._stop.is_set():
                self._cores.wait()
            self._free_cores -= 1
        try:
            yield
        finally:
            with self._lock:
                self._free_cores += 1
                self._cores.notify()


class _Through:
    """What is read block by block from a span, as the stream that a place takes."""

    def __init__(self, into: Callable[[memoryview], int], buffer: memoryview) -> None:
        self._into = into
        self._buffer = buffer

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._buffer if size < 0 else self._buffer[:size]
        return bytes(wanted[: self._into(wanted)])


def _grown(buffer: memoryview, index: ChunkIndex) -> memoryview:
    """Return a buffer that holds the largest chunk (``spec.chunks.MAX_CHUNK`` at most)."""
    largest = max(right - left for left, right in pairwise(index.bounds))
    return buffer if len(buffer) >= largest else memoryview(bytearray(largest))


def _matching(index: ChunkIndex | None, descriptor: Descriptor) -> ChunkIndex | None:
    """Return ``index`` when it is about this blob, else None: it would only lead astray."""
    fits = index is not None and index.blob == descriptor.digest and index.size == descriptor.size and len(index) > 0
    return index if fits else None


def _nobody(count: int) -> None:
    """Tell nobody."""


def _without(extents: list[Extent], others: list[Extent]) -> list[Extent]:
    rest = Extents(extents)
    for other in others:
        rest.remove(other)
    return list(rest)


def _passing(error: BaseException | None, *, moved: bool) -> bool:
    """Return whether another attempt may go better.

    Args:
        error: What came of this one.
        moved: Whether bytes have come already: then the registry was there, and may come back from a restart.
    """
    if isinstance(error, RegistryError):
        return isinstance(error, ServerFailed) or error.status in {408, 429}
    if moved and type(error) in {TransportError, ConnectionRefused, HostUnknown}:
        return True
    return error is None or isinstance(error, (ConnectionLost, TimedOut))
