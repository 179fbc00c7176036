"""Downloads from a shelf into a store on disk, and what is told about them."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from blake3 import blake3

from installml.digest import Digest
from installml.events import BlobProgress, Event
from installml.registry.errors import ConnectionLost, RangesUnsupported
from installml.spec.chunks import ChunkIndex
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.disk import DiskRepository, DiskStore
from installml.store.protocol import Assembly
from installml.transfer.download import Download, Tuning

from .shelf import Piece, Shelf, descriptor_of

PART = 100_000
BIG = random.Random(1).randbytes(1_000_000)
OTHER = random.Random(2).randbytes(600_000)
SMALL = [random.Random(number).randbytes(1000 + number) for number in range(3, 8)]
TUNING = Tuning(part=PART, small=5_000, tick=0.01, hashers=2, random=lambda: 0.0, clock=lambda: 0.0)
"""Time stands still: nothing is slow, nothing stalls and nothing is measured, however busy the machine is."""
TIMED = replace(TUNING, clock=time.monotonic)


class Store(DiskRepository):
    """A store in a folder, and what happened to it."""

    def __init__(self, root: Path) -> None:
        super().__init__(DiskStore(root), "registry.example", "acme/shelf")
        self.store.prepare()

    def holds(self, data: bytes) -> bool:
        path = self.store.blobs.path(descriptor_of(data).digest)
        return path.exists() and path.read_bytes() == data

    def staged(self) -> list[str]:
        ingest = self.store.root / "ingest"
        return [path.name for path in ingest.iterdir() if path.is_dir()] if ingest.exists() else []


class Pull:
    """One download and what was told about it."""

    def __init__(self, source: Shelf, store: Store, *, jobs: int = 4, tuning: Tuning = TUNING, **more: object) -> None:
        self.events: list[Event] = []
        self.outcomes: dict[Digest, str] = {}
        self.also: Callable[[Event], None] = lambda event: None
        self.engine = Download(
            source,
            store,
            jobs=jobs,
            on_event=self._hear,
            done=self._done,
            tuning=tuning,
            **more,  # type: ignore[arg-type]
        )

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self.also(event)

    def run(self, *blobs: bytes) -> Pull:
        self.engine.run([descriptor_of(data) for data in blobs])
        return self

    def _done(self, descriptor: Descriptor, outcome: str) -> None:
        self.outcomes[descriptor.digest] = outcome

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def moved(self) -> Counter[str]:
        total = Counter[str]()
        for event in self.events:
            if isinstance(event, BlobProgress):
                assert event.advance > 0
                total[event.digest] += event.advance
        return total


def name(data: bytes) -> str:
    return str(descriptor_of(data).digest)


def first_only(action: Callable[[Piece], None], when: Callable[[Piece], bool]) -> Callable[[Piece], None]:
    """Do ``action`` at the first block for which ``when`` holds."""
    done = threading.Event()

    def script(piece: Piece) -> None:
        if when(piece) and not done.is_set():
            done.set()
            action(piece)

    return script


def break_off(piece: Piece) -> None:
    raise ConnectionLost("the line went dead")


class Seconds:
    """A clock on which every look takes some time, so that waits pass without waiting."""

    def __init__(self, step: float = 0.5) -> None:
        self._now = count()
        self._step = step

    def __call__(self) -> float:
        return next(self._now) * self._step


def interrupted(source: Shelf, store: Store, error: BaseException, after: int) -> None:
    pull = Pull(source, store, jobs=2)
    seen = count()

    def hear(event: Event) -> None:
        if isinstance(event, BlobProgress) and next(seen) == after:
            raise error

    pull.also = hear
    with pytest.raises(type(error)):
        pull.run(BIG)


class NoRanges(Shelf):
    """Sends the whole blob whatever is asked for, as ``fetch_range`` tells it."""

    def piece(self, data: bytes, extent: Extent) -> Piece:
        if extent.start:
            raise RangesUnsupported("it sends all of it")
        return Piece(data, 0, len(data), self.script)


class Knowing:
    """What helps a download: an index, who vouches for it, and local bytes."""

    def __init__(self, data: bytes, *, vouched: bool, chunk: int = 30_000, local: bytes = b"") -> None:
        bounds = [*range(0, len(data), chunk), len(data)]
        digests = b"".join(blake3(data[at : at + chunk]).digest() for at in bounds[:-1])
        self._index = ChunkIndex(descriptor_of(data).digest, bounds, digests)
        self._vouched = vouched
        self._local = local

    def index(self, blob: Digest) -> ChunkIndex | None:
        return self._index

    def vouched(self, blob: Digest) -> bool:
        return self._vouched

    def fill(self, descriptor: Descriptor, assembly: Assembly) -> int:
        return assembly.write(0, self._local) if self._local else 0


def flip(blob: bytes, at: int) -> bytes:
    return blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]


def damaged(times: int | None, at: int = 555_555) -> Shelf:
    """Return a shelf on which one byte is wrong, the first ``times`` that it is sent."""
    source, number = Shelf(BIG), count()
    wrong = flip(BIG, at)

    def piece(data: bytes, extent: Extent) -> Piece:
        bad = extent.start <= at < extent.stop and (times is None or next(number) < times)
        return Piece(wrong if bad else data, extent.start, extent.stop, lambda piece: None)

    source.piece = piece  # type: ignore[method-assign]
    return source
