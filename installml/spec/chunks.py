"""The chunk index of one blob: where its chunks begin and the BLAKE3 digest of each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ..digest import Digest
from .extents import Extent

__all__ = ["CHUNK_DIGEST", "ChunkIndex"]

CHUNK_DIGEST = 32
"""Bytes of one chunk's BLAKE3 digest."""


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """The chunks of one blob, in order, without gaps.

    Attributes:
        blob: Digest of the blob.
        bounds: Offsets at which chunks begin, ascending from 0, and at last the blob's size: one more than chunks.
        digests: BLAKE3 digests of the chunks, 32 bytes each, one after the other.
    """

    blob: Digest
    bounds: Sequence[int]
    digests: bytes

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self.bounds[-1]

    def extent(self, number: int) -> Extent:
        """Return where chunk ``number`` lies."""
        return Extent(self.bounds[number], self.bounds[number + 1])

    def digest(self, number: int) -> bytes:
        """Return the BLAKE3 digest of chunk ``number``."""
        return self.digests[number * CHUNK_DIGEST : (number + 1) * CHUNK_DIGEST]

    def touching(self, extent: Extent) -> range:
        """Return the numbers of the chunks that have bytes in ``extent``."""
        return range(bisect_right(self.bounds, extent.start) - 1, min(len(self), bisect_left(self.bounds, extent.stop)))

    def aligned(self, extent: Extent) -> Extent:
        """Return ``extent`` widened to whole chunks."""
        chunks = self.touching(extent)
        return Extent(self.bounds[chunks.start], self.bounds[chunks.stop])
