"""How a request ends: what of it counts, what is asked for again, when, and when no other attempt would help."""

from __future__ import annotations

from ...events import Waiting
from ...registry.errors import (
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
from ...spec.extents import Extent
from ..pace import LONGEST_PAUSE
from .places import Places
from .schedule import Schedule
from .work import Blob, Run, Small

__all__ = ["Outcomes"]

FIRST_WAIT = 0.25
LONGEST_WAIT = 30.0
"""Seconds before something is asked for again, doubled by each failure in a row, times a random 0.5 to 1.5."""
TOLD_S = 1.0
"""Seconds of waiting that people are told about even when other connections go on."""


class Outcomes:
    """Decides what follows from the end of a request.

    Args:
        places: What was asked.
        schedule: What is to be done.
    """

    def __init__(self, places: Places, schedule: Schedule) -> None:
        self._places = places
        self._schedule = schedule
        self._tuning = schedule.tuning

    def ended(self, run: Run, error: BaseException | None) -> None:
        """Deal with a request that has ended, with ``error`` or all right."""
        job, schedule = run.job, self._schedule
        try:
            if isinstance(job, Blob) and run.fresh:
                job.landing.keep(Extent(run.start, run.position))
        except BaseException as failed:  # a full disk; the request has ended all the same
            error = failed
        wait: float | None = 0.0
        with schedule.lock:
            schedule.idle += 1
            if run.left:
                return
            now = self._tuning.clock()
            schedule.end(run)
            if schedule.stopped.is_set():
                return
            if run.fresh:
                job.failures = job.stalls = 0
                schedule.speeds.ended(run, now)
            if isinstance(job, Blob):
                error = self._settled(job, run, error)
            if error is not None:
                wait = self._wait(run, error, now)
            alone = not schedule.busy
        if error is not None and wait is None:
            schedule.fail(error)
        elif wait and (alone or wait >= TOLD_S):
            self._places.on_event(Waiting(str(error), wait))

    def _settled(self, blob: Blob, run: Run, error: BaseException | None) -> BaseException | None:
        """Put back what a request did not bring; return the error if it still matters."""
        if isinstance(error, (RangesUnsupported, UnexpectedAnswer)) and run.start > 0:
            error = None
            if not blob.single:
                _comes_whole(blob)
        lacking = self._schedule.ask_again(blob, run)
        if error is None and lacking and not run.fresh:
            host = self._places.origin
            return ConnectionLost(f"{host} ended its answer too early", subject=host)
        for other in blob.running:  # what was asked for twice has come
            if other.span is not None and not blob.landing.missing(Extent(other.position, other.stop)):
                other.abort()
        return error if lacking or not _passing(error, moved=True) else None

    def _wait(self, run: Run, error: BaseException, now: float) -> float | None:
        """Return how long to wait before the next attempt; None when there is none. With the lock held."""
        job, pace = run.job, self._schedule.pace
        asked = error.retry_after if isinstance(error, RegistryError) else None
        if not job.failures:
            job.failing_since = now
        since = max(self._schedule.progress_at, pace.paused_until, job.failing_since)
        if not _passing(error, moved=self._schedule.received > 0) or (asked or 0) > LONGEST_PAUSE:
            return None
        if now - since > self._tuning.patience:
            return None
        if isinstance(job, Small):
            self._schedule.small.append(job)
        wait = 0.0
        if not run.fresh:
            wait = min(LONGEST_WAIT, FIRST_WAIT * (1 << min(job.failures, 10))) * (0.5 + self._tuning.random())
        if isinstance(error, RegistryError) and error.status in {429, 503}:
            served = sum(other.span is not None for other in self._schedule.busy)
            pace.refused(now, run.asked_at, max(wait, asked or 0.0) if served else asked, served)
            if served and isinstance(job, Blob):
                return asked or 0.0  # its other parts go on
        if not run.fresh:
            job.failures += 1
            job.not_before = max(job.not_before, now + wait)
        return max(wait, asked or 0.0)


def _comes_whole(blob: Blob) -> None:
    """From now on the blob comes whole; what is there of it already is not written again."""
    blob.single = True
    blob.parts.clear()
    blob.parts.give_back(Extent(0, blob.descriptor.size))


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
