"""Walk Protocol Buffers on the wire (protobuf.dev, "Encoding") without a schema: numbers, and windows of bytes.

Weights are passed over unread. Depth is bounded by the callers, which name every level; fields by the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from installml.scanning.cursor import Cursor
from installml.scanning.finding import Unreadable

__all__ = ["Field", "fields", "integers"]

_VARINT, _FIXED64, _LENGTH, _START_GROUP, _END_GROUP, _FIXED32 = range(6)
_TEXT = 64 << 10


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Args:
        number: Which, as the schema numbers it.
        value: Of a varint; 0 for others.
        payload: Window of a length-delimited field, else None.
        offset: Where the field begins.
    """

    number: int
    value: int
    payload: Cursor | None
    offset: int

    def text(self, *, cap: int = _TEXT) -> str:
        """Return the payload as text, cut at ``cap`` bytes; empty for a field that is a number."""
        if self.payload is None:
            return ""
        window = self.payload.window(self.payload.position, self.payload.end)
        return window.text(min(window.remaining, cap), "a text", cap=cap)


def fields(cursor: Cursor | None) -> Iterator[Field]:
    """Yield a message's fields in order.

    Args:
        cursor: The message's window; None, for a field that should have been a message, yields nothing.

    Raises:
        Unreadable: A field reaches over the end, or has no wire type that model formats use.
    """
    while cursor is not None and cursor.remaining:
        yield _field(cursor)


def _field(cursor: Cursor) -> Field:
    start = cursor.position
    key = _varint(cursor)
    number, wire = key >> 3, key & 7
    if not 0 < number < 1 << 29:
        raise Unreadable(f"has a protobuf field of the impossible number {number}", start)
    if wire == _VARINT:
        return Field(number, _varint(cursor), None, start)
    if wire in (_FIXED64, _FIXED32):
        cursor.skip(8 if wire == _FIXED64 else 4, "a field")
        return Field(number, 0, None, start)
    if wire != _LENGTH:  # groups ended with proto2; no model format has them
        raise Unreadable(f"has a protobuf field of wire type {wire}", start)
    size = _varint(cursor)
    at = cursor.position
    cursor.skip(size, "a field")
    return Field(number, 0, cursor.window(at, at + size), start)


def _varint(cursor: Cursor) -> int:
    """Read a base-128 number of at most ten bytes."""
    cursor.step()
    value = 0
    for index, byte in enumerate(cursor.peek(10)):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            cursor.position += index + 1
            return value & 0xFFFFFFFFFFFFFFFF
    raise Unreadable("has a protobuf number without an end", cursor.position)


def integers(field: Field) -> Iterator[int]:
    """Yield a repeated integer field's values as int64, packed or not."""
    if field.payload is None:
        yield _signed(field.value)
        return
    while field.payload.remaining:
        yield _signed(_varint(field.payload))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
