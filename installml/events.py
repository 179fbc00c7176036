"""What happens while a verb runs, as frozen dataclasses; only ``cli/`` turns them into bars or lines.

Every verb takes ``on_event``; the default listens to nothing. Events may arrive from several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "BlobChecked",
    "BlobDone",
    "BlobProgress",
    "BlobStarted",
    "Event",
    "Listener",
    "Notice",
    "Phase",
    "Waiting",
    "heard",
    "ignore",
]


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
    """A blob begins to move.

    Attributes:
        digest: The blob.
        title: Its file's path, for people.
        size: Its bytes.
        done: Bytes that an earlier attempt, a seed or a neighbour has brought already; they are never in an
            ``advance``.
        checked: Whether ``BlobChecked`` will tell how far its bytes are compared; else they are as they move.
    """

    digest: str
    title: str
    size: int
    done: int = 0
    checked: bool = False


@dataclass(frozen=True, slots=True)
class BlobProgress(Event):
    """More bytes of a blob have moved; ``advance`` counts only the new ones, never one that came before."""

    digest: str
    advance: int


@dataclass(frozen=True, slots=True)
class BlobChecked(Event):
    """More bytes of a blob have been compared with its digest; together they add up to its size."""

    digest: str
    advance: int


@dataclass(frozen=True, slots=True)
class Waiting(Event):
    """The other side asks us to go slower, or has gone away for a moment; we go on by ourselves.

    Attributes:
        reason: For people, such as ``registry.acme.com limits the rate``.
        seconds: How long.
    """

    reason: str
    seconds: float


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


def heard(listener: Listener) -> bool:
    """Return whether what ``listener`` is told may reach somebody: not when it is ``ignore`` or says it is silent."""
    return listener is not ignore and not getattr(listener, "silent", False)
