"""Events to what a person sees while waiting: bars on a terminal, plain lines without one, JSON lines, or nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..api.results import to_json
from ..events import BlobChecked, BlobDone, BlobProgress, Event, Notice, Phase, Waiting
from ..spec.units import format_size
from .options import Progress
from .painter import Painter
from .screen import Screen, plain
from .tally import Tally, draw, summary

__all__ = ["Bars", "JsonLines", "Lines", "Silence", "Status", "event_json", "following"]

FRAME_S = 0.125
"""Seconds between two frames."""

LINE_S = 30.0
"""Seconds between two lines about the same phase where there is no terminal: a log must not look dead."""

JSON_S = 0.2
"""Seconds for which the advances of a blob are added up before they become a JSON line."""

Clock = Callable[[], float]


class Status(Protocol):
    """Shows events until it is closed."""

    tally: Tally

    def __call__(self, event: Event) -> None:
        """Take one event; called from several threads."""

    def close(self) -> None:
        """Leave the screen as somebody else may write on it; harmless when repeated."""

    def paused(self) -> AbstractContextManager[None]:
        """Leave the screen to somebody else within the block; not from ``__call__``."""


class Silence:
    """Shows nothing: ``--quiet`` and ``--format json``.

    Args:
        clock: Seconds that never go back.

    Attributes:
        tally: What was done so far; an interruption tells it.
        silent: What must be heard waits for another listener (``events.heard``).
    """

    silent = True

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.tally = Tally()
        self._clock = clock
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Count the event."""
        with self._lock:
            self.tally.feed(event, self._clock())

    def close(self) -> None:
        """Do nothing."""

    def paused(self) -> AbstractContextManager[None]:
        """Do nothing: nothing is on the screen."""
        return contextlib.nullcontext()


class Lines:
    """One plain line a phase on standard error, without control codes, and one each half minute of a long phase.

    Args:
        screen: Where.
        verbose: Name every blob as well.
        clock: Seconds that never go back.

    Attributes:
        tally: What was done so far.
    """

    def __init__(self, screen: Screen, *, verbose: bool = False, clock: Clock = time.monotonic) -> None:
        self.tally = Tally()
        self._screen = screen
        self._verbose = verbose
        self._clock = clock
        self._last = ""
        self._said_at = clock()
        self._waits: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        with self._lock:
            now = self._clock()
            self.tally.feed(event, now)
            line = self._line(event, now)
            if line and line != self._last:
                self._last, self._said_at = line, now
                self._screen.say(line)

    def _line(self, event: Event, now: float) -> str:
        if isinstance(event, Phase):
            return phase_line(event)
        if isinstance(event, Notice):
            return f"note: {event.message}"
        if isinstance(event, Waiting):
            return self._waiting(event, now)
        if self._verbose and isinstance(event, BlobDone):
            return blob_line(event)
        long = self.tally.total and now - self._said_at >= LINE_S
        return summary(self.tally, now) if long else ""

    def _waiting(self, event: Waiting, now: float) -> str:
        """Return a line, but not one for every connection that the same registry has sent away."""
        if now - self._waits.get(event.reason, -LINE_S) < LINE_S:
            return ""
        self._waits[event.reason] = now
        return self.tally.pause(now)

    def close(self) -> None:
        """Do nothing: every line is whole."""

    def paused(self) -> AbstractContextManager[None]:
        """Do nothing: every line is whole."""
        return contextlib.nullcontext()


class JsonLines:
    """One JSON document a line on standard output for every event (docs/reference/json.md).

    Advances of the same blob are added up for ``JSON_S`` seconds: their sums are what they would be without that.

    Args:
        screen: Where.
        clock: Seconds that never go back.

    Attributes:
        tally: What was done so far.
    """

    def __init__(self, screen: Screen, *, clock: Clock = time.monotonic) -> None:
        self.tally = Tally()
        self._screen = screen
        self._clock = clock
        self._pending: dict[tuple[type[Event], str], int] = {}
        self._written_at = clock()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write the event, or keep it for a moment when others will add to it."""
        with self._lock:
            now = self._clock()
            self.tally.feed(event, now)
            if isinstance(event, (BlobProgress, BlobChecked)):
                key = (type(event), event.digest)
                self._pending[key] = self._pending.get(key, 0) + event.advance
                if now - self._written_at >= JSON_S:
                    self._flush(now)
            else:
                self._flush(now)
                self._screen.json(event_json(event))

    def _flush(self, now: float) -> None:
        pending, self._pending, self._written_at = self._pending, {}, now
        for (kind, digest), advance in pending.items():
            self._screen.json({**_head(kind), "digest": digest, "advance": advance})

    def close(self) -> None:
        """Write what was kept."""
        with self._lock:
            self._flush(self._clock())

    def paused(self) -> AbstractContextManager[None]:
        """Do nothing: every line is whole."""
        return contextlib.nullcontext()


def event_json(event: Event) -> dict[str, Any]:
    """Return the JSON document of an event: ``schemaVersion``, ``kind``, then its fields in camelCase."""
    return {**_head(type(event)), **to_json(event)}


def _head(kind: type[Event]) -> dict[str, Any]:
    return {"schemaVersion": 1, "kind": kind.__name__}


def phase_line(phase: Phase) -> str:
    """Return ``downloading 7 files, 12.3 MiB`` or ``resolving acme/x:1``."""
    if not phase.size:
        return f"{phase.name} {phase.detail}".rstrip()
    files = f"{phase.count} file{'' if phase.count == 1 else 's'}"
    return f"{phase.name} {files}, {format_size(phase.size)}"


def blob_line(blob: BlobDone) -> str:
    """Return ``  copied weights.bin (1.2 GiB)``."""
    return f"  {blob.outcome} {blob.title} ({format_size(blob.size)})"


class Bars:
    """One overall bar with speed and time left, and at most four file lines, redrawn in place on a terminal.

    Args:
        screen: A terminal.
        verbose: Name every blob as well, above the bars.
        clock: Seconds that never go back, for speed and time left.

    Attributes:
        tally: What was done so far.
    """

    def __init__(self, screen: Screen, *, verbose: bool = False, clock: Clock = time.monotonic) -> None:
        self.tally = Tally()
        self._ascii = not _has_bars(screen)
        self._verbose = verbose
        self._clock = clock
        self._lock = threading.Lock()
        self._painter = Painter(screen.err)
        self._encoding = screen.err.encoding or "ascii"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._animate, name="bars", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Add the event to the picture; notices stay on the screen above it."""
        with self._lock:
            self.tally.feed(event, self._clock())
            if self._over.is_set():
                return
            if isinstance(event, Notice):
                self._above(f"note: {event.message}")
            elif self._verbose and isinstance(event, BlobDone):
                self._above(blob_line(event))

    def _above(self, line: str) -> None:
        self._painter.above(self._encodable(plain(line)))

    def _animate(self) -> None:
        while not self._over.wait(FRAME_S):
            self.frame()

    def frame(self) -> None:
        """Draw what is known now, unless it is over."""
        with self._lock:
            if not self._over.is_set() and self.tally.phase:
                width = self._painter.size()[0] - 1  # a full last column would make some terminals break the line
                lines = draw(self.tally, width, self._clock(), ascii_only=self._ascii)
                self._painter.paint([self._encodable(line)[:width] for line in lines])

    def _encodable(self, text: str) -> str:
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bars off the screen within the block; events that come meanwhile wait."""
        with self._lock:
            self._painter.clear()
            yield

    def close(self) -> None:
        """Take the bars off the screen."""
        with self._lock:
            self._over.set()
            self._painter.clear()
        if threading.current_thread() is not self._thread:
            self._thread.join()


def _has_bars(screen: Screen) -> bool:
    try:
        "━─…".encode(screen.err.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@contextlib.contextmanager
def following(
    screen: Screen, *, silent: bool, verbose: bool = False, progress: Progress = Progress.AUTO
) -> Iterator[Status]:
    """Yield the status that suits ``screen`` and ``progress``, and close it at the end."""
    status: Status
    if progress is Progress.JSON:
        status = JsonLines(screen)
    elif silent:
        status = Silence()
    elif screen.terminal and progress is Progress.AUTO:
        status = Bars(screen, verbose=verbose)
    else:
        status = Lines(screen, verbose=verbose)
    try:
        yield status
    finally:
        status.close()
