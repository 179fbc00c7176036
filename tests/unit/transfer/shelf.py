"""A place with blobs whose spans do what a test says: the scheduling of downloads without sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from installml.digest import Readable
from installml.registry.errors import BlobUnknown, ConnectionLost
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent

BLOCK = 10_000


def descriptor_of(data: bytes) -> Descriptor:
    return Descriptor.of(data, "application/octet-stream")


@dataclass
class Piece:
    """Bytes on their way; ``script`` may break, change or hold them before each block."""

    data: bytes
    start: int
    stop: int
    script: Callable[[Piece], None]
    position: int = 0
    cut: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.position = self.start

    def readinto(self, buffer: memoryview, /) -> int:
        self.script(self)
        if self.cut.is_set():
            raise ConnectionLost("it was cut off")
        count = min(len(buffer), BLOCK, self.stop - self.position)
        buffer[:count] = self.data[self.position : self.position + count]
        self.position += count
        return count

    def abort(self) -> None:
        self.cut.set()

    def hang(self) -> None:
        """Wait until somebody cuts this off."""
        assert self.cut.wait(60), "nobody gave up this connection"


def nothing(piece: Piece) -> None:
    """Let it pass."""


class Shelf:
    """A source of blobs.

    Args:
        blobs: What is on it.

    Attributes:
        asked: Extents that were asked for, by digest, in order.
        script: Called before each block of each span.
        head: Called before a request is answered.
        most: Most requests that were open at once.
    """

    def __init__(self, *blobs: bytes) -> None:
        self.content = {descriptor_of(data).digest: data for data in blobs}
        self.asked: list[tuple[Descriptor, Extent]] = []
        self.script: Callable[[Piece], None] = nothing
        self.head: Callable[[Descriptor, Extent], None] = lambda descriptor, extent: None
        self.most = self._open = 0
        self._guard = threading.Lock()

    def __str__(self) -> str:
        return "registry.example/acme/shelf"

    @property
    def extents(self) -> list[Extent]:
        return [extent for _, extent in self.asked]

    @contextmanager
    def fetch_range(self, descriptor: Descriptor, extent: Extent) -> Iterator[Piece]:
        with self._guard:
            self.asked.append((descriptor, extent))
            self._open += 1
            self.most = max(self.most, self._open)
        try:
            self.head(descriptor, extent)
            if descriptor.digest not in self.content:
                raise BlobUnknown(f"{self} has no {descriptor.digest}", status=404)
            yield self.piece(self.content[descriptor.digest], extent)
        finally:
            with self._guard:
                self._open -= 1

    def piece(self, data: bytes, extent: Extent) -> Piece:
        """Return what answers a request."""
        return Piece(data, extent.start, extent.stop, self.script)

    @contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        raise AssertionError("the engine asks for parts")
        yield
