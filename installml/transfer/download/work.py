"""What a download is made of: blobs that are wanted, and the requests that bring them. Only facts, no rules."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import cast

from ...registry.lines import Line
from ...spec.chunks import ChunkIndex
from ...spec.descriptor import Descriptor
from ...store.protocol import Span
from ..landing import Landing
from ..parts import Parts

__all__ = ["Blob", "Job", "Run", "Small"]


@dataclass(eq=False, slots=True)
class Job:
    """One blob: when it may be asked for again, and what was told about it.

    Attributes:
        descriptor: The blob.
        order: Its place in the queue.
        failures: Attempts in a row that brought nothing.
        failing_since: Time of the first of them.
        not_before: Time of the next attempt.
        stalls: Times that it was given up because nothing came.
        running: Requests for it that are under way.
    """

    descriptor: Descriptor
    order: int
    failures: int = 0
    failing_since: float = 0.0
    not_before: float = float("-inf")
    stalls: int = 0
    running: list[Run] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Small(Job):
    """A blob that comes by one request.

    Attributes:
        told: Bytes that people were told about; -1 before they were told of the blob itself.
    """

    told: int = -1


@dataclass(eq=False, slots=True)
class Blob(Job):
    """A blob that comes in parts.

    Attributes:
        assembled: Where they come together; None until the assembly is open.
        index: Chunks that are compared as they land, or None.
        parts: What is still to be asked for.
        single: The registry sends it whole or not at all.
        waiting: Another process puts it together.
        suspects: Chunks that came wrong, and how many requests had begun by then.
    """

    assembled: Landing | None = None
    index: ChunkIndex | None = None
    parts: Parts = field(default_factory=lambda: Parts(()))
    single: bool = False
    waiting: bool = False
    suspects: dict[int, int] = field(default_factory=dict)

    @property
    def landing(self) -> Landing:
        """Where the parts come together; parts are given out only when it is there."""
        return cast(Landing, self.assembled)


@dataclass(eq=False, slots=True)
class Run:
    """One request.

    Attributes:
        job: What for.
        start: Offset of the first byte asked for.
        stop: Offset behind the last one.
        asked_at: When.
        number: How many requests had begun with this one.
        position: Offset of the next byte to come.
        fresh: Bytes that it brought and nobody else.
        span: What is read from, once the head of the answer is there.
        quiet_since: When the connection was asked for bytes that are still to come; infinite while it is not.
        mark: ``position`` at the last look.
        rate: Bytes a second lately.
        twin: Its rest was asked for a second time.
        left: It was given up; what comes of it does not count.
        thread: Who does it.
        line: What the head of the answer is waited for on.
    """

    job: Job
    start: int
    stop: int
    asked_at: float
    number: int = 0
    position: int = 0
    fresh: int = 0
    span: Span | None = None
    quiet_since: float = 0.0
    mark: int = 0
    rate: float = 0.0
    twin: bool = False
    left: bool = False
    thread: threading.Thread | None = None
    line: Line = field(default_factory=Line)

    def __post_init__(self) -> None:
        self.position = self.mark = self.start
        self.quiet_since = self.asked_at

    def abort(self) -> None:
        """Cut it off, from any thread."""
        if self.span is not None:
            self.span.abort()
        else:
            self.line.cut()
