"""``Rate``: a ceiling on bytes a second that all threads of a session share, for both directions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..errors import UsageError
from ..spec.units import MAX_RATE

__all__ = ["Rate", "RateInvalid"]

SLICE_S = 0.25
"""Seconds that one turn may take at most. A large take is cut into turns of this length, so that the threads of many
connections take turns instead of one of them holding the line for the time of a whole megabyte."""

BLOCK_S = 0.125
"""Seconds that one block should last (``Rate.block``)."""

MIN_BLOCK = 4 << 10
"""Smallest block worth a system call; a quarter of a TLS record, the size of a page."""


class RateInvalid(UsageError):
    """A limit that no link can keep."""

    reference = "rate-invalid"


class Rate:
    """A token bucket. Threads reserve their turn in order of arrival and sleep outside the lock.

    The arithmetic is that of a queue with one server: every byte takes ``1 / bytes_per_second`` seconds, a turn begins
    when the turns before it are over, and time in which nobody came is credited for at most ``SLICE_S`` seconds. So in
    any ``t`` seconds at most ``bytes_per_second * (t + 2 * SLICE_S)`` bytes pass.

    Args:
        bytes_per_second: The ceiling; at least 1.
        clock: Seconds that never go back.
        sleep: Waits so many seconds.

    Raises:
        RateInvalid: The ceiling is not from 1 to ``MAX_RATE``.
    """

    def __init__(
        self,
        bytes_per_second: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not 1 <= bytes_per_second <= MAX_RATE:
            raise RateInvalid(f"{bytes_per_second} bytes a second is not a limit", hint="Write for example 10MiB/s.")
        self._bytes_per_second = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock() - SLICE_S

    def __repr__(self) -> str:
        return f"Rate({self._bytes_per_second})"

    @property
    def bytes_per_second(self) -> int:
        """The ceiling."""
        return self._bytes_per_second

    def block(self, largest: int) -> int:
        """Return how many bytes to move between two takes, at most ``largest``.

        A reader that takes a mebibyte at 100 KiB/s leaves its socket alone for ten seconds, and a registry that sees
        nobody read hangs up. Whoever moves at most this many bytes at once keeps every socket in use.
        """
        return max(1, min(largest, max(MIN_BLOCK, int(self._bytes_per_second * BLOCK_S))))

    def take(self, count: int, stopped: Callable[[], bool] | None = None) -> None:
        """Wait until ``count`` bytes may pass.

        Args:
            count: Bytes; 0 never waits.
            stopped: Asked before each turn, at least every few ``SLICE_S``; true ends the wait.
        """
        turn = max(1, int(self._bytes_per_second * SLICE_S))
        while count > 0 and not (stopped is not None and stopped()):
            wait = self._reserve(min(count, turn))
            count -= turn
            if wait > 0:
                self._sleep(wait)

    def _reserve(self, count: int) -> float:
        """Book ``count`` bytes and return the seconds until they may pass."""
        with self._lock:
            now = self._clock()
            start = max(self._free_at, now - SLICE_S)
            self._free_at = start + count / self._bytes_per_second
            return self._free_at - now
