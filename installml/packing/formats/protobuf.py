"""Walk Protocol Buffers on the wire without a schema compiler (protobuf.dev, "Encoding").

A field's payload is a span of the file, read only when somebody asks: weights are passed over by seeking.
Depth is bounded by the callers, which name every level; the number of fields is bounded here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from installml.packing.formats.reader import Reader

__all__ = ["Field", "Walk"]

MAX_FIELDS = 2_000_000
_VARINT, _FIXED64, _LENGTH, _START_GROUP, _END_GROUP, _FIXED32 = range(6)


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its number, and a number or the payload's window."""

    number: int
    value: int
    payload: Reader | None

    def text(self, *, cap: int = 4096) -> str:
        """Read the payload as text; longer ones and numbers give an empty text."""
        if self.payload is None or self.payload.remaining > cap:
            return ""
        return self.payload.bytes(self.payload.remaining, cap=cap).decode("utf-8", "replace")


def varint(reader: Reader) -> int:
    """Read a base-128 number of at most ten bytes."""
    start = reader.position
    data = reader.peek(10)
    value = 0
    for index, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            reader.skip(index + 1)
            return value & 0xFFFFFFFFFFFFFFFF
    raise reader.fail("holds a number without an end", offset=start)


def signed(value: int) -> int:
    """Read a 64-bit varint as int64."""
    return value - (1 << 64) if value >= 1 << 63 else value


class Walk:
    """Iterate over messages of one file under one budget of fields."""

    def __init__(self, budget: int = MAX_FIELDS) -> None:
        self._left = budget

    def fields(self, reader: Reader | None) -> Iterator[Field]:
        """Give a message's fields in order.

        Args:
            reader: The message's window; None for a field that is no message gives nothing.

        Raises:
            FormatError: A field reaches over the end, has no known wire type, or there are too many.
        """
        while reader is not None and reader.remaining:
            self._left -= 1
            if self._left < 0:
                raise reader.fail("has more fields than are accepted")
            yield _field(reader)

    def integers(self, field: Field) -> Iterator[int]:
        """Give a repeated integer field's values, packed or not."""
        if field.payload is None:
            yield signed(field.value)
            return
        while field.payload.remaining:
            self._left -= 1
            if self._left < 0:
                raise field.payload.fail("has more numbers than are accepted")
            yield signed(varint(field.payload))


def _field(reader: Reader) -> Field:
    start = reader.position
    key = varint(reader)
    number, wire = key >> 3, key & 7
    if not 0 < number < 1 << 29:
        raise reader.fail(f"field number {number} does not exist", offset=start)
    if wire == _VARINT:
        return Field(number, varint(reader), None)
    if wire in (_FIXED64, _FIXED32):
        reader.skip(8 if wire == _FIXED64 else 4, "a field")
        return Field(number, 0, None)
    if wire != _LENGTH:  # groups ended with proto2; no model format has them
        raise reader.fail(f"wire type {wire} is not accepted", offset=start)
    size = varint(reader)
    at = reader.position
    reader.skip(size, "a field")
    return Field(number, 0, reader.window(at, size))
