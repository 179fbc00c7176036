"""How many connections may be open now: found by measuring, never configured (``jobs`` is only the ceiling).

Pure: what was measured and when it was comes as arguments; nothing here reads a clock or waits.

The rules are those of congestion control (RFC 5681, 3.1), with connections in the place of segments:

- *Start*: begin with few, with some more where answers take long to come, and double while that pays almost in full;
  measurements are short, so that all of it takes a part of a second.
- *Hold*: then change seldom. From time to time try more, or fewer, and keep what is better; each trial that failed
  makes the time until the next one longer, so that trials cost little.
- *Cut*: a registry that says 429 or 503 gets half as many. What was asked before the cut and is refused after it
  belongs to the same cut. From there the number grows by one at a time, and waits long below where it was refused.
- *Wait*: when it asks for time, nothing is asked until then; but where it refuses some and goes on serving others,
  those others go on, one request for each that ends: it has said "no more", not "stop". Refusing one of them too is
  the word to stop.
- Where bytes come faster than they are hashed, fewer do, and more are tried again as soon as hashing keeps up.
- Throughput that falls clearly without such a word is a reason to try half as many; if that does not help, the number
  comes back: a slow link is no reason to open fewer connections.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["FIRST", "Pace"]

FIRST = 4
"""Connections to begin with: what browsers and container clients open to one host without a second thought."""
FIRST_FAR = 8
FAR = 0.07
"""Seconds that a first answer lets wait from which more are opened at once: measuring first would take as long again,
and a connection brings the less the longer the way is (window over round trip)."""

GAIN = 1.05
"""How much better more connections must be to be kept."""
STEEP = 1.3
"""How much better twice as many must be to double again: less says that the bound is near."""
KEEP = 0.97
"""How much of the throughput fewer connections must reach to be kept: fewer cost less on both sides."""
FALL = 0.6
"""Share of the usual throughput below which it has fallen clearly."""
FULL = 0.8
"""How much of what connections bring on average a trial with more must bring for each, so that the next follows at
once."""
WINDOWS = 2
"""Measurements that decide; at the start it is one, because the next step corrects it."""
SHORTEST_TRIAL_WAIT = 2.0
LONGEST_TRIAL_WAIT = 30.0
"""Seconds between trials: doubled by each that failed."""
OUTRAN_TRIAL_WAIT = 0.5
"""Seconds that hashing must have kept up until more are tried again."""
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
        limit: Connections that may be open, from 1 to ``cap``.
        paused_until: Time before which nothing new should be asked.
    """

    def __init__(self, cap: int) -> None:
        self.cap = max(1, cap)
        self.limit = min(FIRST, self.cap)
        self.paused_until = float("-inf")
        self._mode = _Mode.START
        self._outran = False
        self._seen: list[float] = []
        self._skip = False
        self._kept = 0  # connections that went on being served when others were refused
        self._kept_from = self._kept_until = float("-inf")
        self._before = (self.limit, 0.0)  # connections and throughput that a trial is compared with
        self._usual = 0.0
        self._low = 0
        self._trial_at = float("inf")
        self._trial_wait = SHORTEST_TRIAL_WAIT
        self._next_trial = _Mode.FEWER
        self._cut_at = float("-inf")
        self._refused_at: int | None = None  # connections that were too many: from then on grow by one

    @property
    def hasty(self) -> bool:
        """Whether the next measurement should come soon, because the number is on its way to another."""
        return self._mode is _Mode.START or self._outran

    def room(self, now: float) -> int:
        """Return how many connections may be open at ``now``, in seconds; 0 while everything waits."""
        if now < self.paused_until:
            return 0
        return min(self.limit, self._kept) if now < self._kept_until else self.limit

    def waited(self, seconds: float) -> None:
        """Take note of how long an answer lets wait; before anything was measured, a long way means more at once."""
        if self._mode is _Mode.START and not self._before[1] and seconds >= FAR:
            self.limit = max(self.limit, min(FIRST_FAR, self.cap))

    def measured(self, now: float, rate: float) -> None:
        """Take note of the throughput of one window in which all ``limit`` connections had work.

        The first window of a number begins when all of them were answered: the caller sees to that.

        Args:
            now: Seconds.
            rate: Bytes a second of all connections together.
        """
        self._outran = False
        if self._skip:
            self._skip = False
            return
        self._seen.append(rate)
        if self._mode is _Mode.HOLD:
            self._hold(now, rate)
        elif len(self._seen) >= (1 if self._mode is _Mode.START else WINDOWS):
            self._judge(now, sum(self._seen) / len(self._seen))

    def refused(self, now: float, asked_at: float, retry_after: float | None = None, served: int = 0) -> None:
        """Take note of a 429 or 503.

        Args:
            now: Seconds.
            asked_at: When that request was begun; before the last cut, it changes nothing.
            retry_after: Seconds that the registry asks to wait, or None.
            served: Connections on which it goes on sending.
        """
        if retry_after:
            self._wait(now, asked_at, min(retry_after, LONGEST_PAUSE), served)
        if asked_at < self._cut_at:
            return
        self._cut_at = now
        self._refused_at = self.limit
        self._set(max(1, self.limit // 2))
        self._usual = 0.0
        self._next_trial = _Mode.MORE
        self._rest(now, SHORTEST_TRIAL_WAIT)

    def _wait(self, now: float, asked_at: float, seconds: float, served: int) -> None:
        """Ask for no more than what is served now, or for nothing at all when that is refused too."""
        waiting = now < self._kept_until
        if not served or (waiting and asked_at >= self._kept_from):
            self.paused_until = max(self.paused_until, now + seconds)
            return
        self._kept = min(self._kept, served) if waiting else served
        self._kept_from = self._kept_from if waiting else now
        self._kept_until = max(self._kept_until, now + seconds)

    def outran(self, now: float, least: int, share: float = 0.5) -> None:
        """Take note that bytes come faster than they are hashed: fewer connections cost less and lose nothing.

        Args:
            now: Seconds.
            least: Connections that are wanted all the same, one for each blob that is hashed.
            share: Of the bytes that came, how much was hashed: as many connections are enough, but never less than
                half of them go at once. To be measured when no more than ``limit`` worked.
        """
        enough = min(self.limit - 1, max(self.limit // 2, int(self.limit * share)))
        self._outran = self.limit > max(1, least)
        if self._outran:
            self._set(max(1, least, enough))
            self._usual = 0.0
        self._next_trial = _Mode.MORE
        self._rest(now, OUTRAN_TRIAL_WAIT)

    def _judge(self, now: float, rate: float) -> None:
        """Compare a trial, or a step of the start, with what was before it."""
        limit, before = self._before
        if self._mode is _Mode.START:
            if rate > before * STEEP and self.limit < self.cap:
                self._before = (self.limit, rate)
                self._set(min(self.cap, self.limit * 2))
                return
            kept = rate > before * GAIN
            wait = SETTLED_TRIAL_WAIT if kept else SHORTEST_TRIAL_WAIT
        else:
            kept = rate > before * (GAIN if self._mode is _Mode.MORE else KEEP)
            wait = SHORTEST_TRIAL_WAIT if kept else min(LONGEST_TRIAL_WAIT, self._trial_wait * 2)
            if self._mode is _Mode.MORE and self._refused_at is None and self.limit < self.cap:
                share = (rate / before if before else 0.0) / (self.limit / limit)
                wait = 0.0 if share >= FULL else wait  # all of them pay: there is more to be had
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
        self._skip = self._mode is not _Mode.START and (self._skip or limit != self.limit)
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
