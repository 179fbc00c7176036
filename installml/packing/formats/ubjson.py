"""UBJSON as XGBoost writes it (ubjson.org, draft 12): walked, not loaded.

Only texts and numbers at paths that the caller wants are kept; typed arrays are passed over in one step.
"""

from __future__ import annotations

from collections.abc import Iterator

from installml.packing.formats.reader import Reader

__all__ = ["walk"]

MAX_VALUES = 2_000_000
_MAX_DEPTH = 64
_MAX_KEY = 64 << 10
_KEPT = 4096
#: Marker -> `struct` letter and width; draft 12 writes numbers big-endian
_NUMBERS = {
    b"i": ("b", 1), b"U": ("B", 1), b"I": ("h", 2), b"l": ("i", 4), b"L": ("q", 8), b"d": ("f", 4), b"D": ("d", 8)
}  # fmt: skip
_INTEGERS = (b"i", b"U", b"I", b"l", b"L")
_CONSTANTS = {b"Z": "null", b"T": "true", b"F": "false"}


class _Walk:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._left = MAX_VALUES

    def marker(self) -> bytes:
        marker = b"N"
        while marker == b"N":
            self._count()
            marker = self._reader.bytes(1, cap=1, what="a value")
        return marker

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._reader.fail("holds more values than are accepted")

    def length(self) -> int:
        return self._integer(self.marker())

    def _integer(self, marker: bytes) -> int:
        if marker not in _INTEGERS:
            raise self._reader.fail(f"marker {marker!r} stands where a length must", offset=self._reader.position - 1)
        value = int(self._reader.number(_NUMBERS[marker][0], "a length"))
        if value < 0:
            raise self._reader.fail("has a negative length")
        return value

    def value(self, marker: bytes, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
        reader = self._reader
        self._count()  # a typed container of constants has no bytes of its own
        if len(path) > _MAX_DEPTH:
            raise reader.fail("is nested too deeply")
        if marker in (b"{", b"["):
            yield from self._container(marker == b"{", path)
        elif marker in _NUMBERS:
            yield path, str(reader.number(_NUMBERS[marker][0]))
        elif marker in _CONSTANTS:
            yield path, _CONSTANTS[marker]
        elif marker in (b"S", b"H"):
            yield path, self._string()
        elif marker == b"C":
            yield path, chr(reader.u8())
        else:
            raise reader.fail(f"marker {marker!r} does not exist", offset=reader.position - 1)

    def _string(self) -> str:
        size = self.length()
        if size > _KEPT:
            self._reader.skip(size, "a text")
            return ""
        return self._reader.bytes(size, cap=_KEPT, what="a text").decode("utf-8", "replace")

    def _container(self, keyed: bool, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
        kind, count, marker = self._head()
        if count is not None and kind in _NUMBERS and not keyed:
            self._reader.skip(count * _NUMBERS[kind][1], "an array")
            return
        index = 0
        while index < count if count is not None else marker not in (b"}", b"]"):
            key = str(index)
            if keyed:
                size = self._integer(marker) if marker else self.length()
                key = self._reader.text(size, cap=_MAX_KEY, what="a key")
                marker = b""
            yield from self.value(kind or marker or self.marker(), (*path, key))
            index += 1
            marker = b"" if count is not None else self.marker()

    def _head(self) -> tuple[bytes, int | None, bytes]:
        """Read a container's optional type and count; give the marker after them where there is no count."""
        kind, marker = b"", self.marker()
        if marker == b"$":
            kind, marker = self._reader.bytes(1, cap=1, what="a type"), self.marker()
        if marker == b"#":
            return kind, self.length(), b""
        if kind:
            raise self._reader.fail("a typed container lacks its count", offset=self._reader.position - 1)
        return kind, None, marker


def walk(reader: Reader) -> Iterator[tuple[tuple[str, ...], str]]:
    """Give every number, text and constant with the keys that lead to it.

    Args:
        reader: Stands at the outermost value.

    Raises:
        FormatError: A length is negative or reaches over the end, nesting is too deep, or values are too many.
    """
    reader.order = "big"
    state = _Walk(reader)
    yield from state.value(state.marker(), ())
