"""GGUF: are all counts, lengths and offsets inside the file, and is the chat template only a template?

Version 2 and 3, either byte order (github.com/ggml-org/ggml, docs/gguf.md). Readers in C believe these numbers: a count
that lies has been a heap overflow (CVE-2024-21802, CVE-2024-23496, CVE-2024-23605). Weights are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from struct import unpack_from

from installml.packing.formats.gguf import TYPES
from installml.scanning.cursor import Cursor
from installml.scanning.finding import Content, Rule, Severity, Unreadable, Visit
from installml.scanning.programs import COMPILED, native
from installml.scanning.templates import UNPARSED, check_template, looks_like_template

__all__ = ["GGUF", "RULES"]

MAGIC = b"GGUF"
_MAX_PAIRS, _MAX_TENSORS, _MAX_ITEMS = 100_000, 1_000_000, 50_000_000
_MAX_KEY, _MAX_RANK, _MAX_NESTING = 65_535, 4, 4
_MAX_NAME = 512  # GGML_MAX_NAME is 64; programs for pictures are built with more
_MAX_TEXT = 4 << 20
_STRING, _ARRAY = 8, 9
#: Metadata value types of fixed size -> bytes
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
#: Number formats that ggml had once (ggml.h): elements a block, bytes a block.
_FORMER = {4: (32, 20), 5: (32, 24), 31: (32, 18), 32: (32, 18), 33: (32, 18), 36: (32, 18), 37: (32, 18), 38: (32, 18)}
_BLOCKS = {number: (elements, size) for number, (_, elements, size) in TYPES.items()} | _FORMER
_ALIGNMENT = "general.alignment"
_DEFAULT_ALIGNMENT = 32
_FETCH = "Get the file again from its maker, or convert the model again."

BOUNDS = Rule(
    "gguf-bounds",
    Severity.high,
    "A number in a GGUF file points outside the file",
    "A count, a length or an offset is larger than what is there. Programs that load GGUF have written outside their "
    "memory because of such numbers.",
    _FETCH,
)
OVERLAP = Rule(
    "gguf-overlap",
    Severity.high,
    "Tensors of a GGUF file overlap",
    "Two names stand for the same bytes, which no writer does: what is checked may not be what is loaded.",
    _FETCH,
)
ALIGNMENT = Rule(
    "gguf-alignment",
    Severity.high,
    "A GGUF file has a crooked alignment or offset",
    "The alignment must be a multiple of 8, and every tensor must begin at a multiple of it; programs that load the "
    "file read where they should not.",
    _FETCH,
)
TWICE = Rule(
    "gguf-duplicate",
    Severity.high,
    "A name stands twice in a GGUF file",
    "Which of the two counts differs from program to program, so that one checks what another does not load.",
    _FETCH,
)
NUMBERS = Rule(
    "gguf-type",
    Severity.medium,
    "A GGUF tensor has a number format that is not known here",
    "Whether the tensor lies inside the file cannot be checked to its end.",
    "Look whether your llama.cpp knows the number format; if so, update InstallML.",
)
GAP = Rule(
    "gguf-gap",
    Severity.medium,
    "A GGUF file has bytes that belong to no tensor",
    "More than alignment asks for lies between the tensors or behind the last one; something else can hide there.",
    _FETCH,
)
RULES = (BOUNDS, OVERLAP, ALIGNMENT, TWICE, NUMBERS, GAP)


@dataclass(slots=True)
class _Read:
    """One file that is being read."""

    cursor: Cursor
    visit: Visit
    items: int = _MAX_ITEMS
    alignment: int = _DEFAULT_ALIGNMENT
    sized: bool = True
    keys: set[str] = field(default_factory=set)


class _Outside(Exception):
    """Reading cannot go on; a finding has been made."""


class _Gguf:
    name = "gguf"

    def claims(self, head: bytes, name: str) -> bool:
        return head.startswith(MAGIC) or name.endswith(".gguf")

    def scan(self, content: Content, visit: Visit) -> None:
        read = _Read(Cursor.over(content, visit.budget), visit)
        try:
            tensors, pairs = _counts(read)
            for _ in range(pairs):
                _pair(read)
            _check_spans(read, sorted(_tensors(read, tensors)))
        except _Outside:
            return


def _counts(read: _Read) -> tuple[int, int]:
    cursor = read.cursor
    if cursor.bytes(4, "the magic number") != MAGIC:
        raise Unreadable("does not begin with GGUF", 0)
    version = cursor.u32("the version")
    if not version & 0xFFFF:  # a small number that looks huge was written in the other byte order
        cursor.order = ">"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version not in (2, 3):
        raise Unreadable(f"is GGUF version {version}; versions 2 and 3 are known", 4)
    tensors, pairs = cursor.u64("the tensor count"), cursor.u64("the metadata count")
    # The smallest tensor entry has 24 bytes, the smallest pair 13.
    if tensors > min(_MAX_TENSORS, cursor.remaining // 24) or pairs > min(_MAX_PAIRS, cursor.remaining // 13):
        _outside(read, f"promises {tensors} tensors and {pairs} metadata entries in {cursor.remaining} bytes", 8)
    return tensors, pairs


def _outside(read: _Read, detail: str, offset: int) -> None:
    read.visit.found(BOUNDS, detail, offset)
    raise _Outside


def _length(read: _Read, what: str, cap: int) -> int:
    """Read a length, and stop at one that reaches over the file's end or is larger than sane."""
    at = read.cursor.position
    size = read.cursor.u64(f"{what}'s length")
    if size > min(read.cursor.remaining, cap):
        _outside(read, f"{what} of {size} bytes; {read.cursor.remaining} are left, {cap} are accepted", at)
    return size


def _pair(read: _Read) -> None:
    cursor, at = read.cursor, read.cursor.position
    key = cursor.text(_length(read, "a metadata key", _MAX_KEY), "a metadata key")
    if key in read.keys:
        read.visit.found(TWICE, f"metadata key {key[:120]!r}", at)
    read.keys.add(key)
    kind = cursor.u32("a value's type")
    if key == _ALIGNMENT:
        _alignment(read, kind)
    elif kind == _STRING:
        _text(read, key)
    elif kind == _ARRAY:
        _array(read, key, 0)
    elif kind in _WIDTHS:
        cursor.skip(_WIDTHS[kind], "a metadata value")
    else:
        raise Unreadable(f"has metadata {key[:80]!r} of type {kind}, which does not exist", cursor.position - 4)


def _alignment(read: _Read, kind: int) -> None:
    at = read.cursor.position
    value = read.cursor.u32("the alignment") if kind == 4 else 0
    if value <= 0 or value % 8 or value > 1 << 20:
        read.visit.found(ALIGNMENT, f"{_ALIGNMENT} is {value if kind == 4 else 'no 32-bit number'}", at)
        raise _Outside
    read.alignment = value


def _text(read: _Read, key: str) -> None:
    size = _length(read, f"metadata {key[:80]!r}", read.cursor.remaining)
    at = read.cursor.position
    if size > _MAX_TEXT:
        if "chat_template" in key:
            read.visit.found(UNPARSED, f"metadata {key[:80]} has {size} bytes", at)
        read.cursor.skip(size, "a metadata text")
        return
    text = read.cursor.text(size, "a metadata text", cap=_MAX_TEXT)
    if "chat_template" in key or looks_like_template(text):
        certain = "chat_template" in key
        check_template(text, read.visit, offset=at, where=f"metadata {key[:80]}", certain=certain)


def _array(read: _Read, key: str, depth: int) -> None:
    cursor, at = read.cursor, read.cursor.position
    kind, count = cursor.u32("an array's type"), cursor.u64("an array's length")
    least = _WIDTHS.get(kind, {_STRING: 8, _ARRAY: 12}.get(kind, 0))
    if not least or depth >= _MAX_NESTING:
        raise Unreadable(f"has metadata {key[:80]!r}, an array of type {kind} at depth {depth}", at)
    if count * least > cursor.remaining:
        _outside(read, f"metadata {key[:80]!r} promises {count} items in {cursor.remaining} bytes", at)
    if kind in _WIDTHS:
        cursor.skip(count * least, "a metadata array")
        return
    read.visit.budget.step(count)
    read.items -= count
    if read.items < 0:
        _outside(read, f"metadata arrays of more than {_MAX_ITEMS} items", at)
    if kind == _STRING:
        _texts(read, key, count)
        return
    for _ in range(count):
        _array(read, key, depth + 1)


def _texts(read: _Read, key: str, count: int) -> None:
    """Pass over an array of texts; a vocabulary has some hundred thousand, so many are read with one step."""
    cursor = read.cursor
    form = f"{cursor.order}Q"
    while count:
        block = cursor.peek(64 << 10)
        at = 0
        while count and at + 8 <= len(block):
            size: int = unpack_from(form, block, at)[0]
            if size > cursor.end - cursor.position - at - 8:
                _outside(read, f"an item of metadata {key[:80]!r} has {size} bytes", cursor.position + at)
            at += 8 + size
            count -= 1
        if not at:
            _outside(read, f"metadata {key[:80]!r} lacks {count} items", cursor.position)
        cursor.skip(at, "texts")


def _tensors(read: _Read, count: int) -> Iterator[tuple[int, int, str]]:
    """Yield begin, end and name of each tensor, relative to where tensors begin."""
    names: set[str] = set()
    for _ in range(count):
        cursor, at = read.cursor, read.cursor.position
        name = cursor.text(_length(read, "a tensor's name", 4096), "a tensor's name")
        rank = cursor.u32("a tensor's rank")
        if rank > _MAX_RANK or len(name.encode()) >= _MAX_NAME:
            _outside(read, f"tensor {name[:120]!r} has {rank} dimensions, and a name of {len(name)} characters", at)
        shape = [cursor.u64("a tensor's size") for _ in range(rank)]
        kind, offset = cursor.u32("a tensor's type"), cursor.u64("a tensor's offset")
        if name in names:
            read.visit.found(TWICE, f"tensor {name!r}", at)
        names.add(name)
        if offset % read.alignment:
            read.visit.found(ALIGNMENT, f"tensor {name!r} begins at {offset}, no multiple of {read.alignment}", at)
        yield offset, offset + _bytes(read, name, kind, shape, at), name


def _bytes(read: _Read, name: str, kind: int, shape: list[int], at: int) -> int:
    if kind not in _BLOCKS:
        read.visit.found(NUMBERS, f"tensor {name!r} has type {kind}", at)
        read.sized = False
        return 0
    elements, size = _BLOCKS[kind]
    count = prod(shape)
    if count >= 2**63 or (shape and shape[0] % elements):
        read.visit.found(BOUNDS, f"tensor {name!r} has the impossible shape {shape}", at)
    return -(-count // elements) * size


def _check_spans(read: _Read, spans: list[tuple[int, int, str]]) -> None:
    cursor, found = read.cursor, read.visit.found
    start = -(-cursor.position // read.alignment) * read.alignment
    room = max(0, cursor.end - start)
    at = 0
    for begin, end, name in spans:
        if end > room:
            found(BOUNDS, f"tensor {name!r} is said to lie at {begin} to {end} of {room} bytes", cursor.position)
        elif begin < at:
            found(OVERLAP, f"tensor {name!r} begins {at - begin} bytes before the one before it ends", start + begin)
        elif begin - at >= read.alignment and read.sized:
            _gap(read, start + at, f"{begin - at} bytes before tensor {name!r}")
        at = max(at, end)
    if room - at >= read.alignment and read.sized:
        _gap(read, start + at, f"{room - at} bytes behind the last tensor")


def _gap(read: _Read, at: int, detail: str) -> None:
    read.visit.found(GAP, detail, at)
    if kind := native(read.cursor.window(at, read.cursor.end).peek(4096)):
        read.visit.found(COMPILED, f"{kind}, {detail}", at)


GGUF = _Gguf()
