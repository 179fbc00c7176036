"""Events to what a person sees while waiting: bars on a terminal, one plain line a phase without one, or nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from ..events import BlobDone, Event, Notice, Phase
from ..spec.units import format_size
from .screen import Screen, plain
from .tally import Tally, draw

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Bars", "Lines", "Silence", "Status", "following"]


class Status(Protocol):
    """Shows events until it is closed."""

    def __call__(self, event: Event) -> None:
        """Take one event; called from several threads."""

    def close(self) -> None:
        """Leave the screen as somebody else may write on it; harmless when repeated."""


class Silence:
    """Shows nothing: ``--quiet`` and ``--format json``."""

    def __call__(self, event: Event) -> None:
        """Take one event."""

    def close(self) -> None:
        """Do nothing."""


class Lines:
    """One plain line a phase on standard error, without control codes.

    Args:
        screen: Where.
        verbose: Name every blob as well.
    """

    def __init__(self, screen: Screen, *, verbose: bool = False) -> None:
        self._screen = screen
        self._verbose = verbose
        self._last = ""
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        line = self._line(event)
        with self._lock:
            if line and line != self._last:
                self._last = line
                self._screen.say(line)

    def _line(self, event: Event) -> str:
        if isinstance(event, Phase):
            return phase_line(event)
        if isinstance(event, Notice):
            return f"note: {event.message}"
        if self._verbose and isinstance(event, BlobDone):
            return blob_line(event)
        return ""

    def close(self) -> None:
        """Do nothing: every line is whole."""


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
        clock: Seconds, for speed and time left.
    """

    def __init__(self, screen: Screen, *, verbose: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.live import Live

        self._ascii = not _has_bars(screen)
        self._verbose = verbose
        self._clock = clock
        self._tally = Tally()
        self._lock = threading.Lock()
        self._console = screen.console()
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def __call__(self, event: Event) -> None:
        """Add the event to the picture; notices stay on the screen above it."""
        with self._lock:
            self._tally.feed(event, self._clock())
        if isinstance(event, Notice) or (self._verbose and isinstance(event, BlobDone)):
            self._above(f"note: {event.message}" if isinstance(event, Notice) else blob_line(event))

    def _above(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text(plain(line)))

    def _picture(self) -> Text:
        from rich.text import Text

        with self._lock:
            lines = draw(self._tally, self._console.width - 1, self._clock(), ascii_only=self._ascii)
        return Text("\n".join(lines), no_wrap=True, overflow="crop")

    def close(self) -> None:
        """Take the bars off the screen."""
        self._live.stop()


def _has_bars(screen: Screen) -> bool:
    try:
        "━─…".encode(screen.err.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@contextlib.contextmanager
def following(screen: Screen, *, silent: bool, verbose: bool = False) -> Iterator[Status]:
    """Yield the status that suits ``screen``, and close it at the end."""
    status: Status
    if silent:
        status = Silence()
    elif screen.terminal:
        status = Bars(screen, verbose=verbose)
    else:
        status = Lines(screen, verbose=verbose)
    try:
        yield status
    finally:
        status.close()
