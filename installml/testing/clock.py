"""Time that stands still until somebody moves it."""

from __future__ import annotations

__all__ = ["SettableClock"]


class SettableClock:
    """A clock to pass where ``time.time`` would be the default.

    Args:
        now: Seconds since the epoch at the beginning.
    """

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.now += seconds
