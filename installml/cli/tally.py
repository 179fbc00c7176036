"""What a verb has done so far, added up from its events, and drawn as lines of a given width. No clock, no terminal."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..events import BlobChecked, BlobDone, BlobProgress, BlobStarted, Event, Phase, Waiting
from ..spec.units import format_size
from .screen import cells, plain

__all__ = ["FILE_LINES", "Tally", "draw", "summary"]

FILE_LINES = 4
"""Most files drawn at once."""

SPEED_S = 5.0
"""Seconds that the shown speed looks back: long enough to be read, short enough to be what happens now."""

LEFT_S = 20.0
"""Seconds that the time left looks back; a shorter look makes it jump with every hiccup of the network."""

SETTLED_S = 3.0
"""Seconds after the first byte from which the time left means something."""

RESUMABLE = 16 << 20
"""Bytes from which a blob is fetched in parts, of which the finished ones survive an interruption."""

MAX_WAIT_S = 86_400.0
"""Longest wait that is shown as a number of seconds; what a registry asks for is not to be believed for ever."""

_BUCKET_S = 0.25
_WIDE = 60
"""Columns from which bar, speed and time fit beside a phase's name."""
_WIDEST = 90
"""Columns from which there is room to tell where a resumed transfer began."""


class _Recent:
    """Bytes of the last ``LEFT_S`` seconds, in buckets of a quarter of a second."""

    def __init__(self) -> None:
        self._buckets: deque[tuple[float, int]] = deque()
        self._first = 0.0
        self._any = False

    def add(self, count: int, now: float) -> None:
        """Count bytes of now."""
        if not self._any:
            self._any, self._first = True, now
        if self._buckets and now - self._buckets[-1][0] < _BUCKET_S:
            time, before = self._buckets.pop()
            self._buckets.append((time, before + count))
        else:
            self._buckets.append((now, count))
        while self._buckets[0][0] < now - LEFT_S:
            self._buckets.popleft()

    def age(self, now: float) -> float:
        """Return the seconds since the first byte; 0 before it."""
        return now - self._first if self._any else 0.0

    def speed(self, now: float, span: float) -> float:
        """Return bytes a second in the last ``span`` seconds; 0 in the first second, which says nothing."""
        elapsed = min(span, self.age(now))
        if elapsed < 1.0:
            return 0.0
        # Later than the edge, so that the first bytes, whose time lies before anybody looked, are not counted.
        return sum(count for time, count in list(self._buckets) if time > now - elapsed) / elapsed


@dataclass(slots=True)
class _Blob:
    """One blob under way.

    Attributes:
        there: Bytes at their place, whoever brought them.
        checked: Bytes compared with the digest.
        follows: Whether checking is told apart from landing.
    """

    title: str
    size: int
    there: int = 0
    checked: int = 0
    follows: bool = False
    highest: float = 0.0

    @property
    def landed(self) -> int:
        """Bytes that need not come any more."""
        return min(self.there, self.size)

    @property
    def unchecked(self) -> int:
        """Bytes still to be compared."""
        return self.size - min(self.checked, self.size) if self.follows else 0

    @property
    def score(self) -> float:
        """Bytes done: those that landed count half until they are checked, so that no bar waits at its end."""
        if not self.follows:
            return self.landed
        return (self.landed + min(self.checked, self.size)) / 2

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1; never falls."""
        self.highest = max(self.highest, self.score / self.size if self.size else 0.0)
        return self.highest


@dataclass(slots=True)
class Tally:
    """Counts of the running phase. ``fraction`` never falls, whatever order the events arrive in.

    Attributes:
        phase: Name of the phase.
        detail: What it is about.
        count: Things to do in it; 0 when unknown.
        finished: Things done.
        total: Bytes to move; 0 when unknown.
        moved: Bytes that really moved, for the speed: neither resumed nor seeded ones.
        resumed: Bytes that an earlier attempt or a seed had brought.
        waiting: Why we wait; empty when we do not.
    """

    phase: str = ""
    detail: str = ""
    count: int = 0
    finished: int = 0
    total: int = 0
    moved: int = 0
    resumed: int = 0
    waiting: str = ""
    _until: float = 0.0
    _ended: int = 0
    _existing: int = 0
    _highest: float = 0.0
    _checks: bool = False
    _blobs: dict[str, _Blob] = field(default_factory=dict)
    _landing: _Recent = field(default_factory=_Recent)
    _checking: _Recent = field(default_factory=_Recent)

    def feed(self, event: Event, now: float) -> None:
        """Take one event that happened at ``now`` seconds."""
        if isinstance(event, Phase):
            self._enter(event)
        elif isinstance(event, BlobStarted):
            self._start(event)
        elif isinstance(event, BlobProgress):
            self._advance(event, now)
        elif isinstance(event, BlobChecked):
            self._check(event, now)
        elif isinstance(event, BlobDone):
            self._finish(event)
        elif isinstance(event, Waiting):
            self._wait(event, now)

    def _enter(self, phase: Phase) -> None:
        self.waiting = ""
        if phase.name == self.phase and phase.size:  # the next manifest of the same copy: more of the same
            self.detail, self.count, self.total = phase.detail, self.count + phase.count, self.total + phase.size
            return
        self.phase, self.detail, self.count, self.total = phase.name, phase.detail, phase.count, phase.size
        self.finished = self.moved = self.resumed = self._ended = self._existing = 0
        self._highest, self._checks = 0.0, False
        self._blobs.clear()
        self._landing, self._checking = _Recent(), _Recent()

    def _start(self, event: BlobStarted) -> None:
        done = min(event.done, event.size)
        before = self._blobs.get(event.digest)
        self._blobs[event.digest] = _Blob(event.title, event.size, done, 0, event.checked)
        if before is None:  # a second start of the same blob is a new attempt, and what it finds is our own work
            self.resumed += done
        else:
            self._blobs[event.digest].highest = before.fraction
        self._checks = self._checks or event.checked

    def _advance(self, event: BlobProgress, now: float) -> None:
        self.moved += event.advance
        self._landing.add(event.advance, now)
        if self._until == math.inf:
            self.waiting = ""
        if event.digest in self._blobs:
            self._blobs[event.digest].there += event.advance

    def _check(self, event: BlobChecked, now: float) -> None:
        self._checking.add(event.advance, now)
        if event.digest in self._blobs:
            self._blobs[event.digest].checked += event.advance

    def _finish(self, event: BlobDone) -> None:
        self._blobs.pop(event.digest, None)
        self._ended += event.size
        self._existing += event.size if event.outcome == "exists" else 0
        self.finished += 1

    def _wait(self, event: Waiting, now: float) -> None:
        until = now + min(event.seconds, MAX_WAIT_S) if event.seconds > 0 else math.inf
        if not self.waiting or until >= self._until:
            self.waiting, self._until = event.reason, until

    def _under_way(self) -> list[_Blob]:
        """Return the blobs as they are now: whoever looks need not stop those who feed."""
        return list(self._blobs.values())

    @property
    def there(self) -> int:
        """Bytes that need not move any more."""
        return min(self.total, self._ended + sum(blob.landed for blob in self._under_way()))

    @property
    def kept(self) -> int:
        """Bytes that an interruption leaves for the next attempt, but for one part a connection."""
        large = (blob.landed for blob in self._under_way() if blob.size >= RESUMABLE)
        return min(self.total, self._ended + (sum(large) if self.phase == "downloading" else 0))

    @property
    def unchecked(self) -> int:
        """Bytes that must still be compared, as far as is known; 0 where bytes are compared as they move."""
        if not self._checks:
            return 0
        blobs = self._under_way()
        begun = sum(blob.size for blob in blobs)
        return sum(blob.unchecked for blob in blobs) + max(0, self.total - self._ended - begun)

    @property
    def verifying(self) -> bool:
        """Whether all bytes are there and only their check is missing."""
        return self.total > 0 and self.there >= self.total and self.unchecked > 0

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1."""
        score = self._ended + sum(blob.score for blob in self._under_way())
        self._highest = max(self._highest, min(1.0, score / self.total) if self.total else 0.0)
        return self._highest

    @property
    def began(self) -> float:
        """Where a resumed transfer began, from 0 to 1; 0 when nothing was resumed."""
        return min(1.0, (self.resumed + self._existing) / self.total) if self.resumed and self.total else 0.0

    def speed(self, now: float) -> float:
        """Return the bytes a second of the last ``SPEED_S`` seconds: moved ones, or compared ones when all are there.

        0 when nobody can tell yet.
        """
        recent = self._checking if self.verifying else self._landing
        return recent.speed(now, SPEED_S)

    def left(self, now: float) -> float | None:
        """Return the seconds left, or None while nobody can tell.

        Landing and checking run beside each other, so the slower one decides.
        """
        times = []
        for rest, recent in ((self.total - self.there, self._landing), (self.unchecked, self._checking)):
            if rest <= 0:
                continue
            speed = recent.speed(now, LEFT_S)
            if not speed or recent.age(now) < SETTLED_S:
                return None
            times.append(rest / speed)
        return max(times, default=None)

    def pause(self, now: float) -> str:
        """Return ``waiting 12 s: the registry limits the rate``; empty when nothing is waited for."""
        if not self.waiting or now >= self._until:
            return ""
        seconds = "" if self._until == math.inf else f" {math.ceil(self._until - now)} s"
        return f"waiting{seconds}: {plain(self.waiting)}"

    def files(self) -> Iterator[tuple[str, float]]:
        """Yield name and fraction of what moves now, the longest under way first."""
        for blob in self._under_way()[:FILE_LINES]:
            yield blob.title, blob.fraction


def draw(tally: Tally, width: int, now: float, *, ascii_only: bool = False) -> list[str]:
    """Return the picture: an overall line, at most four file lines and why we wait; none wider than ``width``."""
    if not tally.total:
        lines = [_cut(f"{tally.phase} {plain(tally.detail)}".rstrip(), width, ascii_only)]
    else:
        lines = [_bar_line(_head(tally, width), tally.fraction, _numbers(tally, width, now), width, ascii_only)]
        lines += [
            _bar_line(f"  {plain(name)}", part, f" {_percent(part):>4}", width, ascii_only)
            for name, part in tally.files()
        ]
    pause = tally.pause(now)
    return [*lines, _cut(pause, width, ascii_only)] if pause else lines


def summary(tally: Tally, now: float) -> str:
    """Return the same in words: ``downloading 43 %, 1.2 GiB of 4 GiB, 10 MiB/s, 4:40 left``."""
    parts = [f"{_name(tally)} {_floor(tally.fraction)} %"]
    parts.append(f"{format_size(tally.there)} of {format_size(tally.total)}")
    speed, left = tally.speed(now), tally.left(now)
    parts += [f"{format_size(int(speed))}/s"] if speed else []
    parts += [f"{_clock(left)} left"] if left is not None else []
    parts += [f"resumed at {_floor(tally.began)} %"] if tally.began >= 0.01 else []
    return ", ".join(parts)


def _name(tally: Tally) -> str:
    return "verifying" if tally.verifying else tally.phase


def _head(tally: Tally, width: int) -> str:
    head = f"{_name(tally)} {min(tally.finished, tally.count)}/{tally.count}"
    resumed = width >= _WIDEST and tally.began >= 0.01
    return f"{head}, resumed at {_floor(tally.began)} %" if resumed else head


def _numbers(tally: Tally, width: int, now: float) -> str:
    numbers = f" {_percent(tally.fraction):>4}"
    if width < _WIDE:
        return numbers
    speed, left = tally.speed(now), tally.left(now)
    # The columns are kept while there is nothing to say in them: a bar that changes its length looks like an error.
    words = f"{format_size(int(speed))}/s" if speed else ""
    return f"{numbers} {words:>11} {_clock(left) if left is not None else '':>7}"


def _floor(fraction: float) -> int:
    """Return whole per cent; 100 is only what is done."""
    return math.floor(fraction * 100 + 1e-9)


def _percent(fraction: float) -> str:
    return f"{_floor(fraction)}%"


def _bar_line(name: str, fraction: float, numbers: str, width: int, ascii_only: bool) -> str:
    room = max(0, width - len(numbers))
    label = min(36 if width >= _WIDEST else 28, room // 2)
    bar = max(0, room - label - 1)
    shown = _cut(name, label, ascii_only)
    return f"{shown}{' ' * (label - cells(shown))} {_bar(fraction, bar, ascii_only)}{numbers}"[:width]


def _bar(fraction: float, width: int, ascii_only: bool) -> str:
    full, empty = ("#", ".") if ascii_only else ("━", "─")
    filled = int(fraction * width)
    return full * filled + empty * (width - filled)


def _cut(text: str, width: int, ascii_only: bool) -> str:
    if cells(text) <= width:
        return text
    end = "..." if ascii_only else "…"
    room = width - len(end)
    kept = text[: max(0, room)]
    while kept and cells(kept) > room:
        kept = kept[:-1]
    return (kept + end)[: max(0, width)]


def _clock(seconds: float) -> str:
    """Return ``4:40``; at least a second, because nothing that is left takes no time."""
    whole = math.ceil(min(max(seconds, 1.0), 359_999))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
