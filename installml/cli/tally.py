"""What a verb has done so far, added up from its events, and drawn as lines of a given width. No clock, no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..events import BlobDone, BlobProgress, BlobStarted, Event, Phase
from ..spec.units import format_size
from .screen import plain

__all__ = ["FILE_LINES", "Tally", "draw"]

FILE_LINES = 4
"""Most files drawn at once: as many as are moved at once unless said otherwise."""

_WIDE = 60
"""Columns from which bar, speed and time fit beside a phase's name."""


@dataclass(slots=True)
class _Moving:
    title: str
    size: int
    done: int = 0


@dataclass(slots=True)
class Tally:
    """Counts of the running phase. ``fraction`` never falls, whatever order the events arrive in.

    Attributes:
        phase: Name of the phase.
        detail: What it is about.
        count: Things to do in it; 0 when unknown.
        finished: Things done.
        total: Bytes to move; 0 when unknown.
        done: Bytes moved or found to be there.
        moved: Bytes that really moved, for the speed.
        since: When the phase began, in the clock of whoever feeds it.
    """

    phase: str = ""
    detail: str = ""
    count: int = 0
    finished: int = 0
    total: int = 0
    done: int = 0
    moved: int = 0
    since: float = 0.0
    _highest: float = 0.0
    _moving: dict[str, _Moving] = field(default_factory=dict)

    def feed(self, event: Event, now: float) -> None:
        """Take one event that happened at ``now`` seconds."""
        if isinstance(event, Phase):
            self._enter(event, now)
        elif isinstance(event, BlobStarted):
            self._moving[event.digest] = _Moving(event.title, event.size)
        elif isinstance(event, BlobProgress):
            self._advance(event)
        elif isinstance(event, BlobDone):
            self._finish(event)

    def _enter(self, phase: Phase, now: float) -> None:
        if phase.name == self.phase and phase.size:  # the next manifest of the same copy: more of the same
            self.detail, self.count, self.total = phase.detail, self.count + phase.count, self.total + phase.size
            return
        self.phase, self.detail, self.count, self.total = phase.name, phase.detail, phase.count, phase.size
        self.finished = self.done = self.moved = 0
        self.since, self._highest = now, 0.0
        self._moving.clear()

    def _advance(self, event: BlobProgress) -> None:
        self.done += event.advance
        self.moved += event.advance
        if event.digest in self._moving:
            self._moving[event.digest].done += event.advance

    def _finish(self, event: BlobDone) -> None:
        seen = self._moving.pop(event.digest, None)
        self.done += max(0, event.size - (seen.done if seen else 0))
        self.finished += 1

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1."""
        share = min(1.0, self.done / self.total) if self.total else 0.0
        self._highest = max(self._highest, share)
        return self._highest

    def speed(self, now: float) -> float:
        """Return bytes a second since the phase began; 0 in its first tenth of a second, which says nothing."""
        elapsed = now - self.since
        return self.moved / elapsed if elapsed > 0.1 else 0.0

    def files(self) -> Iterator[tuple[str, float]]:
        """Yield name and fraction of what moves now, the longest under way first."""
        for file in list(self._moving.values())[:FILE_LINES]:
            yield file.title, min(1.0, file.done / file.size) if file.size else 0.0


def draw(tally: Tally, width: int, now: float, *, ascii_only: bool = False) -> list[str]:
    """Return the picture: one overall line and one for each of at most four files, none wider than ``width``."""
    if not tally.total:
        return [_cut(f"{tally.phase} {plain(tally.detail)}".rstrip(), width, ascii_only)]
    head = f"{tally.phase} {min(tally.finished, tally.count)}/{tally.count}"
    numbers = f" {tally.fraction:4.0%}"
    speed = tally.speed(now)
    if width >= _WIDE and speed:
        left = max(0, tally.total - tally.done) / speed
        numbers += f" {format_size(int(speed)):>9}/s {_clock(left):>7}"
    lines = [_bar_line(head, tally.fraction, numbers, width, ascii_only)]
    lines += [_bar_line(f"  {plain(name)}", part, f" {part:4.0%}", width, ascii_only) for name, part in tally.files()]
    return lines


def _bar_line(name: str, fraction: float, numbers: str, width: int, ascii_only: bool) -> str:
    room = max(0, width - len(numbers))
    label = min(28, room // 2)
    bar = max(0, room - label - 1)
    return f"{_cut(name, label, ascii_only):<{label}} {_bar(fraction, bar, ascii_only)}{numbers}"[:width]


def _bar(fraction: float, width: int, ascii_only: bool) -> str:
    full, empty = ("#", ".") if ascii_only else ("━", "─")
    filled = int(fraction * width)
    return full * filled + empty * (width - filled)


def _cut(text: str, width: int, ascii_only: bool) -> str:
    if len(text) <= width:
        return text
    end = "..." if ascii_only else "…"
    return (text[: max(0, width - len(end))] + end)[:width]


def _clock(seconds: float) -> str:
    whole = int(min(seconds, 359_999))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
