"""Stretches of bytes and sets of them: which parts of a blob are there, which are wanted, which are missing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["Extent", "Extents"]


class Extent(NamedTuple):
    """The bytes from ``start`` up to, but not including, ``stop``."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.stop - self.start


class Extents:
    """A set of bytes, kept as the fewest extents in ascending order. Not thread-safe.

    Args:
        extents: To begin with; may overlap and come in any order.
    """

    def __init__(self, extents: Iterable[Extent] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for extent in extents:
            self.add(extent)

    def __iter__(self) -> Iterator[Extent]:
        return map(Extent, self._starts, self._stops)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extents):
            return NotImplemented
        return (self._starts, self._stops) == (other._starts, other._stops)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Extents({', '.join(f'{e.start}-{e.stop}' for e in self)})"

    def __contains__(self, extent: Extent) -> bool:
        """Return whether every byte of ``extent`` is in the set."""
        at = bisect_right(self._starts, extent.start) - 1
        return extent.start >= extent.stop or (at >= 0 and self._stops[at] >= extent.stop)

    @property
    def size(self) -> int:
        """Number of bytes."""
        return sum(self._stops) - sum(self._starts)

    def add(self, extent: Extent) -> int:
        """Add bytes.

        Returns:
            How many of them were not in the set.
        """
        start, stop = extent
        if start >= stop:
            return 0
        first = bisect_left(self._stops, start)  # the first that touches or follows
        last = bisect_right(self._starts, stop)  # the first that lies wholly behind
        there = sum(max(0, min(stop, self._stops[at]) - max(start, self._starts[at])) for at in range(first, last))
        if first < last:
            start, stop = min(start, self._starts[first]), max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]
        return extent.size - there

    def remove(self, extent: Extent) -> None:
        """Take bytes out; those that are not in the set do not matter."""
        kept = (
            [
                piece
                for old in self
                for piece in (
                    Extent(old.start, min(old.stop, extent.start)),
                    Extent(max(old.start, extent.stop), old.stop),
                )
                if piece.start < piece.stop
            ]
            if extent.start < extent.stop
            else list(self)
        )
        self._starts = [piece.start for piece in kept]
        self._stops = [piece.stop for piece in kept]

    def front(self, start: int = 0) -> int:
        """Return where the bytes that are there from ``start`` on without a gap end."""
        at = bisect_right(self._starts, start) - 1
        return max(start, self._stops[at]) if at >= 0 else start

    def lacking(self, extent: Extent) -> list[Extent]:
        """Return the bytes of ``extent`` that are not in the set, in ascending order."""
        gaps, position = [], extent.start
        for at in range(bisect_right(self._stops, extent.start), bisect_left(self._starts, extent.stop)):
            if position < self._starts[at]:
                gaps.append(Extent(position, self._starts[at]))
            position = self._stops[at]
        if position < extent.stop:
            gaps.append(Extent(position, extent.stop))
        return gaps

    def missing(self, size: int) -> list[Extent]:
        """Return what lacks of ``size`` bytes, in ascending order."""
        return self.lacking(Extent(0, size))
