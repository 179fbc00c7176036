"""The two streams of a command: results on one, everything else on the other, and nothing that a terminal obeys.

Names, descriptions and messages come from registries and model folders. A terminal obeys what it is sent, so control
characters in them are shown as escapes (CWE-150).
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import InstallMLError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Color", "Ended", "OutputClosed", "OutputFailed", "Screen", "cells", "plain"]

_KEPT = "\n\t"
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that move the cursor, reorder the line or cannot be seen."""


def plain(text: str) -> str:
    """Return ``text`` with every character that a terminal would obey instead of show written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c in _KEPT or unicodedata.category(c) not in _HIDDEN else _escaped(c) for c in text)


def cells(text: str) -> int:
    """Return the columns that ``text`` takes on a terminal (UAX #11: wide and fullwidth characters take two)."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class Ended(Exception):
    """A command is over with this exit code, and has said what there was to say."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class OutputClosed(Ended):
    """Whoever read standard output has gone; there is nobody to tell."""

    def __init__(self) -> None:
        super().__init__(1)


class OutputFailed(InstallMLError):
    """Standard output cannot take the result: a full disk behind a redirection, most often."""

    reference = "output-failed"
    default_hint = "Write it to another place, or make room there."

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the result could not be written to standard output: {error.strerror}")


class Color(StrEnum):
    """When to colour: the values of ``--color``."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a command writes.

    Attributes:
        out: Receives results.
        err: Receives everything else.
        environ: The environment, for ``NO_COLOR`` and ``TERM``.
        color: When to colour.
    """

    out: TextIO
    err: TextIO
    environ: Mapping[str, str]
    color: Color = Color.AUTO

    @property
    def terminal(self) -> bool:
        """Whether standard error is a terminal that can move its cursor."""
        return self.err.isatty() and self.environ.get("TERM", "dumb") != "dumb"

    @property
    def colored(self) -> bool:
        """Whether to colour standard error (no-color.org: any value that is not empty turns colours off)."""
        if self.color != Color.AUTO:
            return self.color == Color.ALWAYS
        return self.terminal and not self.environ.get("NO_COLOR")

    def shows(self, text: str) -> bool:
        """Return whether standard output's encoding has the characters of ``text``."""
        return _encodes(self.out, text)

    def print(self, text: str) -> None:
        """Write lines to standard output, control characters shown.

        Raises:
            OutputClosed: Nobody reads it any more.
        """
        self._write(self.out, plain(text) + "\n")

    def json(self, value: Any) -> None:
        """Write one JSON document on one line."""
        self._write(self.out, json.dumps(value, ensure_ascii=not self.shows("é…"), allow_nan=False) + "\n")

    def say(self, text: str) -> None:
        """Write lines to standard error."""
        self._write(self.err, plain(text) + "\n")

    def console(self) -> Console:
        """Return rich's view of standard error."""
        from rich.console import Console

        return Console(
            file=self.err,
            force_terminal=True if self.colored or self.terminal else None,
            no_color=not self.colored,
            color_system="auto" if self.colored else None,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text if _encodes(stream, text) else _downgraded(stream, text))
            stream.flush()
        except BrokenPipeError as error:
            _close(stream)
            if stream is self.out:
                raise OutputClosed from error
        except OSError as error:
            _close(stream)
            if stream is self.out:
                raise OutputFailed(error) from error


def _encodes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _downgraded(stream: TextIO, text: str) -> str:
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _close(stream: TextIO) -> None:
    """Point the broken pipe at nothing, so that the interpreter's last flush does not complain."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, stream.fileno())
    finally:
        os.close(nothing)
