"""How many connections may be open now: found by measuring, never configured (``jobs`` is only the ceiling).

Pure: what was measured and when it was comes as arguments; nothing here reads a clock or waits.

The rules are those of congestion control (RFC 5681, 3.1), with connections in the place of segments:

- *Start*: begin with few and double while doubling pays.
- *Hold*: then change seldom. From time to time try more, or fewer, and keep what is better; each trial that failed
  makes the time until the next one longer, so that trials cost little.
- *Cut*: a registry that says 429 or 503 gets half as many. What was asked before the cut and is refused after it
  belongs to the same cut. From there the number grows by one at a time, and waits long below where it was refused.
- Where bytes come faster than they are hashed, half as many do, and more are tried again later.
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
SETTLED_TRIAL_WAIT = 8.0
"""Seconds until the first trial with fewer where every doubling has paid."""
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
        self._before = (self.limit, 0.0)  # connections and throughput that a trial is compared with
        self._usual = 0.0
        self._low = 0
        self._trial_at = float("inf")
        self._trial_wait = SHORTEST_TRIAL_WAIT
        self._next_trial = _Mode.FEWER
        self._cut_at = float("-inf")
        self._refused_at: int | None = None  # connections that were too many: from then on grow by one

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
        self._refused_at = self.limit
        self._set(max(1, self.limit // 2))
        self._usual = 0.0
        self._next_trial = _Mode.MORE
        self._rest(now, SHORTEST_TRIAL_WAIT)

    def outran(self, now: float, least: int) -> None:
        """Take note that bytes come faster than they are hashed: fewer connections cost less and lose nothing.

        Args:
            now: Seconds.
            least: Connections that are wanted all the same, one for each blob that is hashed.
        """
        if self.limit > max(1, least):
            self._set(max(1, least, self.limit // 2))
            self._usual = 0.0
        self._next_trial = _Mode.MORE
        self._rest(now, SHORTEST_TRIAL_WAIT)

    def _judge(self, now: float, rate: float) -> None:
        """Compare a trial, or a step of the start, with what was before it."""
        limit, before = self._before
        if self._mode is _Mode.START:
            if rate > before * GAIN and self.limit < self.cap:
                self._before = (self.limit, rate)
                self._set(min(self.cap, self.limit * 2))
                return
            kept = rate > before * GAIN
            wait = SETTLED_TRIAL_WAIT if kept else SHORTEST_TRIAL_WAIT
        else:
            kept = rate > before * (GAIN if self._mode is _Mode.MORE else KEEP)
            wait = SHORTEST_TRIAL_WAIT if kept else min(LONGEST_TRIAL_WAIT, self._trial_wait * 2)
        if not kept:
            self._set(limit)
        self._usual = rate if kept else before
        self._next_trial = self._following(kept)
        self._rest(now, wait)

    def _following(self, kept: bool) -> _Mode:
        """Return the direction of the next trial: the same while it pays, else the other.

        A registry that has refused has said by itself where it is enough: fewer are not tried.
        """
        if self._refused_at is not None:
            return _Mode.MORE
        if self._mode is _Mode.START or (self._mode is _Mode.MORE) != kept:
            return _Mode.FEWER
        return _Mode.MORE

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
            if self._refused_at is not None:
                return
            self._next_trial = _Mode.FEWER
        if self.cap > 1:
            self._try(self._next_trial)

    def _try(self, direction: _Mode) -> None:
        self._before = (self.limit, self._usual)
        step = 1 if self._refused_at is not None else max(1, self.limit // 2)
        self._set(min(self.cap, self.limit + step) if direction is _Mode.MORE else max(1, self.limit // 2))
        self._mode = direction
        self._low = 0

    def _set(self, limit: int) -> None:
        self._skip = self._skip or limit != self.limit
        self.limit = limit
        self._seen.clear()

    def _rest(self, now: float, wait: float) -> None:
        """Hold for ``wait`` seconds, longer right below where the registry has refused."""
        self._mode = _Mode.HOLD
        self._seen.clear()
        self._low = 0
        if self._refused_at is not None and self.limit > self._refused_at:
            self._refused_at = self.limit  # it takes more by now
        near = self._refused_at is not None and self.limit + 1 == self._refused_at
        self._trial_wait = LONGEST_TRIAL_WAIT if near else wait
        self._trial_at = now + self._trial_wait
