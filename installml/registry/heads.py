"""The head of an answer: status line, fields, and how long the body is (RFC 9112).

``http.client`` takes a head apart with the parser for e-mail, which costs more than all else about a small blob, ends
at the first line that it does not understand and takes what follows for content. Here a head is whole and right or
refused, each rule beside its clause; bodies are read by ``http.client`` all the same. Not here: requests, connections
(``exchange``).
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedReader
from itertools import islice

__all__ = ["Answer", "Fields", "HeadInvalid"]

_LINE = 64 << 10  # bytes of one line at most
_HEAD = 256 << 10  # and of all
_LINES = 100  # fields at most
_INTERIM = 16  # 1xx answers before the one that counts, at most
_SWITCHING = 101
_STATUS = re.compile(r"HTTP/1\.(\d) ([1-9]\d\d)(?: [^\r\n\0]*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_CONTENT = frozenset({204, 304})
_LONGEST_LENGTH = 18  # digits: more than any file has


class HeadInvalid(http.client.HTTPException):
    """The head of an answer breaks the rules, so nobody can say where its body begins or ends."""


class Fields(Mapping[str, str]):
    """Header fields by name, in whatever case it is asked for; the values of one that came twice are joined by commas
    (RFC 9110, 5.3).

    Args:
        fields: By lowercase name.
    """

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]  # Mapping's goes by an exception
        """Return the value of a field, or ``default``."""
        return self._fields.get(name.lower(), default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Answer(http.client.HTTPResponse):
    """``http.client``'s answer, its head read by the rules of this module.

    Attributes:
        fields: The header fields.
        ahead: Bytes of the body that came with the head, as far as that is known.
    """

    ahead = 0
    status: int
    version: int
    length: int | None
    chunked: bool
    will_close: bool
    fields: Fields

    def begin(self) -> None:
        """Read the head; answers that only announce another one are passed over (RFC 9110, 15.2).

        Raises:
            HeadInvalid: It breaks the rules.
            ConnectionResetError: The connection ended before it was whole.
        """
        for _ in range(_INTERIM):
            lines, self.ahead = _lines(self.fp)
            minor, status = _status(lines[0])
            fields = _fields(lines)
            if not 100 <= status < 200:
                break
            if status == _SWITCHING:
                raise HeadInvalid("another protocol, which nobody has asked for")
        else:
            raise HeadInvalid("announcements without an answer")
        self.version = 11 if minor else 10
        self.status = self.code = status
        self.reason = ""
        self.fields = Fields(fields)
        self.headers = self.msg = self.fields  # type: ignore[assignment]  # only ``get`` is used of it
        self._frame(fields)

    def _frame(self, fields: Mapping[str, str]) -> None:
        """Find how the body ends (RFC 9112, 6.3) and whether the connection lives on (9.3)."""
        coding = fields.get("transfer-encoding", "identity").lower()
        if coding not in {"chunked", "identity"}:  # none but chunked was asked for, and no length can be trusted
            raise HeadInvalid("a transfer coding that nobody has asked for")
        self.chunked = coding == "chunked"
        length = _length(fields)
        self.length = None if self.chunked else length
        asked: str = self._method  # type: ignore[attr-defined]  # http.client's own
        if asked == "HEAD" or self.status in _NO_CONTENT:
            self.length, self.chunked = 0, False
        self.chunk_left = None
        # Both a coding and a length, or a coding from HTTP/1.0: somebody on the way may see another end (6.1)
        torn = coding == "chunked" and (length is not None or self.version < 11)
        endless = self.length is None and not self.chunked
        self.will_close = torn or endless or not self._kept(fields)

    def _kept(self, fields: Mapping[str, str]) -> bool:
        """Return whether the other side leaves the connection open (RFC 9112, 9.3)."""
        options = {option.strip() for option in fields.get("connection", "").lower().split(",")}
        if "close" in options:
            return False
        return self.version == 11 or "keep-alive" in options


def _lines(stream: BufferedReader) -> tuple[list[str], int]:
    """Return the lines of one head, the empty one at its end left out, and how much is known to be behind it."""
    ready = stream.peek()
    end = ready.find(b"\r\n\r\n")
    if 0 < end < _LINE and ready.count(b"\n", 0, end) == ready.count(b"\r\n", 0, end):
        stream.read(end + 4)  # the usual case: it is all there already
        return _capped(ready[:end].decode("latin-1").split("\r\n")), len(ready) - end - 4
    lines, room = list[str](), _HEAD
    while line := _line(stream, room):
        lines.append(line)
        room -= len(line)
        _capped(lines)
    return lines or [""], 0


def _capped(lines: list[str]) -> list[str]:
    if len(lines) > _LINES + 1:
        raise HeadInvalid(f"more than {_LINES} fields")
    return lines


def _line(stream: BufferedReader, room: int) -> str:
    """Return the next line without its end (RFC 9112, 2.2: a lone LF ends one as well)."""
    line = stream.readline(min(_LINE, room) + 1)
    if line.endswith(b"\r\n"):
        return line[:-2].decode("latin-1")
    if line.endswith(b"\n"):
        return line[:-1].decode("latin-1")
    if len(line) > min(_LINE, room):
        raise HeadInvalid("a head that is too long")
    raise ConnectionResetError("the head ended too early")


def _status(line: str) -> tuple[int, int]:
    """Return minor version and status (RFC 9112, 4)."""
    found = _STATUS.fullmatch(line)
    if found is None:
        raise HeadInvalid("no status line")
    return int(found[1]), int(found[2])


def _fields(lines: Sequence[str]) -> dict[str, str]:
    """Return the header fields by lowercase name, in the order in which they first came."""
    fields = dict[str, str]()
    name = ""
    for line in islice(lines, 1, None):
        if "\r" in line or "\0" in line:  # RFC 9110, 5.5: no such value may be used as it is
            raise HeadInvalid("a control character in a field")
        if line[0] in " \t":  # RFC 9112, 5.2: a folded line; to be read as a space
            if not name:
                raise HeadInvalid("a folded line before the first field")
            fields[name] = f"{fields[name]} {line.strip(' 	')}".strip()
            continue
        name = _take(line, fields)
    return fields


def _take(line: str, fields: dict[str, str]) -> str:
    """Put one field line (RFC 9112, 5.1) into ``fields``; return its name in lowercase."""
    name, colon, value = line.partition(":")
    if not colon or _NAME.fullmatch(name) is None:  # no space before the colon either
        raise HeadInvalid("a line that is no field")
    name, value = name.lower(), value.strip(" \t")
    fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return name


def _length(fields: Mapping[str, str]) -> int | None:
    """Return the Content-Length; the same one several times counts as one (RFC 9110, 8.6)."""
    told = fields.get("content-length")
    if not told:  # some write the name alone, which says as little as nothing
        return None
    lengths = {text.strip() for text in told.split(",")}
    text = lengths.pop()
    if lengths or not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_LENGTH):
        raise HeadInvalid("a length that is none")
    return int(text)
