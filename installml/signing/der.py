"""The little DER (X.690) that PKCS #8 needs around an encrypted key: written whole, read to see what it will cost."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Element", "integer", "octets", "oid", "read_der", "sequence", "tagged"]

_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_MOST_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Element:
    """One value.

    Attributes:
        tag: Its type.
        content: Its bytes.
        children: What a sequence holds.
    """

    tag: int
    content: bytes
    children: tuple[Element, ...] = ()

    @property
    def integer(self) -> int:
        """The whole number that it is.

        Raises:
            ValueError: It is none, or a negative or very large one.
        """
        if self.tag != _INTEGER or not 1 <= len(self.content) <= 9 or self.content[0] & 0x80:
            raise ValueError("not a small whole number")
        return int.from_bytes(self.content)

    @property
    def oid(self) -> str:
        """The object identifier that it is.

        Raises:
            ValueError: It is none.
        """
        if self.tag != _OID or not self.content or len(self.content) > 32 or self.content[-1] & 0x80:
            raise ValueError("not an object identifier")
        arcs, value = [], 0
        for byte in self.content:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                arcs.append(value)
                value = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def read_der(data: bytes) -> Element:
    """Return the one value that ``data`` holds.

    Raises:
        ValueError: It is not DER, or nested deeper than keys are.
    """
    element, rest = _element(data, 0)
    if rest:
        raise ValueError("bytes after the end")
    return element


def _element(data: bytes, depth: int) -> tuple[Element, bytes]:
    if len(data) < 2 or depth > _MOST_DEPTH:
        raise ValueError("cut short or nested too deeply")
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start])
    if start > 6 or len(data) < start + length:
        raise ValueError("cut short")
    content, rest = data[start : start + length], data[start + length :]
    children = []
    remaining = content if tag == _SEQUENCE else b""
    while remaining:
        child, remaining = _element(remaining, depth + 1)
        children.append(child)
    return Element(tag, content, tuple(children)), rest


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of values."""
    return tagged(_SEQUENCE, b"".join(parts))


def octets(data: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tagged(_OCTETS, data)


def integer(value: int) -> bytes:
    """Return an INTEGER that is not negative."""
    return tagged(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1))


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER."""
    first, second, *rest = map(int, dotted.split("."))
    return tagged(_OID, b"".join(_base128(arc) for arc in (40 * first + second, *rest)))


def _base128(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def tagged(tag: int, content: bytes) -> bytes:
    """Return a value of any type."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content
