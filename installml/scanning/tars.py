"""Tar archives, plain or found behind a compression: every file in them is scanned.

Headers are read here and not by `tarfile`: POSIX ustar and pax, and GNU's long names. What unpacks to anything but a
file or a folder is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from installml.scanning.content import Part
from installml.scanning.finding import Content, Rule, Severity, Unreadable, Visit
from installml.scanning.sniff import compression
from installml.scanning.zips import LINK, UNOPENABLE, UNSAFE_NAME, unsafe_name

__all__ = ["RULES", "TARS"]

HIDDEN = Rule(
    "tar-hidden-data",
    Severity.high,
    "A tar goes on behind its end",
    "Some programs stop at the end mark and some read on, so that they see different members.",
    "Do not unpack the file. Ask its maker for one written by an ordinary program.",
)
AMBIGUOUS = Rule(
    "tar-ambiguous",
    Severity.high,
    "A tar can be read in more than one way",
    "A member has two sizes, so that programs that believe different ones see different members behind it.",
    "Do not unpack the file. Ask its maker for one written by an ordinary program.",
)
RULES = (HIDDEN, AMBIGUOUS)

_BLOCK = 512
_STEP = 1 << 20
_MAX_EXTENDED = 1 << 20
_EXTENSIONS = (".tar", ".nemo")
_PAX = re.compile(rb"([0-9]{1,7}) ([^=\n]{1,255})=")


@dataclass(slots=True)
class _Member:
    name: str
    kind: bytes
    offset: int
    size: int


def _checksum(block: bytes) -> bool:
    """Say whether a header's sum is right; bytes count as unsigned, or as signed in old archives."""
    stated = _octal(block[148:156])
    body = block[:148] + b" " * 8 + block[156:]
    return stated is not None and stated in (sum(body), sum(byte - 256 if byte > 127 else byte for byte in body))


def _octal(field: bytes) -> int | None:
    if field[:1] == b"\x80":  # GNU: base 256
        return int.from_bytes(field[1:], "big")
    text = field.split(b"\0")[0].strip()
    return int(text, 8) if re.fullmatch(rb"[0-7]*", text) and text else (0 if not text else None)


class TarScanner:
    """Opens tars, by a header with a right sum or by name."""

    name = "tar"

    def claims(self, head: bytes, name: str) -> bool:
        """Claim what begins with a tar header, also of the time before ustar, or is called a tar."""
        block = head[:_BLOCK]
        looks = len(block) == _BLOCK and block[0] != 0 and (block[257:262] == b"ustar" or _checksum(block))
        return looks or (name.endswith(_EXTENSIONS) and not compression(head))

    def scan(self, content: Content, visit: Visit) -> None:
        """Check every header, scan every file."""
        for member in _Reader(content, visit).members():
            visit.budget.entry()
            if unsafe_name(member.name):
                visit.found(UNSAFE_NAME, member.name, member.offset)
            if member.kind in (b"0", b"\0", b"7"):
                visit.enter(member.name, Part(content, member.offset, member.size))
            elif member.kind in b"12346":
                visit.found(LINK, member.name, member.offset)
            elif member.kind != b"5":
                visit.found(UNOPENABLE, f"{member.name} is a member of kind {member.kind!r}", member.offset)


class _Reader:
    def __init__(self, content: Content, visit: Visit) -> None:
        self._content = content
        self._visit = visit
        self._long = ""
        self._pax: dict[bytes, bytes] = {}

    def members(self) -> Iterator[_Member]:
        """Yield members in order, with names and sizes as long as extended headers give them."""
        position = 0
        while block := self._content.read_at(position, _BLOCK):
            if not block.strip(b"\0"):
                self._check_end(position)
                return
            if len(block) < _BLOCK or not _checksum(block):
                raise Unreadable("has a broken tar header", position)
            size = _octal(block[124:136])
            if size is None or size >= 1 << 62:
                raise Unreadable("has a tar header without a size", position)
            kind, start = block[156:157], position + _BLOCK
            if kind in b"LKxgX" and kind:
                self._extend(kind, start, size)
                self._visit.budget.entry()
            else:
                size = self._size(size, position) if kind not in b"12345" else 0
                yield _Member(self._name(block), self._kind(kind), start, size)
                self._long, self._pax = "", {}
            position = start + -(-size // _BLOCK) * _BLOCK
        if position and not self._content.read_at(position - 1, 1):
            raise Unreadable("ends in the middle of a tar member", position)

    def _extend(self, kind: bytes, start: int, size: int) -> None:
        data = self._content.read_at(start, size) if size <= _MAX_EXTENDED else b""
        if len(data) != size:
            raise Unreadable("has a tar header that is too long", start)
        if kind == b"L":
            self._long = data.split(b"\0")[0].decode("utf-8", "replace")
        elif kind in b"xgX":
            records = dict(_records(data, start))
            if kind == b"g" and records.keys() & {b"path", b"size", b"linkpath"}:
                self._visit.found(AMBIGUOUS, "a header for all members names one member", start)
            self._pax |= records

    def _name(self, block: bytes) -> str:
        name = self._pax.get(b"path", b"") or block[:100].split(b"\0")[0]
        prefix = block[345:500].split(b"\0")[0] if block[257:263] == b"ustar\0" and b"path" not in self._pax else b""
        text = (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")
        return self._long or text

    def _kind(self, kind: bytes) -> bytes:
        sparse = any(key.startswith(b"GNU.sparse") for key in self._pax)
        return b"S" if sparse else kind

    def _size(self, size: int, position: int) -> int:
        given = self._pax.get(b"size")
        if given is None:
            return size
        if not re.fullmatch(rb"[0-9]{1,18}", given):
            raise Unreadable("has a tar member without a size", position)
        if size not in (0, int(given)):
            self._visit.found(AMBIGUOUS, f"a member has {size} and {int(given)} bytes", position)
        return int(given)

    def _check_end(self, position: int) -> None:
        while data := self._content.read_at(position, _STEP):
            if rest := data.lstrip(b"\0"):
                at = position + len(data) - len(rest)
                self._visit.found(HIDDEN, "something follows the end mark", at)
                return
            position += len(data)


def _records(data: bytes, offset: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records of a pax header: length, space, key, "=", value, line feed."""
    while data.strip(b"\0"):
        match = _PAX.match(data)
        length = int(match[1]) if match else 0
        if match is None or not match.end() < length <= len(data) or data[length - 1 : length] != b"\n":
            raise Unreadable("has a broken pax header", offset)
        yield match[2], data[match.end() : length - 1]
        data = data[length:]


TARS = TarScanner()
