"""Which request is next, and who works on what: all that the threads of one download share, under one lock."""

from __future__ import annotations

import threading
from bisect import insort
from collections import deque
from collections.abc import Sequence

from ...spec.descriptor import Descriptor
from ...spec.extents import Extent, Extents
from ..landing import Landing
from ..pace import Pace
from ..parts import SMALLEST, Parts, to_fetch
from .places import Cancelled
from .speeds import Speeds
from .tuning import Tuning
from .work import Blob, Run, Small

__all__ = ["Schedule"]

MAX_OPEN = 32
"""Large blobs that are open at once; hashing them is what is behind then, and downloading waits for it."""
OLD = 4
"""Ticks that a request is given before it counts as slow."""


class Schedule:
    """What of a download is still to be asked for, and what is under way.

    Args:
        tuning: See there.
        jobs: Most connections.

    Attributes:
        tuning: As given.
        lock: Held for every look at the rest, but for ``stopped``.
        alarm: Rung when the caller's thread has something to decide.
        stopped: All is over: done, failed or interrupted.
        pace: How many connections may work.
        speeds: How fast they are.
        open: Large blobs that somebody puts together.
        busy: Requests that are under way.
        small: Small blobs that nobody has asked for.
        connections: Threads that take parts; without those that were left behind.
        idle: How many of them have nothing to do.
        begun: Requests that have begun.
        left: Blobs that are not there yet.
        hungry: There may be connections without work: another blob should be opened.
        slack: One of them found nothing to do: throughput says nothing about their number.
        received: Bytes that came over the network, those that came twice twice.
        progress_at: When the last new one came.
        errors: What went wrong, the first one first.
    """

    def __init__(self, tuning: Tuning, jobs: int) -> None:
        self.tuning = tuning
        self.lock = threading.Lock()
        self.alarm = threading.Condition(self.lock)
        self._work = threading.Condition(self.lock)  # connections wait for something to do
        self._quiet = threading.Condition(self.lock)  # blobs wait for their connections to let go
        self.stopped = threading.Event()
        self.pace = Pace(jobs)
        self.speeds = Speeds()
        self.open: list[Blob] = []
        self.busy: set[Run] = set()
        self.small: deque[Small] = deque()
        self._unopened: deque[Blob] = deque()
        self.connections: list[threading.Thread] = []
        self.idle = self.begun = 0
        self.left = 0
        self.hungry = False
        self.slack = True
        self.received = 0
        self.progress_at = self._began_at = tuning.clock()
        self.errors: list[BaseException] = []

    # -- from beginning to end ------------------------------------------------------------------------------------

    def add(self, blobs: Sequence[Descriptor]) -> None:
        """Take blobs in, each once."""
        for order, blob in enumerate(sorted(blobs, key=lambda blob: -blob.size)):  # the longest must not be the last
            if blob.size <= self.tuning.small:
                self.small.append(Small(blob, order))
            else:
                self._unopened.append(Blob(blob, order))
        self.left = len(blobs)

    def finish(self) -> None:
        """Take note of a blob that is there."""
        with self.lock:
            self.left -= 1
            if not self.left:
                self.alarm.notify()

    def fail(self, error: BaseException | None) -> None:
        """Stop everything, because of ``error`` or because all is done."""
        with self.lock:
            if error is not None and not (isinstance(error, Cancelled) and self.stopped.is_set()):
                self.errors.append(error)
            self.stopped.set()
            for run in self.busy:
                run.abort()
            for blob in self.open:
                if blob.assembled is not None:
                    blob.assembled.end()
            for condition in (self._work, self.alarm, self._quiet):
                condition.notify_all()

    # -- blobs ------------------------------------------------------------------------------------------------------

    def open_next(self) -> Blob | None:
        """Return a blob that somebody should put together now. With the lock held."""
        if not self._unopened or len(self.open) >= MAX_OPEN:
            return None
        blob = self._unopened.popleft()
        insort(self.open, blob, key=lambda other: other.order)
        return blob

    def close(self, blob: Blob) -> None:
        """Take a blob for put together, or given up."""
        with self.lock:
            if blob in self.open:
                self.open.remove(blob)

    def offer(self, blob: Blob, landing: Landing) -> None:
        """Let the connections have what lacks of a blob."""
        part = self.tuning.part
        stretches = to_fetch(landing.missing(), blob.descriptor.size, blob.index, part)
        with self.lock:
            blob.assembled = landing
            blob.parts = Parts(stretches, blob.index, part)
            self.hungry = False
            self._work.notify_all()
            self.alarm.notify()

    def give_back(self, blob: Blob, extent: Extent) -> None:
        """Let somebody ask for ``extent`` once more. With the lock held."""
        blob.parts.give_back(extent)
        self.alarm.notify()

    def wait_for(self, blob: Blob) -> None:
        """Note that another process puts a blob together: this one needs no connection, and others may be opened."""
        with self.lock:
            blob.waiting = True
            self.alarm.notify()

    def recall(self, blob: Blob) -> None:
        """Cut what is under way for a blob, and wait until no connection touches its assembly any more."""
        with self.lock:
            for run in list(blob.running):
                if run.span is None:
                    self.leave(run)
                else:
                    run.abort()
            while blob.running:
                self._quiet.wait()

    def let_go(self, blob: Blob) -> None:
        """Ask for nothing of a blob any more."""
        with self.lock:
            blob.parts.clear()
            self.open.remove(blob)
        self.recall(blob)

    # -- connections; with the lock held but for ``take`` ---------------------------------------------------------

    def take(self) -> Run | None:
        """Wait for something to do and return it; None when all is over."""
        with self.lock:
            while not self.stopped.is_set():
                run = self._next()
                if run is not None:
                    self.idle -= 1
                    self.begun += 1
                    run.number = self.begun
                    run.thread = threading.current_thread()
                    run.job.running.append(run)
                    self.busy.add(run)
                    return run
                self._work.wait()
        return None

    def wake(self) -> None:
        """Let connections look again: time has passed."""
        if self.idle:
            self._work.notify_all()

    def wanted(self) -> int:
        """Return how many more connections are allowed and would find something to do; at least that many."""
        parts = sum(-(-blob.parts.size // (self.tuning.part or SMALLEST)) for blob in self.open)
        waiting = parts + len(self.small) + (1 if self.busy else 0)
        return min(self.pace.limit - len(self.busy) - self.idle, waiting)

    def end(self, run: Run) -> None:
        """Take a request off the list."""
        self.busy.discard(run)
        run.job.running.remove(run)
        self._quiet.notify_all()

    def leave(self, run: Run, *, late: bool = False) -> None:
        """Go on without a connection that waits for the head of an answer; what comes of it does not count.

        It is cut, but may be where nothing cuts it: looking up a name, making a connection.

        Args:
            run: The request.
            late: Because the answer is late, not because nobody wants it any more.
        """
        run.left = True
        run.line.cut(late=late)
        self.end(run)
        if run.thread in self.connections:  # not when it was left behind before, and has come back
            self.connections.remove(run.thread)
        if isinstance(run.job, Small):
            self.small.append(run.job)
        elif isinstance(run.job, Blob):
            self.ask_again(run.job, run)

    def ask_again(self, blob: Blob, run: Run) -> bool:
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

    # -- which part is next ---------------------------------------------------------------------------------------

    def _next(self) -> Run | None:
        """Return what to ask for next; None when there is nothing, or no connection to spare."""
        now = self.tuning.clock()
        if len(self.busy) >= self.pace.room(now):
            return None
        run = self._part(now)
        if run is not None:
            return run
        if self._unopened and not self.hungry:
            self.hungry = True
            self.alarm.notify()
        run = self._whole(now)
        if run is not None:
            return run
        self.slack = True
        return self._second(now)

    def _part(self, now: float) -> Run | None:
        """Return the next part of one of the first blobs, of the one that has the fewest connections."""
        ready = [blob for blob in self.open if blob.parts and blob.not_before <= now]
        if not ready:
            return None
        blob = min(ready[: self.tuning.hashers], key=lambda blob: len(blob.running))
        if not blob.single:
            return Run(blob, *blob.parts.take(self.speeds.usual, self.pace.cap), now)
        blob.parts.clear()
        return Run(blob, 0, blob.descriptor.size, now)

    def _opening(self, now: float) -> bool:
        """Return whether the first large blob is about to be there: the connection that is open already is for it."""
        soon = any(blob.assembled is None and not blob.waiting for blob in self.open)
        return soon and not self.begun and now - self._began_at < self.tuning.tick

    def _whole(self, now: float) -> Run | None:
        """Return the next small blob."""
        if self._opening(now):
            return None
        for _ in range(len(self.small)):
            small = self.small.popleft()
            if small.not_before <= now:
                return Run(small, 0, small.descriptor.size, now)
            self.small.append(small)
        return None

    def _second(self, now: float) -> Run | None:
        """Return a second request for the rest of the slowest part, when it is much slower than the others."""
        slowest = self.speeds.laggard(self.busy, now, OLD * self.tuning.tick)
        if slowest is None:
            return None
        slowest.twin = True
        return Run(slowest.job, slowest.position, slowest.stop, now, twin=True)


def _without(extents: list[Extent], others: list[Extent]) -> list[Extent]:
    rest = Extents(extents)
    for other in others:
        rest.remove(other)
    return list(rest)
