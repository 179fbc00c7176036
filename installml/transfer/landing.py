"""One blob on its way into an assembly: no byte is written twice, counted twice, or read before it is there.

Several connections may bring the same bytes (a slow part is asked for again, a registry without ranges sends what is
there already). Each byte belongs to whoever comes with it first; what others bring of it is dropped. So bytes that
were hashed are never overwritten by later ones, which nobody would compare.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from blake3 import blake3

from ..digest import CHUNK
from ..spec.chunks import ChunkIndex
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent, Extents
from ..store.protocol import Assembly

__all__ = ["Landing"]


class Landing:
    """Where the bytes of one blob come together; safe to share between threads.

    Args:
        descriptor: The blob.
        assembly: Where it is put together; what it has already is there.
        report: Told how many more bytes are there, each byte once, whatever happens.
    """

    def __init__(self, descriptor: Descriptor, assembly: Assembly, report: Callable[[int], None]) -> None:
        self.descriptor = descriptor
        self._assembly = assembly
        self._report = report
        self._changed = threading.Condition()
        self._whole = Extent(0, descriptor.size)
        self._claimed = Extents(_present(assembly.missing(), descriptor.size))
        self._written = Extents(self._claimed)
        self._seen = Extents(self._claimed)
        # File systems let one thread write to a file at a time (inode_lock in the kernel's generic_file_write_iter):
        # who waits for that lock burns a core, who waits for this one sleeps.
        self._pen = threading.Lock()
        self._awaited = 0
        self._over = False

    @property
    def done(self) -> int:
        """Bytes that have come so far, at this attempt or before."""
        return self._seen.size

    def missing(self, extent: Extent | None = None) -> list[Extent]:
        """Return what nobody has brought yet, of ``extent`` or of all, in ascending order."""
        with self._changed:
            return self._claimed.lacking(extent or self._whole)

    def put(self, offset: int, block: memoryview) -> int:
        """Write what of ``block`` nobody has brought yet; return how many bytes were never there before."""
        with self._changed:
            ours = self._claimed.lacking(Extent(offset, offset + len(block)))
            for piece in ours:
                self._claimed.add(piece)
            fresh = sum(map(self._seen.add, ours))
        with self._pen:
            for start, stop in ours:
                self._assembly.write(start, block[start - offset : stop - offset])
        if fresh:
            self._report(fresh)  # before anybody can take the blob for whole: no byte is told of after its end
        with self._changed:
            for piece in ours:
                self._written.add(piece)
            if ours and ours[0].start <= self._awaited:
                self._changed.notify_all()
        return fresh

    def keep(self, extent: Extent) -> None:
        """Record what of ``extent`` is written, for whoever comes after us."""
        with self._changed:
            lacking = self._written.lacking(extent)
        for start, stop in _between(extent, lacking):
            self._assembly.keep(Extent(start, stop))

    def forget(self, extent: Extent) -> None:
        """Take bytes for missing again: they have proved wrong."""
        with self._changed:
            self._assembly.forget(extent)
            self._written.remove(extent)
            self._claimed.remove(extent)

    def discard(self) -> None:
        """Take everything for missing again."""
        with self._changed:
            self._assembly.discard()
            self._written.remove(self._whole)
            self._claimed.remove(self._whole)

    def end(self) -> None:
        """Nothing more comes: whoever waits goes on."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def front(self, position: int) -> int:
        """Return up to where there is no gap behind ``position``."""
        with self._changed:
            return self._written.front(position)

    def wait(self, position: int) -> int:
        """Wait for a byte at ``position``; return up to where there is no gap behind it, ``position`` at the end."""
        with self._changed:
            self._awaited = position
            while (front := self._written.front(position)) <= position and not self._over:
                self._changed.wait()
            return front

    def read(self, position: int, buffer: memoryview) -> int:
        """Fill ``buffer`` with bytes that are there; return how many."""
        return self._assembly.read(position, buffer)

    def wrong(self, index: ChunkIndex) -> list[Extent]:
        """Return the chunks that are there and are not what ``index`` says, or are there in part only."""
        buffer = memoryview(bytearray(CHUNK))
        return [
            index.extent(number)
            for number in range(len(index))
            if self._touched(index.extent(number)) and self._chunk(index.extent(number), buffer) != index.digest(number)
        ]

    def _touched(self, extent: Extent) -> bool:
        with self._changed:
            return self._written.lacking(extent) != [extent]

    def _chunk(self, extent: Extent, buffer: memoryview) -> bytes:
        """Return the digest of a chunk as it is on disk; empty when it is not all there."""
        with self._changed:
            if self._written.lacking(extent):
                return b""
        state, position = blake3(), extent.start
        while position < extent.stop:
            count = self._assembly.read(position, buffer[: extent.stop - position])
            if not count:
                return b""
            state.update(buffer[:count])
            position += count
        return state.digest()


def _present(missing: list[Extent], size: int) -> list[Extent]:
    return _between(Extent(0, size), missing)


def _between(extent: Extent, gaps: list[Extent]) -> list[Extent]:
    """Return ``extent`` without ``gaps``, which lie in it, in ascending order."""
    edges = [extent.start, *(edge for gap in gaps for edge in gap), extent.stop]
    return [Extent(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop]
