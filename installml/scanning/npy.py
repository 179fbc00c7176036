"""numpy's .npy files: the header is parsed and never evaluated, arrays of objects are scanned as the pickles they are.

Format: numpy.lib.format, versions 1.0 to 3.0.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any

from installml.scanning.content import Part
from installml.scanning.finding import Content, Rule, Severity, Unreadable, Visit

__all__ = ["NPY", "RULES"]

OBJECTS = Rule(
    "npy-object-array",
    Severity.medium,
    "A .npy file holds Python objects",
    "Such an array is a pickle; numpy loads it only with allow_pickle=True, and then runs whatever the pickle says. "
    "What the pickle imports has findings of its own.",
    "Save the values as numbers or texts of a fixed length.",
)
RULES = (OBJECTS,)

_MAGIC = b"\x93NUMPY"
#: numpy refuses headers of more than 10,000 characters unless it is told to trust the file.
_MAX_HEADER = 1 << 20
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'[^'\\\n]*'|"[^"\\\n]*")|(?P<number>-?[0-9]{1,18})L?|(?P<word>True|False|None)|(?P<sign>[][(){},:]))"""
)
_WORDS = {"True": True, "False": False, "None": None}
_MAX_TOKENS = 100_000
_MAX_DEPTH = 20
#: A type of numbers or of texts of a fixed length: order, kind, bytes an item, the unit of times.
_PLAIN = re.compile(r"[<>|=]?(?:\?|([biufcmMSUVa])([0-9]{1,9}))(?:\[[0-9]{0,9}[a-zA-Zμ]{1,7}(?:/[0-9]{1,9})?\])?")


class _Literal:
    """Reads the few literals of a header: texts without escapes, numbers, words, tuples, lists, dictionaries."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._tokens = 0

    def fail(self) -> Unreadable:
        return Unreadable("has a .npy header that is no plain dictionary", self._at)

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._at)
        self._tokens += 1
        if match is None or self._tokens > _MAX_TOKENS:
            raise self.fail()
        self._at = match.end()
        kind = match.lastgroup or ""
        return kind, match[kind]

    def _peek(self) -> str:
        match = _TOKEN.match(self._text, self._at)
        return match["sign"] or "" if match else ""

    def read(self) -> Any:
        """Return the one value of the text."""
        value = self._value(0)
        if self._text[self._at :].strip():
            raise self.fail()
        return value

    def _value(self, depth: int) -> Any:
        kind, word = self._next()
        if depth > _MAX_DEPTH:
            raise self.fail()
        if kind == "text":
            return word[1:-1]
        if kind == "number":
            return int(word)
        if kind == "word":
            return _WORDS[word]
        if word == "{":
            return self._dictionary(depth)
        if word in "([":
            values, comma = self._values(")" if word == "(" else "]", depth)
            one = word == "(" and len(values) == 1 and not comma
            return values[0] if one else (tuple(values) if word == "(" else values)
        raise self.fail()

    def _values(self, end: str, depth: int) -> tuple[list[Any], bool]:
        values: list[Any] = []
        comma = True
        while self._peek() != end:
            if not comma:
                raise self.fail()
            values.append(self._value(depth + 1))
            comma = self._peek() == ","
            if comma:
                self._next()
        self._next()
        return values, comma

    def _dictionary(self, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        comma = True
        while self._peek() != "}":
            key = self._value(depth + 1)
            if not comma or not isinstance(key, str) or key in values or self._next()[1] != ":":
                raise self.fail()
            values[key] = self._value(depth + 1)
            comma = self._peek() == ","
            if comma:
                self._next()
        self._next()
        return values


def _width(descr: Any) -> int | None:
    """Return the bytes of one item, None if it holds objects or cannot be told."""
    if isinstance(descr, str):
        match = _PLAIN.fullmatch(descr)
        if match is None:
            return None
        return int(match[2]) * (4 if match[1] == "U" else 1) if match[1] else 1
    if isinstance(descr, tuple) and len(descr) == 2 and _is_shape(descr[1]):  # a type with a shape
        width = _width(descr[0])
        return None if width is None else width * prod(descr[1])
    if not isinstance(descr, list):
        return None
    widths = [_field(field) for field in descr]
    return None if None in widths else sum(width for width in widths if width is not None)


def _field(field: Any) -> int | None:
    """Return the bytes of one field: (name, type) or (name, type, shape)."""
    if not isinstance(field, tuple) or len(field) not in (2, 3):
        return None
    shape = field[2] if len(field) == 3 else ()
    width = _width(field[1])
    shape = (shape,) if isinstance(shape, int) else shape
    return width * prod(shape) if width is not None and _is_shape(shape) else None


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) <= 64
        and all(type(size) is int and 0 <= size < 1 << 48 for size in value)
    )


class NpyScanner:
    """Knows .npy files by magic or name."""

    name = "npy"

    def claims(self, head: bytes, name: str) -> bool:
        """Claim by magic or name."""
        return head.startswith(_MAGIC) or name.endswith(".npy")

    def scan(self, content: Content, visit: Visit) -> None:
        """Scan one array after another, as numpy.load reads them from one file."""
        position = 0
        while position == 0 or content.read_at(position, len(_MAGIC)) == _MAGIC:
            visit.budget.entry()
            end = self._array(content, position, visit)
            if end is None:
                return
            position = end
        if content.read_at(position, 1):
            visit.enter("data behind the array", Part(content, position, content.size - position))

    def _array(self, content: Content, start: int, visit: Visit) -> int | None:
        """Scan one array and return where it ends, None if it goes on to the end as a pickle."""
        header, data = _header(content, start)
        shape, descr = header["shape"], header["descr"]
        width = _width(descr)
        if width is None:
            visit.found(OBJECTS, f"of type {str(descr)[:80]}", start)
            visit.enter("objects.pkl", Part(content, data, content.size - data))
            return None
        end = data + prod(shape) * width
        if end > data and (end >= 1 << 62 or not content.read_at(end - 1, 1)):
            raise Unreadable(f"promises {end - data} bytes of numbers that are not there", data)
        return int(end)


def _header(content: Content, start: int) -> tuple[dict[str, Any], int]:
    """Return a header's dictionary, and where the data begin."""
    head = content.read_at(start, 12)
    if len(head) < 10 or not head.startswith(_MAGIC) or (head[6], head[7]) not in ((1, 0), (2, 0), (3, 0)):
        raise Unreadable("is no .npy file of a known version", start)
    wide = 2 if head[6] == 1 else 4
    size = int.from_bytes(head[8 : 8 + wide], "little")
    text = content.read_at(start + 8 + wide, size) if size <= _MAX_HEADER else b""
    if len(text) != size or not size:
        raise Unreadable("has a .npy header that is cut off or too long", start)
    try:
        value = _Literal(text.decode("utf-8" if head[6] == 3 else "latin-1")).read()
    except UnicodeDecodeError as error:
        raise Unreadable("has a .npy header that is no text", start) from error
    known = isinstance(value, dict) and value.keys() == {"descr", "fortran_order", "shape"}
    if not known or not _is_shape(value["shape"]) or not isinstance(value["fortran_order"], bool):
        raise Unreadable("has a .npy header that numpy does not write", start)
    return value, start + 8 + wide + size


NPY = NpyScanner()
