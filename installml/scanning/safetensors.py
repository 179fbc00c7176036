"""safetensors: does the header tell the truth about the bytes behind it?

The rules are those of the format's description (github.com/huggingface/safetensors, "Format") and of its Rust reader
(`safetensors/src/tensor.rs`, `Metadata::validate`): at most 100 MB of header, a JSON object from the first byte, no
name twice, tensors fill the buffer without a gap and without an overlap. Only the header is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, TypeGuard

from installml.packing.formats.safetensors import BITS
from installml.scanning.cursor import Cursor
from installml.scanning.finding import Content, Exhausted, Rule, Severity, Visit

__all__ = ["RULES", "SAFETENSORS"]

MAX_HEADER = 100_000_000
_MAX_VALUES = 4_000_000
_MAX_RANK = 64
_METADATA = "__metadata__"
_FETCH = "Get the file again from its maker, or write it again with the safetensors library."

HEADER = Rule(
    "safetensors-header",
    Severity.high,
    "A safetensors header is not what the format allows",
    "Its length lies, it is no JSON object, or an entry lacks what every tensor has. Readers that check less would "
    "take memory they should not, or read outside the file.",
    _FETCH,
)
TWICE = Rule(
    "safetensors-duplicate",
    Severity.high,
    "A name stands twice in a safetensors header",
    "Which of the two counts differs from reader to reader, so that one program checks what another does not load.",
    _FETCH,
)
RANGE = Rule(
    "safetensors-range",
    Severity.high,
    "A tensor lies outside its safetensors file",
    "Its offsets end before they begin or reach behind the last byte; who believes them reads foreign memory.",
    _FETCH,
)
OVERLAP = Rule(
    "safetensors-overlap",
    Severity.high,
    "Tensors of a safetensors file overlap",
    "The format forbids it: two names for the same bytes hide what a file holds.",
    _FETCH,
)
GAP = Rule(
    "safetensors-gap",
    Severity.high,
    "A safetensors file has bytes that belong to no tensor",
    "The format forbids it, because something else, such as a program or an archive, can lie there.",
    _FETCH,
)
SIZE = Rule(
    "safetensors-size",
    Severity.high,
    "A tensor does not have the size that its shape promises",
    "Number format and shape ask for more or fewer bytes than the offsets give.",
    _FETCH,
)
NUMBERS = Rule(
    "safetensors-dtype",
    Severity.medium,
    "A safetensors file uses a number format that is not known here",
    "Whether the tensor's size is right cannot be checked.",
    "Look whether the safetensors format has this number format; if so, update InstallML.",
)
RULES = (HEADER, TWICE, RANGE, OVERLAP, GAP, SIZE, NUMBERS)


class _Safetensors:
    name = "safetensors"

    def claims(self, head: bytes, name: str) -> bool:
        if name.endswith(".safetensors"):
            return True
        begins = head[8:].lstrip()[:1] == b"{" and b'"data_offsets"' in head
        return begins and int.from_bytes(head[:8], "little") <= MAX_HEADER

    def scan(self, content: Content, visit: Visit) -> None:
        cursor = Cursor.over(content, visit.budget)
        data = _header(cursor, visit)
        if data is None:
            return
        twice: list[str] = []
        header = _parse(data, visit, twice)
        for name in dict.fromkeys(twice):
            visit.found(TWICE, f"{name[:120]!r}", 8)
        if header is not None:
            _check(header, visit, cursor.remaining, cursor.position)


def _header(cursor: Cursor, visit: Visit) -> bytes | None:
    size = cursor.u64("the header's length")
    if size > min(cursor.remaining, MAX_HEADER):
        reason = f"promises a header of {size} bytes; {cursor.remaining} are in the file, {MAX_HEADER} are allowed"
        visit.found(HEADER, reason, 0)
        return None
    data = cursor.bytes(size, "the header", cap=MAX_HEADER)
    if not data.startswith(b"{"):
        visit.found(HEADER, "does not begin with {", 8)
        return None
    return data


def _parse(data: bytes, visit: Visit, twice: list[str]) -> Mapping[str, Any] | None:
    values = data.count(b",") + data.count(b"[") + data.count(b"{")
    if values > _MAX_VALUES:
        raise Exhausted(f"has a header of {values} values; {_MAX_VALUES} are read")
    visit.budget.step(values)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                twice.append(key)
            found[key] = value
        return found

    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        visit.found(HEADER, f"is not JSON: {reason}", 8 + getattr(error, "pos", 0))
        return None
    return header if isinstance(header, dict) else None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check(header: Mapping[str, Any], visit: Visit, room: int, start: int) -> None:
    metadata = header.get(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        visit.found(HEADER, f"{_METADATA} is not a table of texts", 8)
    spans = [span for name, entry in header.items() if name != _METADATA for span in _tensor(name, entry, visit, room)]
    _check_spans(sorted(spans), visit, room, start)


def _tensor(name: str, entry: Any, visit: Visit, room: int) -> Iterator[tuple[int, int, str]]:
    """Check one entry, and yield its span where it has one in the file."""
    visit.budget.step()
    shown = f"tensor {name[:120]!r}"
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(dtype, str) or not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        visit.found(HEADER, f"{shown} lacks dtype, shape or data_offsets as the format has them", 8)
        return
    begin, end = offsets
    if not begin <= end <= room:
        visit.found(RANGE, f"{shown} is said to lie at {begin} to {end} of {room} bytes", 8)
        return
    if dtype not in BITS:
        visit.found(NUMBERS, f"{shown} has the number format {dtype[:40]!r}", 8)
    elif prod(shape) * BITS[dtype] != (end - begin) * 8:
        visit.found(SIZE, f"{shown} of {dtype} {shape[:8]} has {end - begin} bytes", 8)
    yield begin, end, name


def _naturals(value: Any) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) <= _MAX_RANK
        and all(type(item) is int and 0 <= item < 2**63 for item in value)
    )


def _check_spans(spans: list[tuple[int, int, str]], visit: Visit, room: int, start: int) -> None:
    at = 0
    for begin, end, name in spans:
        if begin < at and end > begin:
            visit.found(OVERLAP, f"tensor {name[:120]!r} begins {at - begin} bytes before the one before it ends", 8)
        elif begin > at:
            visit.found(GAP, f"{begin - at} bytes before tensor {name[:120]!r}", start + at)
        at = max(at, end)
    if at < room:
        visit.found(GAP, f"{room - at} bytes behind the last tensor", start + at)


SAFETENSORS = _Safetensors()
