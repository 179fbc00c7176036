"""The threads of a download: how many there are, when they are given up, and how all of them end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

from ...events import Listener
from ...spec.descriptor import Descriptor
from ...store.protocol import RangeFetcher
from ..delta import Delta
from ..rate import Rate
from .bringer import Bringer
from .connection import Connection
from .hashing import Hashing
from .outcomes import Outcomes
from .places import Cancelled, Places, Store
from .schedule import Schedule
from .tuning import Tuning

__all__ = ["Download"]

JOIN_S = 2.0
"""Seconds given to threads to end by themselves; those that have no head of an answer yet are left behind: they may be
where nothing cuts them, and write nothing when it comes."""
WINDOW = 0.8
"""Share of a tick from which a measurement counts: a look may come earlier, when somebody rings."""


class Download:
    """Brings blobs from a registry into a store. For one use.

    Args:
        source: Where they are.
        destination: Where they go.
        jobs: Most connections.
        on_event: Told what happens, from several threads.
        done: Told of each blob that is there, and how: ``copied`` or ``exists``.
        delta: Chunk indexes, and what is on this machine already.
        limit: A ceiling on bytes a second.
        tuning: See there.

    Attributes:
        schedule: What is still to be done, and by whom.
    """

    def __init__(
        self,
        source: RangeFetcher,
        destination: Store,
        *,
        jobs: int,
        on_event: Listener,
        done: Callable[[Descriptor, str], None],
        delta: Delta | None = None,
        limit: Rate | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        places = Places(source, destination, on_event, done, delta, limit)
        self._places = places
        self._tuning = tuning or Tuning()
        self.schedule = Schedule(self._tuning, jobs)
        hashing = Hashing(self._tuning.hashers, self.schedule.stopped.is_set, on_event)
        self._hashing = hashing
        self._bringer = Bringer(places, self.schedule, hashing)
        self._connection = partial(Connection, places, self.schedule, Outcomes(places, self.schedule))
        self._bringers: list[threading.Thread] = []
        self._window_at, self._window_bytes = self._tuning.clock(), 0

    @property
    def received(self) -> int:
        """Bytes that came over the network, those that came twice twice."""
        return self.schedule.received

    def run(self, blobs: Sequence[Descriptor]) -> None:
        """Bring ``blobs``, each named once.

        Raises:
            InstallMLError: The first failure that another attempt cannot mend; everything has stopped, and what
                arrived is kept for another time.
        """
        lacking = []
        for blob in blobs:
            if self._places.destination.exists(blob):
                self._places.done(blob, "exists")
            else:
                lacking.append(blob)
        self.schedule.add(lacking)
        if lacking:
            self._bring_all()

    def _bring_all(self) -> None:
        schedule = self.schedule
        try:
            with schedule.lock:
                for _ in range(self._tuning.hashers):
                    self._open_next()
                while schedule.left and not schedule.stopped.is_set():
                    self._look()
                    schedule.alarm.wait(self._tuning.tick)
        except BaseException as error:  # Ctrl-C
            schedule.fail(error)
        finally:
            self._close()
        if schedule.errors:
            raise schedule.errors[0]
        if schedule.left:
            raise Cancelled("stopped")

    def _close(self) -> None:
        """Wait for the threads, but for those that may be where nothing wakes them."""
        schedule = self.schedule
        schedule.fail(None)
        for thread in self._bringers:  # their assemblies must be left in order
            if thread.ident is not None:
                thread.join()
        with schedule.lock:
            stuck = {run.thread for run in schedule.busy if run.span is None}
        for thread in schedule.connections:
            if thread not in stuck and thread.ident is not None:  # interrupted between its making and its start
                thread.join(JOIN_S)

    # -- one look at everything; with the lock held ---------------------------------------------------------------

    def _look(self) -> None:
        """Measure, give up what stands still, and let more threads work where there is work."""
        schedule, now = self.schedule, self._tuning.clock()
        if now - self._window_at >= self._tuning.tick * WINDOW:
            self._measure(now)
            self._give_up_stalled(now)
        opening = sum(blob.assembled is None and not blob.waiting for blob in schedule.open)
        if schedule.hungry and not opening:
            schedule.hungry = False
            self._open_next()
        schedule.wake()
        for _ in range(schedule.wanted()):
            schedule.idle += 1  # until it takes something
            self._start(schedule.connections, self._connection().work)

    def _measure(self, now: float) -> None:
        schedule, seconds = self.schedule, now - self._window_at
        schedule.speeds.measure(schedule.busy, seconds)
        received = schedule.received - self._window_bytes
        hashed, waited = self._hashing.look()
        if not waited and 0 < hashed <= received:
            schedule.pace.outran(now, min(self._tuning.hashers, len(schedule.open)))
        elif not schedule.slack and len(schedule.busy) >= schedule.pace.limit:
            schedule.pace.measured(now, received / seconds)
        schedule.slack = False
        self._window_at, self._window_bytes = now, schedule.received

    def _give_up_stalled(self, now: float) -> None:
        """Cut connections on which nothing comes any more; their parts go to others."""
        flowing = any(run.rate > 0 for run in self.schedule.busy)
        for run in list(self.schedule.busy):
            patient = self._tuning.stall * (1 if flowing and run.span is not None else 4) * (1 << run.job.stalls)
            if now - run.quiet_since < patient:
                continue
            run.job.stalls += 1
            run.quiet_since = float("inf")
            if run.span is None:
                self.schedule.leave(run, late=True)
            else:
                run.abort()

    def _open_next(self) -> None:
        blob = self.schedule.open_next()
        if blob is not None:
            self._start(self._bringers, partial(self._bringer.bring, blob))

    def _start(self, threads: list[threading.Thread], target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="download", daemon=True)
        threads.append(thread)
        thread.start()
