"""How many connections may be open now: found by measuring, never configured (``jobs`` is only the ceiling).

Pure: what was measured and when it was comes as arguments; nothing here reads a clock or waits.

The rules are those of congestion control (RFC 5681, 3.1), with connections in the place of segments:

- *Start*: begin with few and double while doubling pays.
- *Hold*: then change seldom. From time to time try more, or fewer, and keep what is better; each trial that failed
  makes the time until the next one longer, so that trials cost little.
- *Cut*: a registry that says 429 or 503 gets half as many. What was asked before the cut and is refused after it
  belongs to the same cut. From there the number grows by one at a time.
- Throughput that falls clearly without such a word is a reason to try half as many; if that does not help, the number
  comes back: a slow link is no reason to open fewer connections.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["FIRST", "Pace"]

FIRST = 4
"""Connections to begin with: what browsers and container clients open to one host without a second thought."""

GAIN = 1.05
"""How much better more connections must be to be kept."""
KEEP = 0.97
"""How much of the throughput fewer connections must reach to be kept: fewer cost less on both sides."""
FALL = 0.6
"""Share of the usual throughput below which it has fallen clearly."""
WINDOWS = 2
"""Measurements that decide; the one right after a change is not among them (connections are still being made)."""
SHORTEST_TRIAL_WAIT = 2.0
LONGEST_TRIAL_WAIT = 30.0
"""Seconds between trials: doubled by each that failed."""
SMOOTHING = 0.3
"""Weight of the newest measurement in the usual throughput."""
LONGEST_PAUSE = 600.0
"""Seconds that a registry can ask us to wait; who asks for more has refused."""


class _Mode(Enum):
    START = "start"
    HOLD = "hold"
    MORE = "more"
    FEWER = "fewer"


class Pace:
    """Finds the number of connections of one copy. Not thread-safe: its owner has a lock.

    Args:
        cap: Most connections, at least 1.

    Attributes:
        limit: Connections that may be open now, from 1 to ``cap``.
        paused_until: Time before which nothing new should be asked.
    """

    def __init__(self, cap: int) -> None:
        self.cap = max(1, cap)
        self.limit = min(FIRST, self.cap)
        self.paused_until = float("-inf")
        self._mode = _Mode.START
        self._seen: list[float] = []
        self._skip = True
        self._before = (0, 0.0)  # connections and throughput that a trial is compared with
        self._usual = 0.0
        self._low = 0
        self._trial_at = float("inf")
        self._trial_wait = SHORTEST_TRIAL_WAIT
        self._next_trial = _Mode.FEWER
        self._cut_at = float("-inf")
        self._careful = False  # the registry has said that there is a ceiling: grow by one

    def measured(self, now: float, rate: float) -> None:
        """Take note of the throughput of one window in which all ``limit`` connections had work.

        Args:
            now: Seconds.
            rate: Bytes a second of all connections together.
        """
        if self._skip:
            self._skip = False
            return
        self._seen.append(rate)
        if self._mode is _Mode.HOLD:
            self._hold(now, rate)
        elif len(self._seen) >= (1 if self._mode is _Mode.START else WINDOWS):
            self._judge(now, sum(self._seen) / len(self._seen))

    def refused(self, now: float, asked_at: float, retry_after: float | None = None) -> None:
        """Take note of a 429 or 503.

        Args:
            now: Seconds.
            asked_at: When that request was begun; before the last cut, it changes nothing.
            retry_after: Seconds that the registry asks to wait, or None.
        """
        if retry_after:
            self.paused_until = max(self.paused_until, now + min(retry_after, LONGEST_PAUSE))
        if asked_at < self._cut_at:
            return
        self._cut_at = now
        self._careful = True
        self._set(max(1, self.limit // 2))
        self._rest(now, failed=False)
        self._next_trial = _Mode.MORE

    def _judge(self, now: float, rate: float) -> None:
        """Compare a trial, or a step of the start, with what was before it."""
        limit, before = self._before
        if self._mode is _Mode.START:
            if rate > before * GAIN and self.limit < self.cap:
                self._before = (self.limit, rate)
                self._set(min(self.cap, self.limit * 2))
                return
            kept = rate > before * GAIN
        else:
            kept = rate > before * (GAIN if self._mode is _Mode.MORE else KEEP)
        if not kept:
            self._set(limit)
        self._usual = rate if kept else before
        self._next_trial = self._mode if kept and self._mode is not _Mode.START else self._other()
        self._rest(now, failed=not kept and self._mode is not _Mode.START)

    def _other(self) -> _Mode:
        """Return the direction of the next trial: fewer after the start and after more, more after fewer."""
        return _Mode.MORE if self._mode is _Mode.FEWER else _Mode.FEWER

    def _hold(self, now: float, rate: float) -> None:
        self._seen.clear()
        self._low = self._low + 1 if rate < self._usual * FALL else 0
        if self._low >= WINDOWS and self.limit > 1:
            self._usual = rate
            self._try(_Mode.FEWER)
            return
        self._usual = rate if not self._usual else self._usual + SMOOTHING * (rate - self._usual)
        if now < self._trial_at:
            return
        if self._next_trial is _Mode.FEWER and self.limit == 1:
            self._next_trial = _Mode.MORE
        if self._next_trial is _Mode.MORE and self.limit == self.cap:
            self._next_trial = _Mode.FEWER
        if self.cap > 1:
            self._try(self._next_trial)

    def _try(self, direction: _Mode) -> None:
        self._before = (self.limit, self._usual)
        step = 1 if self._careful else max(1, self.limit // 2)
        self._set(min(self.cap, self.limit + step) if direction is _Mode.MORE else max(1, self.limit // 2))
        self._mode = direction
        self._low = 0

    def _set(self, limit: int) -> None:
        self._skip = self._skip or limit != self.limit
        self.limit = limit
        self._seen.clear()

    def _rest(self, now: float, *, failed: bool) -> None:
        self._mode = _Mode.HOLD
        self._seen.clear()
        self._low = 0
        self._trial_wait = min(LONGEST_TRIAL_WAIT, self._trial_wait * 2) if failed else SHORTEST_TRIAL_WAIT
        self._trial_at = now + self._trial_wait
