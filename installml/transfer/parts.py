"""Which bytes are asked for in one request: large enough that requests cost little, small enough to lose little.

Pure. A part is what can be lost to a broken connection or a killed process, and what is asked for again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise

from ..spec.chunks import ChunkIndex
from ..spec.extents import Extent, Extents

__all__ = ["LARGEST", "SMALLEST", "Parts", "bridged", "part_size", "to_fetch"]

SMALLEST = 16 << 20
LARGEST = 64 << 20
"""Bytes of a part, unless somebody says otherwise."""
SECONDS = 2.0
"""How long one part should take on one connection."""
PARTS_A_CONNECTION = 4
"""Parts that a blob has for each connection at least, where it is large enough: then the last ones end together."""

GAP = 1 << 20
"""Bytes that are there already and fetched again rather than asked around: a request costs about as much."""
WIDE = 4
"""How much wider a gap may be when most of the blob lacks."""
GAPS_A_PART = 16
"""A gap is never larger than this share of a part, so that what is fetched again stays below a part."""
MOSTLY = 0.6
"""Share of a blob that lacks from which its scattered stretches are fetched as one."""
SCATTERED = 32 << 20
"""Bytes of one request in a blob of which stretches are there: more would grow the loss without saving requests."""


def part_size(size: int, rate: float, connections: int) -> int:
    """Return how many bytes one part of a blob should have, before it is aligned to chunks.

    Args:
        size: Bytes of the blob that lack.
        rate: Bytes a second that one connection brings; 0 when nobody knows yet.
        connections: Connections that may be open.
    """
    fair = size // max(1, connections * PARTS_A_CONNECTION)
    return max(SMALLEST, min(LARGEST, int(rate * SECONDS), fair))


def bridged(missing: Sequence[Extent], size: int, part: int = 0) -> list[Extent]:
    """Return ``missing`` with the small gaps between its extents filled: what is worth asking for.

    Gaps of at most ``GAP`` are fetched again. Where more than ``MOSTLY`` of the blob lacks, those that are ``WIDE``
    times as large are too, which makes one stretch of what is scattered all over; larger ones never are, because then
    the bytes cost more than the requests on any link.

    Args:
        missing: In ascending order.
        size: Bytes of the blob.
        part: Bytes of a part, if somebody has said so; else 0.
    """
    if not missing:
        return []
    gap = min(GAP, part // GAPS_A_PART) if part else GAP
    gap *= WIDE if sum(extent.size for extent in missing) > MOSTLY * size else 1
    joined = Extents(missing)
    for left, right in pairwise(missing):
        if right.start - left.stop <= gap:
            joined.add(Extent(left.stop, right.start))
    return list(joined)


def to_fetch(missing: Sequence[Extent], size: int, index: ChunkIndex | None = None, part: int = 0) -> list[Extent]:
    """Return the stretches that will be fetched when ``missing`` lacks: whole chunks, small gaps bridged.

    Args:
        missing: In ascending order.
        size: Bytes of the blob.
        index: The chunks that are compared one by one as they land, if they are.
        part: As ``bridged``.
    """
    whole = Extents(map(index.aligned, missing)) if index is not None else Extents(missing)
    return bridged(list(whole), size, part)


class Parts:
    """What of one blob is still to be asked for; parts are cut off when somebody takes them. Not thread-safe.

    Args:
        stretches: What to fetch, in ascending order, as ``to_fetch`` returns it.
        index: Chunks that no part may cut, or None.
        exact: Bytes of a part; 0 to choose by size and speed.
    """

    def __init__(self, stretches: Iterable[Extent], index: ChunkIndex | None = None, exact: int = 0) -> None:
        self._left = deque(stretches)
        self._index = index
        self._exact = exact
        self._scattered = len(self._left) > 1

    def __bool__(self) -> bool:
        return bool(self._left)

    @property
    def size(self) -> int:
        """Bytes that nobody has taken."""
        return sum(extent.size for extent in self._left)

    def take(self, rate: float, connections: int) -> Extent:
        """Return the next part, the one nearest to the front of the blob.

        Args:
            rate: Bytes a second that one connection brings; 0 when nobody knows yet.
            connections: Connections that may be open.
        """
        first = self._left.popleft()
        wanted = self._exact or part_size(self.size + first.size, rate, connections)
        if self._scattered and not self._exact:
            wanted = min(wanted, SCATTERED)
        stop = first.start + wanted
        spare = 0 if self._exact else wanted // 2  # a smaller rest is not worth a request of its own
        if stop + spare >= first.stop:
            return first
        if self._index is not None:
            stop = self._index.aligned(Extent(stop - 1, stop)).stop
        if stop < first.stop:
            self._left.appendleft(Extent(stop, first.stop))
        return Extent(first.start, min(stop, first.stop))

    def give_back(self, extent: Extent) -> None:
        """Put bytes that did not come back to where they belong: before everything that lies behind them."""
        if extent.start >= extent.stop:
            return
        at = next((at for at, other in enumerate(self._left) if other.start > extent.start), len(self._left))
        self._left.insert(at, extent)

    def clear(self) -> None:
        """Forget everything: it comes another way."""
        self._left.clear()
