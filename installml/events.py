"""What happens while a verb runs, as frozen dataclasses; only ``cli/`` turns them into bars or lines.

Every verb takes ``on_event``; the default listens to nothing. Events may arrive from several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["BlobDone", "BlobProgress", "BlobStarted", "Event", "Listener", "Notice", "Phase", "ignore"]


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all events."""


@dataclass(frozen=True, slots=True)
class Phase(Event):
    """A verb enters a phase.

    Attributes:
        name: Present participle for people: ``resolving``, ``downloading``, ``linking`` ...
        detail: What it is about; may be empty.
        count: Number of things in the phase, 0 when unknown.
        size: Bytes to move in the phase, 0 when unknown.
    """

    name: str
    detail: str = ""
    count: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class BlobStarted(Event):
    """A blob begins to move."""

    digest: str
    title: str
    size: int


@dataclass(frozen=True, slots=True)
class BlobProgress(Event):
    """More bytes of a blob have moved; ``advance`` counts only the new ones."""

    digest: str
    advance: int


@dataclass(frozen=True, slots=True)
class BlobDone(Event):
    """A blob is where it should be.

    Attributes:
        outcome: ``copied``, ``exists`` (destination had it) or ``mounted`` (registry linked it).
    """

    digest: str
    title: str
    size: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something the reader should know although nothing failed."""

    message: str


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
