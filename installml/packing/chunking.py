"""Where a large file is cut into chunks, and the BLAKE3 digest of each, beside the one read that hashes it.

The cut depends on the bytes alone, never on the file's name, so the same blob has the same index everywhere. It follows
the tensors of safetensors and GGUF files, because tensors keep their bytes when a header grows or a neighbour changes;
everything else is cut every MiB. Rules (docs/adr/0006):

- the end of the header is a cut, so that an edited header costs the header;
- behind it a chunk has 0.75 to 1.75 MiB; it ends at the first large tensor's start in that stretch, else at the last
  small tensor's start up to 1 MiB, else at 1 MiB. So every large tensor (0.75 MiB and more) begins a chunk, is cut
  every MiB from its start, and small ones share chunks. Only a section's last chunk may be shorter.
"""

from __future__ import annotations

import io
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..digest import CHUNK, Digest, Readable
from ..errors import FormatError, SizeMismatch
from ..spec.chunks import LARGE, ChunkIndex
from .hashing import HEADER

if TYPE_CHECKING:
    from blake3 import blake3

__all__ = ["Chunker", "Chunking", "boundaries", "index_stream"]

_MIB = 1 << 20
_LEAST = 3 * _MIB // 4
"""Bytes of a chunk at least, but at the end of a section; also what makes a tensor large."""
_MOST = _LEAST + _MIB


def boundaries(size: int, head: bytes) -> Sequence[int]:
    """Return where the chunks of a file begin, and its size at the end.

    Args:
        size: Bytes of the file.
        head: Its first ``HEADER`` bytes, or all when it has fewer.
    """
    starts = _tensor_starts(size, head[:HEADER])
    data = starts[0] if starts else 0
    bounds = array("Q", [0])
    _cut(bounds, data, ())
    _cut(bounds, size, starts)
    return bounds


def _tensor_starts(size: int, head: bytes) -> list[int]:
    """Return the offsets at which tensors begin, ascending; none when the file is of no format with tensors."""
    from .formats import gguf, safetensors  # all formats come with them: not for a push of files that are known
    from .formats.reader import Reader

    read = gguf.tensor_starts if head.startswith(gguf.MAGIC) else safetensors.tensor_starts
    try:
        starts = read(Reader(io.BytesIO(head), "the file", len(head)), size)
    except FormatError:  # opaque to us, which is no fault of the file
        return []
    return sorted({start for start in starts if 0 < start < size})


def _cut(bounds: array[int], stop: int, starts: Sequence[int]) -> None:
    """Cut from the last bound up to ``stop``, which becomes a bound."""
    at = bounds[-1]
    while stop - at >= _MOST:
        at = _next(at, stop, starts)
        bounds.append(at)
    if at < stop:
        bounds.append(stop)


def _next(at: int, stop: int, starts: Sequence[int]) -> int:
    first, behind = bisect_left(starts, at + _LEAST), bisect_left(starts, at + _MOST)
    for number in range(first, behind):
        end = starts[number + 1] if number + 1 < len(starts) else stop
        if end - starts[number] >= _LEAST:
            return starts[number]
    small = bisect_right(starts, at + _MIB) - 1
    return starts[small] if small >= first else at + _MIB


class Chunker:
    """Digests chunk by chunk what passes: a ``packing.hashing.Observer``.

    Args:
        bounds: From ``boundaries``.
        keep: Given the index at the end.
    """

    def __init__(self, bounds: Sequence[int], keep: Callable[[ChunkIndex], None] | None = None) -> None:
        self._bounds = bounds
        self._keep = keep
        self._number = 0  # of the chunk that is being read
        self._at = 0
        self._digests = bytearray()
        self._hash = _fresh()
        self.index: ChunkIndex | None = None

    def update(self, block: memoryview | bytes | bytearray, /) -> None:
        """Take the next bytes."""
        view = memoryview(block)
        while view and self._number + 1 < len(self._bounds):
            part = view[: self._bounds[self._number + 1] - self._at]
            self._hash.update(part)
            self._at += len(part)
            view = view[len(part) :]
            if self._at == self._bounds[self._number + 1]:
                self._digests += self._hash.digest()
                self._hash = _fresh()
                self._number += 1
        self._at += len(view)  # beyond the promised end: noticed by ``finish``

    def finish(self, digest: Digest, /) -> None:
        """Make the index of the blob ``digest``.

        Raises:
            SizeMismatch: The bytes were not as many as the bounds promise.
        """
        if self._at != self._bounds[-1]:
            raise SizeMismatch(self._bounds[-1], str(self._at), str(digest))
        self.index = ChunkIndex(digest, self._bounds, bytes(self._digests))
        if self._keep is not None:
            self._keep(self.index)


def _fresh() -> blake3:
    from blake3 import blake3

    return blake3()


class Chunking:
    """Makes the index of every large file of a build: a ``packing.hashing.Observe``.

    Args:
        keep: Given each index; called from several threads.
    """

    def __init__(self, keep: Callable[[ChunkIndex], None]) -> None:
        self._keep = keep

    def __call__(self, path: str, size: int, head: bytes) -> Chunker | None:
        """Return who looks at the bytes of a file; None for one that is small."""
        return Chunker(boundaries(size, head), self._keep) if size >= LARGE else None


def index_stream(stream: Readable, digest: Digest, size: int) -> ChunkIndex:
    """Read a blob once and return its index.

    Args:
        stream: Its bytes; whoever opened it proves them.
        digest: Its digest.
        size: Its bytes.

    Raises:
        SizeMismatch: There are fewer or more.
    """
    head = bytearray()
    while len(head) < min(size, HEADER) and (block := stream.read(min(CHUNK, HEADER - len(head)))):
        head += block
    chunker = Chunker(boundaries(size, bytes(head)))
    chunker.update(head)
    while block := stream.read(CHUNK):
        chunker.update(block)
    chunker.finish(digest)
    if chunker.index is None:  # pragma: no cover - finish has set it
        raise AssertionError
    return chunker.index
