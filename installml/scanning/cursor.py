"""Read forward through one content: every read is checked against what is left, and costs steps of the budget.

The content is read in blocks, so that small fields cost no read each; memory is one block, whatever the file's size.
"""

from __future__ import annotations

import builtins
import struct

from installml.scanning.finding import Budget, Content, Unreadable

__all__ = ["Blocks", "Cursor"]

_BLOCK = 256 << 10
_LARGEST = 8 << 20  # what Content.read_at is asked for at once


class Blocks:
    """A content behind one block of buffer, shared by all cursors over it."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._start = 0
        self._block = b""

    def read(self, offset: int, count: int) -> bytes:
        """Return at most ``count`` bytes from ``offset``, fewer only at the content's end."""
        start = offset - self._start
        if start >= 0 and start + count <= len(self._block):
            return self._block[start : start + count]
        if count > _BLOCK:
            return self._large(offset, count)
        self._block, self._start = self._content.read_at(offset, _BLOCK), offset
        return self._block[:count]

    def _large(self, offset: int, count: int) -> bytes:
        parts: list[bytes] = []
        while count and (part := self._content.read_at(offset, min(count, _LARGEST))):
            parts.append(part)
            offset += len(part)
            count -= len(part)
        return b"".join(parts)


class Cursor:
    """A position in a window of a content.

    Args:
        blocks: The content.
        budget: What may be spent.
        start: Where the window begins, in bytes of the content.
        end: Where it ends.
        order: "<" for little-endian numbers, ">" for big.
    """

    __slots__ = ("_blocks", "_budget", "end", "order", "position")

    def __init__(self, blocks: Blocks, budget: Budget, start: int, end: int, order: str = "<") -> None:
        self._blocks = blocks
        self._budget = budget
        self.position = start
        self.end = end
        self.order = order

    @classmethod
    def over(cls, content: Content, budget: Budget) -> Cursor:
        """Stand at the front of a whole content."""
        return cls(Blocks(content), budget, 0, content.size)

    @property
    def remaining(self) -> int:
        """Bytes between here and the window's end."""
        return self.end - self.position

    def window(self, start: int, end: int) -> Cursor:
        """Open a cursor on a part of the same content."""
        return Cursor(self._blocks, self._budget, start, end, self.order)

    def step(self) -> None:
        """Account for one small step."""
        self._budget.step()

    def skip(self, count: int, what: str) -> None:
        """Pass over bytes without reading them."""
        self._check(count, what)
        self.position += count

    def bytes(self, count: int, what: str, *, cap: int = 1 << 20) -> builtins.bytes:
        """Read exactly ``count`` bytes.

        Args:
            count: How many.
            what: What they are, for the reason.
            cap: The most that is sane here.

        Raises:
            Unreadable: More than the cap, or more than there is.
        """
        self._check(count, what)
        if count > cap:
            raise Unreadable(f"has {what} of {count} bytes, at most {cap} are read", self.position)
        data = self._blocks.read(self.position, count)
        if len(data) != count:
            raise Unreadable(f"ends in the middle of {what}", self.position)
        self.position += count
        return data

    def peek(self, count: int) -> builtins.bytes:
        """Read up to ``count`` bytes and stay."""
        return self._blocks.read(self.position, min(count, self.remaining))

    def _check(self, count: int, what: str) -> None:
        self._budget.step()
        if not 0 <= count <= self.remaining:
            raise Unreadable(f"promises {what} of {count} bytes where {self.remaining} are left", self.position)

    def number(self, code: str, what: str) -> int:
        """Read one whole number by its `struct` letter."""
        form = self.order + code
        return int(struct.unpack(form, self.bytes(struct.calcsize(form), what))[0])

    def u32(self, what: str) -> int:
        """Read an unsigned 32-bit number."""
        return self.number("I", what)

    def u64(self, what: str) -> int:
        """Read an unsigned 64-bit number."""
        return self.number("Q", what)

    def text(self, count: int, what: str, *, cap: int = 1 << 20) -> str:
        """Read text; bytes that are not UTF-8 become replacement characters."""
        return self.bytes(count, what, cap=cap).decode("utf-8", "replace")
