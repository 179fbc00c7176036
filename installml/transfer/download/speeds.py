"""How fast connections are, and which of them is much slower than the others. Pure: times come as arguments."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .work import Blob, Run

__all__ = ["Speeds"]

SLOW = 0.1
"""Share of the usual speed of a connection below which a last part is asked for a second time."""
REMEMBERED = 32
"""Finished parts whose speed tells what is usual."""


class Speeds:
    """Remembers how fast parts came. Not thread-safe."""

    def __init__(self) -> None:
        self._finished: deque[float] = deque(maxlen=REMEMBERED)

    @property
    def usual(self) -> float:
        """Bytes a second of one connection, the median of the last finished parts; 0 before the first."""
        return sorted(self._finished)[len(self._finished) // 2] if self._finished else 0.0

    def ended(self, run: Run, now: float) -> None:
        """Take note of a request that has ended; only whole parts tell what is usual."""
        if isinstance(run.job, Blob) and run.position == run.stop and now > run.asked_at:
            self._finished.append((run.stop - run.start) / (now - run.asked_at))

    def measure(self, runs: Iterable[Run], seconds: float) -> None:
        """Note how fast requests were since the last look, ``seconds`` ago."""
        for run in runs:
            rate = (run.position - run.mark) / seconds
            run.rate, run.mark = (run.rate + rate) / 2 if run.rate else rate, run.position

    def laggard(self, runs: Iterable[Run], now: float, least: float) -> Run | None:
        """Return the slowest part whose rest is worth a second request.

        Args:
            runs: What is under way.
            now: Seconds.
            least: Seconds that a request is given before it is judged.
        """
        limit = self.usual * SLOW
        slow = [
            run
            for run in runs
            if isinstance(run.job, Blob)
            and not (run.twin or run.job.single)
            and run.job.not_before <= now
            and now - run.asked_at >= least
            and run.rate < limit
            and run.position < run.stop
        ]
        return min(slow, key=lambda run: run.rate, default=None)
