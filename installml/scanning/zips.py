"""Zip archives, and so torch, npz, Keras 3 and skops files: every member is scanned, and none may be in doubt.

The central directory is read here and not by `zipfile`, because scanners and loaders that read an archive differently
are how a payload is shown to one and hidden from the other. APPNOTE numbers are those of PKWARE's .ZIP File Format
Specification 6.3.10.
"""

from __future__ import annotations

import lzma
import posixpath
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from installml.scanning.content import Expanded, Part, codecs
from installml.scanning.finding import Budget, Content, Exhausted, Rule, Severity, Unreadable, Visit
from installml.scanning.sniff import END_RECORD

__all__ = ["LINK", "RULES", "UNOPENABLE", "UNSAFE_NAME", "ZIPS", "unsafe_name"]

AMBIGUOUS = Rule(
    "zip-ambiguous",
    Severity.high,
    "A zip can be read in more than one way",
    "Its records contradict one another, so that two programs see different members: one is shown to scanners, the "
    "other is loaded.",
    "Do not load the file. Ask its maker for one written by an ordinary program.",
)
DOUBLED = Rule(
    "zip-doubled-name",
    Severity.high,
    "A zip has two members of one name",
    "Some programs take the first, some the last.",
    "Do not load the file. Ask its maker for one written by an ordinary program.",
)
OVERLAP = Rule(
    "zip-overlap",
    Severity.high,
    "Members of a zip overlap",
    "The same bytes count as parts of several members, as in decompression bombs and in files that mean two things.",
    "Do not load the file.",
)
PREFIX = Rule(
    "zip-prefix",
    Severity.high,
    "Something stands before a zip's first member",
    "The file is a zip and something else at once: what it is depends on the program that opens it.",
    "Do not load the file unless you know why it is like this.",
)
HIDDEN = Rule(
    "zip-hidden-member",
    Severity.high,
    "A zip holds a member that its directory does not list",
    "Programs that read an archive from its start find it, all others do not.",
    "Do not load the file.",
)
ENCRYPTED = Rule(
    "zip-encrypted",
    Severity.high,
    "A member of a zip is marked as encrypted",
    "What is encrypted cannot be scanned; some loaders ignore the mark and read the member as it is.",
    "Ask for a file without a password.",
)
UNSAFE_NAME = Rule(
    "archive-unsafe-name",
    Severity.high,
    "A member of an archive would be written outside its folder",
    "Its name is absolute, climbs with .., or has characters that some systems take for a separator or an end.",
    "Do not unpack the file.",
)
LINK = Rule(
    "archive-link",
    Severity.high,
    "An archive holds a link or a device",
    "Unpacking it can make later members land elsewhere, or show files of the machine as if they were the model's.",
    "Do not unpack the file.",
)
UNOPENABLE = Rule(
    "unscannable-container",
    Severity.high,
    "A container cannot be opened for scanning",
    "Nothing can be said about what is in it.",
    "Unpack it, look at what comes out, and ship the files themselves.",
)
RULES = (AMBIGUOUS, DOUBLED, OVERLAP, PREFIX, HIDDEN, ENCRYPTED, UNSAFE_NAME, LINK, UNOPENABLE)

_EXTENSIONS = (".zip", ".npz", ".keras", ".skops", ".whl", ".egg", ".mar", ".pt2")
_LOCAL = b"PK\x03\x04"
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_HEADER = struct.Struct("<4s5H3L2H")
_MAX_COMMENT = 65_535
_MAX_DIRECTORY = 64 << 20
_STEP = 1 << 20
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
#: 4.4.4: bit 0 encryption, 3 sizes follow the data, 6 strong encryption, 13 masked headers.
_SECRET = 1 | 1 << 6 | 1 << 13
_SIZES_FOLLOW = 1 << 3
_UTF8 = 1 << 11
_METHODS = {8: "deflate", 12: "bz2", 20: "zstd", 93: "zstd"}
#: A data descriptor with signature and 64-bit sizes (4.3.9) may stand between two members.
_DESCRIPTOR = 24


@dataclass(slots=True)
class _Entry:
    """One record of the central directory (4.3.12)."""

    name: str
    raw: bytes
    flags: int
    method: int
    packed: int
    size: int
    header: int
    mode: int
    data: int = 0

    @property
    def end(self) -> int:
        return self.data + self.packed


def unsafe_name(name: str) -> bool:
    """Say whether unpacking a member of this name could write outside the folder, on any system."""
    return (
        name.startswith("/") or bool(re.match(r"[A-Za-z]:", name)) or "\\" in name or "\0" in name
        or ".." in name.split("/")
    )  # fmt: skip


class ZipScanner:
    """Opens zips, by their first bytes, their end or their name."""

    name = "zip"

    def claims(self, head: bytes, name: str) -> bool:
        """Claim what begins like a zip or is called one."""
        return head.startswith((_LOCAL, END_RECORD, b"PK\x07\x08")) or name.endswith(_EXTENSIONS)

    def scan(self, content: Content, visit: Visit) -> None:
        """Check the archive, then scan every member."""
        entries, end = _Directory(content, visit).read()
        for entry in entries:
            _check_header(content, entry, visit)
        _check_names(entries, visit)
        _check_layout(content, entries, end, visit)
        _check_ratio(entries, visit.budget)
        for entry in entries:
            _enter(content, entry, visit)


class _Directory:
    """Finds and reads the central directory."""

    def __init__(self, content: Content, visit: Visit) -> None:
        self._content = content
        self._visit = visit
        self._size = content.size

    def read(self) -> tuple[list[_Entry], int]:
        """Return the entries, and where the directory begins."""
        at, (_, disk, first_disk, here, count, size, offset, _) = self._end_record()
        if disk or first_disk or here != count:
            self._visit.found(AMBIGUOUS, "it says that it is one of several volumes", at)
        end = at
        wide = self._end_record64(at)
        if wide is not None:
            end, wide_values = wide
            for narrow, value, full in zip(
                (count, size, offset), wide_values, (_FULL16, _FULL32, _FULL32), strict=True
            ):
                if narrow not in (full, value):
                    self._visit.found(AMBIGUOUS, f"its two end records say {narrow} and {value}", at)
            count, size, offset = wide_values
        start = end - size
        if start < 0:
            raise Unreadable("has a directory larger than the file", at)
        if start != offset:
            self._visit.found(PREFIX, f"the directory stands at byte {start} and not at {offset}", start)
        entries = list(self._entries(start, end, shift=start - offset))
        if len(entries) != count:
            self._visit.found(AMBIGUOUS, f"it promises {count} members and lists {len(entries)}", start)
        return entries, start

    def _end_record(self) -> tuple[int, tuple[int, ...]]:
        """Find the end record (4.3.16) as `zipfile` and miniz do: the last one in the last 64 KiB."""
        start = max(0, self._size - _MAX_COMMENT - _END.size)
        tail = self._content.read_at(start, self._size - start)
        at = tail.rfind(END_RECORD)
        while at >= 0 and at > len(tail) - _END.size:
            at = tail.rfind(END_RECORD, 0, at)
        if at < 0:
            raise Unreadable("has no end of a zip's directory", self._size)
        record = _END.unpack_from(tail, at)
        if at + _END.size + record[-1] != len(tail):
            self._visit.found(AMBIGUOUS, "its end record is not at the end", start + at)
        elif record[-1] and END_RECORD in tail[at + 4 :]:
            self._visit.found(AMBIGUOUS, "its comment holds an end record", start + at)
        earlier = tail.rfind(END_RECORD, 0, at)
        if earlier >= 0 and earlier + _END.size + _END.unpack_from(tail, earlier)[-1] == len(tail):
            self._visit.found(AMBIGUOUS, "it has two end records", start + earlier)
        return start + at, record

    def _end_record64(self, at: int) -> tuple[int, tuple[int, int, int]] | None:
        """Read the zip64 records (4.3.14, 4.3.15) in front of the end record, if there are any."""
        locator = self._content.read_at(at - _LOCATOR.size, _LOCATOR.size) if at >= _LOCATOR.size else b""
        if not locator.startswith(b"PK\x06\x07"):
            return None
        where = at - _LOCATOR.size - _END64.size
        data = self._content.read_at(where, _END64.size) if where >= 0 else b""
        if len(data) < _END64.size or not data.startswith(b"PK\x06\x06"):
            raise Unreadable("has a broken zip64 end record", max(0, where))
        values = _END64.unpack(data)
        if _LOCATOR.unpack(locator)[2] != where or values[1] != _END64.size - 12 or values[6] != values[7]:
            self._visit.found(AMBIGUOUS, "its zip64 end record is not where it should be, or larger", where)
        return where, (values[7], values[8], values[9])

    def _entries(self, start: int, end: int, *, shift: int) -> Iterator[_Entry]:
        if end - start > _MAX_DIRECTORY:
            raise Exhausted(f"has a zip directory of {end - start} bytes")
        buffer, base, at = b"", start, 0
        while base + at < end:
            if len(buffer) - at < 3 * _FULL16 + _CENTRAL.size:
                base, at, buffer = base + at, 0, self._content.read_at(base + at, min(_STEP, end - base - at))
            entry, length = _entry(buffer[at : at + 3 * _FULL16 + _CENTRAL.size], base + at)
            self._visit.budget.entry()
            entry.header += shift
            at += length
            yield entry


def _entry(data: bytes, offset: int) -> tuple[_Entry, int]:
    if len(data) < _CENTRAL.size or not data.startswith(b"PK\x01\x02"):
        raise Unreadable("has a broken entry in its zip directory", offset)
    fields = _CENTRAL.unpack_from(data)
    flags, method, packed, size = fields[3], fields[4], fields[8], fields[9]
    name_size, extra_size, comment_size = fields[10:13]
    length = _CENTRAL.size + name_size + extra_size + comment_size
    if length > len(data):
        raise Unreadable("has a broken entry in its zip directory", offset)
    raw = data[_CENTRAL.size : _CENTRAL.size + name_size]
    extra = data[_CENTRAL.size + name_size : _CENTRAL.size + name_size + extra_size]
    wide = _wide(extra, [size, packed, fields[16]], offset)
    name = raw.decode("utf-8" if flags & _UTF8 else "cp437", "replace")
    entry = _Entry(name, raw, flags, method, wide[1], wide[0], wide[2], fields[15] >> 16)
    return entry, length


def _extras(extra: bytes) -> Iterator[tuple[int, bytes]]:
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        yield kind, extra[4 : 4 + size]
        extra = extra[4 + size :]


def _wide(extra: bytes, values: list[int], offset: int) -> list[int]:
    """Return sizes and offset, where a field is full from the zip64 extra field (4.5.3)."""
    if _FULL32 not in values:
        return values
    numbers = next((data for kind, data in _extras(extra) if kind == 1), b"")
    for index, value in enumerate(values):
        if value == _FULL32:
            if len(numbers) < 8:
                raise Unreadable("has a zip entry without its 64-bit sizes", offset)
            values[index] = int.from_bytes(numbers[:8], "little")
            numbers = numbers[8:]
    return values


def _check_header(content: Content, entry: _Entry, visit: Visit) -> None:
    """Compare a member's own header (4.3.7) with what the directory says; find where its data begin."""
    header = content.read_at(entry.header, _HEADER.size) if entry.header >= 0 else b""
    if len(header) < _HEADER.size or not header.startswith(_LOCAL):
        raise Unreadable(f"has no member where its directory says: {entry.name}", max(0, entry.header))
    fields = _HEADER.unpack(header)
    flags, method, packed, size, name_size, extra_size = fields[2], fields[3], *fields[7:11]
    rest = content.read_at(entry.header + _HEADER.size, name_size + extra_size)
    entry.data = entry.header + _HEADER.size + name_size + extra_size
    if (flags | entry.flags) & _SECRET:
        visit.found(ENCRYPTED, entry.name, entry.header)
    extra = rest[name_size:]
    if rest[:name_size] != entry.raw or method != entry.method or _other_name(extra, entry.raw):
        visit.found(AMBIGUOUS, f"{entry.name}: name or method differ from the directory's", entry.header)
    if _FULL32 in (packed, size):
        size, packed = _wide(extra, [size, packed], entry.header)
    open_end = flags & _SIZES_FOLLOW and (packed, size) == (0, 0)
    if not open_end and (packed, size) != (entry.packed, entry.size):
        visit.found(AMBIGUOUS, f"{entry.name}: sizes differ from the directory's", entry.header)


def _other_name(extra: bytes, raw: bytes) -> bool:
    """Say whether Info-ZIP's Unicode path field (0x7075) gives another name, which some readers prefer."""
    return any(kind == 0x7075 and data[5:] != raw for kind, data in _extras(extra))


def _check_names(entries: list[_Entry], visit: Visit) -> None:
    seen: set[str] = set()
    for entry in entries:
        plain = posixpath.normpath(entry.name.replace("\\", "/").partition("\0")[0])
        if plain in seen:
            visit.found(DOUBLED, entry.name, entry.header)
        seen.add(plain)
        if unsafe_name(entry.name):
            visit.found(UNSAFE_NAME, entry.name, entry.header)
        if stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            visit.found(LINK, entry.name, entry.header)


def _check_layout(content: Content, entries: list[_Entry], end: int, visit: Visit) -> None:
    """Members follow one another without overlap, from byte 0 to the directory, with nothing in between."""
    position = 0
    for entry in sorted(entries, key=lambda entry: entry.header):
        if entry.header < position:
            visit.found(OVERLAP, entry.name, entry.header)
        elif position == 0 and entry.header:
            visit.found(PREFIX, f"{entry.header} bytes stand before the first member", 0)
        else:
            _check_gap(content, position, entry.header, visit)
        position = max(position, entry.end)
    if position > end:
        visit.found(OVERLAP, "a member reaches into the directory", end)
    elif entries or end:
        _check_gap(content, position, end, visit)


def _check_gap(content: Content, start: int, end: int, visit: Visit) -> None:
    if end - start > _DESCRIPTOR or (end - start >= 4 and content.read_at(start, 4) == _LOCAL):
        visit.found(HIDDEN, f"{end - start} bytes belong to no member", start)


def _check_ratio(entries: list[_Entry], budget: Budget) -> None:
    size, packed = sum(entry.size for entry in entries), sum(entry.packed for entry in entries)
    if size > budget.limits.ratio_from and size > budget.limits.ratio * max(1, packed):
        raise Exhausted(f"expands {packed} bytes to {size}")


def _enter(content: Content, entry: _Entry, visit: Visit) -> None:
    packed = Part(content, entry.data, entry.packed)
    if entry.name.endswith("/") and not entry.size and not entry.packed:
        return
    if entry.method == 0:
        if entry.packed != entry.size:
            visit.found(AMBIGUOUS, f"{entry.name}: stored with two sizes", entry.header)
        visit.enter(entry.name, packed)
    elif entry.method in _METHODS:
        codec = _METHODS[entry.method]
        visit.enter(entry.name, Expanded(packed, codecs()[codec], codec, visit.budget, size=entry.size))
    elif entry.method == 14:
        visit.enter(entry.name, _lzma(packed, entry, visit.budget))
    else:
        visit.found(UNOPENABLE, f"{entry.name} has compression method {entry.method}", entry.header)


def _lzma(packed: Part, entry: _Entry, budget: Budget) -> Expanded:
    """Read method 14 (5.8.8): two bytes of version, the size of the properties, LZMA properties, raw LZMA."""
    head = packed.read_at(0, 9)
    if len(head) < 9 or head[2:4] != b"\x05\0" or head[4] >= 225:
        raise Unreadable("has a broken LZMA member", entry.data)
    rest, lc = divmod(head[4], 9)
    pb, lp = divmod(rest, 5)
    size = int.from_bytes(head[5:9], "little")
    if lc + lp > 4 or size > 128 << 20:
        raise Unreadable("has an LZMA member that needs too much memory", entry.data)
    chain = [{"id": lzma.FILTER_LZMA1, "lc": lc, "lp": lp, "pb": pb, "dict_size": max(4096, size)}]
    data = Part(packed, 9, max(0, entry.packed - 9))
    return Expanded(
        data, lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain), "lzma", budget, size=entry.size
    )


ZIPS = ZipScanner()
