"""A few lines at the bottom of a terminal that are drawn again in place.

A frame is one write: the cursor goes up, each line is written over the old one and its rest erased, and what was below
is erased. Nothing is cleared first, so nothing flickers; the screen as a whole is never cleared.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TextIO

from .screen import cells

__all__ = ["RESTORE", "Painter"]

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
_TO_LINE_END, _TO_SCREEN_END = "\x1b[K", "\x1b[J"

RESTORE = f"\r{_TO_SCREEN_END}{SHOW}"
"""Gives the cursor back and wipes what is below it: for an end in which nothing else can be done."""

_SMALLEST, _USUAL = 10, (80, 24)


class Painter:
    """Draws on ``stream``, a terminal that understands ECMA-48. Not safe for threads; ``status.Bars`` holds the lock.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn: list[str] = []
        self._size = _USUAL
        self._hidden = False

    def size(self) -> tuple[int, int]:
        """Return columns and rows as they are now: the window may have been resized since the last frame."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found = os.get_terminal_size(self._stream.fileno())
            if found.columns > 0 and found.lines > 0:
                return max(_SMALLEST, found.columns), found.lines
        return _USUAL

    def paint(self, lines: Sequence[str]) -> None:
        """Show ``lines`` in the place of those of the last frame; each narrower than the terminal."""
        size = self.size()
        shown = list(lines)[: max(1, size[1] - 1)]
        if shown == self._drawn and size == self._size:
            return
        frame = self._start(size) + "\n".join(line + _TO_LINE_END for line in shown) + _TO_SCREEN_END
        if not self._hidden:
            frame, self._hidden = HIDE + frame, True
        self._write(frame)
        self._drawn, self._size = shown, size

    def above(self, text: str) -> None:
        """Write a line that stays, above the picture."""
        kept, size = self._drawn, self.size()
        frame = self._start(size) + text + _TO_LINE_END + "\n"
        self._drawn = []
        self._write(frame + _TO_SCREEN_END)
        if kept:
            self.paint([line[: size[0] - 1] for line in kept])

    def clear(self) -> None:
        """Take the picture away and give the cursor back; harmless when repeated."""
        if self._hidden:
            self._write(self._start(self.size()) + _TO_SCREEN_END + SHOW)
        self._drawn, self._hidden = [], False

    def _start(self, size: tuple[int, int]) -> str:
        """Return what brings the cursor to the first column of the picture's first row.

        Terminals break lines anew when their window gets narrower, so a line may take several rows by now.
        """
        rows = sum(max(1, -(-cells(line) // size[0])) for line in self._drawn)
        up = min(rows, size[1]) - 1
        return "\r" + (f"\x1b[{up}A" if up > 0 else "")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the window was closed; the work goes on
            self._stream.write(text)
            self._stream.flush()
