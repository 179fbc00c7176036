"""Globs over package paths: ``**/`` is any folders, ``**`` anything, ``*`` and ``?`` stay inside one folder, ``[a-z]``.

Globs may come with a package that somebody else made, so matching never backtracks: all globs are one automaton whose
states are the bits of a number, and the time is linear in the path whatever the globs are.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Iterable, Iterator

__all__ = ["Globs", "matches"]

_TOKENS = re.compile(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])")
_MOST_STEPS = 1 << 14  # remembered moves from state to state; a few dozen are enough for ordinary globs

Test = Callable[[str], bool]


def _in_folder(char: str) -> bool:
    return char != "/"


def _any(_: str) -> bool:
    return True


def _never(_: str) -> bool:
    return False


def _tokens(glob: str) -> Iterator[str]:
    """Yield wildcards, classes and single characters; a wildcard twice in a row means what it means once."""
    last = ""
    for part in _TOKENS.split(glob):
        if _TOKENS.fullmatch(part) and not _is_text(part):
            if part != last or part not in ("**/", "**", "*"):
                yield part
            last = part
        elif part:
            yield from part
            last = ""


def _is_text(part: str) -> bool:
    """Return whether brackets stand for themselves, as in ``[]`` and ``[!]``."""
    return part.startswith("[") and fnmatch.translate(part).startswith("(?s:\\[")


class Globs:
    """Some globs, made ready.

    Args:
        globs: What a path is compared with; one that fits is enough.
    """

    def __init__(self, globs: Iterable[str]) -> None:
        self._advance: list[Test] = []  # by position: the characters that lead to the next one
        self._loop: list[Test] = []  # those that stay
        self._back: list[Test] = []  # those that lead to the one before
        self._skips: dict[int, int] = {}  # how many positions on one may go without a character, by position
        self._start = self._accept = 0
        for glob in globs:
            self._add(glob)
        self._start = self._closed(self._start)
        self._moves: dict[str, tuple[int, int, int]] = {}
        self._steps: dict[tuple[int, str], int] = {}

    def _add(self, glob: str) -> None:
        self._start |= 1 << len(self._advance)
        for part in _tokens(glob):
            if part == "**/":  # at the start of a folder's name, and inside one
                self._skips[len(self._advance)] = 2
                self._position(_in_folder)
                self._position(_never, _in_folder, lambda char: char == "/")
            elif part in ("*", "**"):
                self._skips[len(self._advance)] = 1
                self._position(_never, _in_folder if part == "*" else _any)
            else:
                self._position(_one(part))
        self._accept |= 1 << len(self._advance)
        self._position(_never)

    def _position(self, advance: Test, loop: Test = _never, back: Test = _never) -> None:
        self._advance.append(advance)
        self._loop.append(loop)
        self._back.append(back)

    def match(self, path: str) -> bool:
        """Return whether any of the globs means the whole of ``path``."""
        state = self._start
        for char in path:
            if not state:
                return False
            state = self._step(state, char)
        return bool(state & self._accept)

    def _step(self, state: int, char: str) -> int:
        known = self._steps.get((state, char))
        if known is not None:
            return known
        if char not in self._moves:
            self._moves[char] = (_mask(self._advance, char), _mask(self._loop, char), _mask(self._back, char))
        advance, loop, back = self._moves[char]
        after = self._closed((state & advance) << 1 | state & loop | (state & back) >> 1)
        if len(self._steps) >= _MOST_STEPS:
            self._steps.clear()
        self._steps[state, char] = after
        return after

    def _closed(self, state: int) -> int:
        """Return ``state`` with all that is reached from it without a character; skips only lead forward."""
        for position, count in self._skips.items():
            if state >> position & 1:
                state |= 1 << position + count
        return state


def _mask(tests: Iterable[Test], char: str) -> int:
    return sum(1 << position for position, test in enumerate(tests) if test(char))


def _one(part: str) -> Test:
    if part == "?":
        return _in_folder
    if len(part) > 1:
        pattern = re.compile(fnmatch.translate(part))
        return lambda char: pattern.match(char) is not None
    return lambda char: char == part


@functools.lru_cache(maxsize=512)
def _ready(globs: tuple[str, ...]) -> Globs:
    return Globs(globs)


def matches(path: str, globs: tuple[str, ...]) -> bool:
    """Return whether any glob means ``path``."""
    return _ready(globs).match(path)
