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
HASTY = 0.4
"""The same while the number of connections is still on its way: a throughput of 0.1 s tells enough for a step that
the next one corrects."""
HASTY_LOOK = 0.2
"""Share of a tick between two looks then."""
SETTLING = 4
"""Ticks after which new connections are measured although some of them were never answered."""


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
        self._looked_at = self._window_at = self._grown_at = self._tuning.clock()
        self._window_bytes = self._hashed = 0
        self._waited = False
        self._number = 0  # connections that the window is about
        self._served: set[threading.Thread | None] | None = set()  # of these; None when all were

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
                    schedule.alarm.wait(self._tuning.tick * (HASTY_LOOK if schedule.pace.hasty else 1))
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
        if now - self._looked_at >= self._tuning.tick * WINDOW:
            schedule.speeds.measure(schedule.busy, now - self._looked_at)
            self._looked_at = now
            self._give_up_stalled(now)
        if not self._settled(now):
            self._restart(now)
        elif now - self._window_at >= self._tuning.tick * (HASTY if schedule.pace.hasty else WINDOW):
            self._measure(now)
        opening = sum(blob.assembled is None and not blob.waiting for blob in schedule.open)
        if schedule.hungry and not opening:
            schedule.hungry = False
            self._open_next()
        schedule.wake()
        for _ in range(schedule.wanted()):
            schedule.idle += 1  # until it takes something
            self._start(schedule.connections, self._connection().work)

    def _settled(self, now: float) -> bool:
        """Return whether as many connections as may work have been answered since their number grew.

        What new ones bring cannot be told before: on a long way that takes longer than a measurement.
        """
        schedule, pace = self.schedule, self.schedule.pace
        if pace.limit > self._number:
            self._grown_at, self._served = now, set()
        self._number = pace.limit
        if self._served is None:
            return True
        self._served.update(run.thread for run in schedule.busy if run.span is not None)
        pace.waited(max((now - run.asked_at for run in schedule.busy if run.span is None), default=0.0))
        if len(self._served) < pace.limit and now - self._grown_at < SETTLING * self._tuning.tick:
            return False
        self._served = None
        return False

    def _restart(self, now: float) -> None:
        """Begin a measurement anew."""
        self._window_at, self._window_bytes = now, self.schedule.received
        self.schedule.slack = False
        self._hashing.look()
        self._hashed, self._waited = 0, False

    def _measure(self, now: float) -> None:
        schedule, seconds = self.schedule, now - self._window_at
        received = schedule.received - self._window_bytes
        hashed, waited = self._hashing.look()
        self._hashed, self._waited = self._hashed + hashed, self._waited or waited
        hashed = self._hashed
        if not self._waited and 0 < hashed <= received:
            if seconds < self._tuning.tick * WINDOW:
                return  # it hashes in larger steps than bytes come: a hasty look is too short to tell
            if len(schedule.busy) <= schedule.pace.limit:  # those of before a cut still bring what they were asked for
                schedule.pace.outran(now, min(self._tuning.hashers, len(schedule.open)), hashed / received)
        elif not schedule.slack and len(schedule.busy) >= schedule.pace.limit:
            schedule.pace.measured(now, received / seconds)
        schedule.slack = False
        self._window_at, self._window_bytes = now, schedule.received
        self._hashed, self._waited = 0, False

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
