"""A bounded reader over one file: the only way by which a format reader touches bytes.

Every read names a cap and is checked against what is left before a byte is asked for, so a header that
promises 2**63 items costs nothing. What fails here fails as `FormatError` with the file and the offset.
Compressed streams come in through `expand`; they are read forward in small steps and never as a whole.
"""

from __future__ import annotations

import builtins
import bz2
import lzma
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from installml.errors import FormatError

__all__ = ["MAX_EXPANDED", "MAX_TEXT", "Reader", "Source", "expand", "names_file", "open_reader"]

MAX_TEXT = 64 << 10
#: Bytes looked at behind a compression; past them the reader answers as at an early end of file.
MAX_EXPANDED = 256 << 20
#: An LZMA header may ask for 4 GiB of dictionary; xz -9 needs 65 MiB.
_LZMA_MEMORY = 128 << 20
_STEP = 64 << 10
_ORDERS = {"little": "<", "big": ">"}


class Source(Protocol):
    """Where a reader's bytes come from; an ordinary binary file is one."""

    def read(self, count: int, /) -> bytes:
        """Give at most count bytes, fewer only at the end."""
        ...  # pragma: no cover

    def seek(self, offset: int, /) -> object:
        """Go to an absolute offset."""
        ...  # pragma: no cover


class Reader:
    """Read numbers and short texts from a window of one file.

    Args:
        source: The open file or expanded stream.
        name: The file as the user knows it, for errors.
        size: Where the window ends.
        start: Where it begins; offsets in errors are those of the whole file.
        order: Byte order of numbers, "little" or "big".
        capped: More may follow behind the window's end, which is ours and not the file's.
    """

    def __init__(
        self, source: Source, name: str, size: int, *, start: int = 0, order: str = "little", capped: bool = False
    ) -> None:
        self.name = name
        self.size = size
        self.position = start
        self.order = order
        self.capped = capped
        self._source = source

    @property
    def remaining(self) -> int:
        """Bytes between here and the end of the window."""
        return self.size - self.position

    def fail(self, reason: str, *, offset: int | None = None) -> FormatError:
        """Make the error that names this file and where reading stopped making sense."""
        return FormatError(self.name, reason, offset=self.position if offset is None else offset)

    def window(self, start: int, length: int) -> Reader:
        """Open a reader on a part of the same file; both share the file's position safely."""
        if start < 0 or length < 0 or start + length > self.size:
            reason = f"points at {length} bytes from byte {start}, which are not all in the file"
            raise self.fail(reason, offset=min(max(0, start), self.size))
        return Reader(self._source, self.name, start + length, start=start, order=self.order)

    def seek(self, position: int) -> None:
        """Continue at an absolute offset of the file."""
        if not 0 <= position <= self.size:
            raise self.fail(f"points at byte {position}, outside the file")
        self.position = position

    def skip(self, count: int, what: str = "data") -> None:
        """Pass over count bytes without reading them."""
        self._check(count, what)
        self.position += count

    def bytes(self, count: int, *, cap: int, what: str = "data") -> builtins.bytes:
        """Read exactly count bytes.

        Args:
            count: How many.
            cap: The most that is sane here.
            what: What they are, for the error.

        Raises:
            FormatError: More than the cap, or more than there is.
        """
        self._check(count, what)
        if count > cap:
            raise self.fail(f"{what} of {count} bytes is larger than the {cap} that are accepted")
        data = self.some(count)
        if len(data) != count:
            raise self.fail(f"ends in the middle of {what}")
        return data

    def some(self, count: int) -> builtins.bytes:
        """Read up to count bytes, fewer only at the end; for small counts that the program itself chose."""
        self._source.seek(self.position)  # another window may have moved the shared file
        data = self._source.read(min(count, self.remaining))
        self.position += len(data)
        return data

    def _check(self, count: int, what: str) -> None:
        if count < 0:
            raise self.fail(f"{what} has a negative size")
        if count > self.remaining:
            raise self.fail(f"ends in the middle of {what} ({count} bytes promised, {self.remaining} left)")

    def number(self, code: str, what: str = "a number") -> int | float:
        """Read one number by its `struct` letter."""
        form = _ORDERS[self.order] + code
        value: int | float = struct.unpack(form, self.bytes(struct.calcsize(form), cap=8, what=what))[0]
        return value

    def u8(self, what: str = "a number") -> int:
        """Read an unsigned byte."""
        return int(self.number("B", what))

    def u16(self, what: str = "a number") -> int:
        """Read an unsigned 16-bit number."""
        return int(self.number("H", what))

    def u32(self, what: str = "a number") -> int:
        """Read an unsigned 32-bit number."""
        return int(self.number("I", what))

    def u64(self, what: str = "a number") -> int:
        """Read an unsigned 64-bit number."""
        return int(self.number("Q", what))

    def text(self, count: int, *, cap: int = MAX_TEXT, what: str = "text") -> str:
        """Read UTF-8 text of exactly count bytes."""
        start = self.position
        try:
            return self.bytes(count, cap=cap, what=what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.fail(f"{what} is not UTF-8", offset=start + error.start) from error

    def peek(self, count: int) -> builtins.bytes:
        """Read up to count bytes and stay; for magic numbers only."""
        start = self.position
        data = self.some(count)
        self.position = start
        return data


@contextmanager
def open_reader(path: Path, name: str, *, order: str = "little") -> Iterator[Reader]:
    """Open a file for bounded reading.

    Args:
        path: Where it is.
        name: What the user calls it.
        order: Byte order of its numbers.

    Raises:
        FormatError: It is not a regular file, or cannot be opened or read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would wait for its writer
            raise FormatError(name, "is not a regular file")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            yield Reader(file, name, size, order=order)
    except OSError as error:
        raise FormatError(name, f"cannot be read: {error.strerror or error}") from error


def names_file(folder: Path, location: str) -> bool:
    """Tell whether a name that stands in a model file is that of a file in or below a folder.

    Args:
        folder: Where the model file lies.
        location: The name as the model file has it; absolute names, ``..`` and backslashes are none.
    """
    parts = PurePosixPath(location).parts
    if not parts or ".." in parts or location.startswith("/") or "\\" in location or PureWindowsPath(location).drive:
        return False
    try:
        return (folder / location).is_file()
    except (OSError, ValueError):  # too long for the file system, a NUL, a lone surrogate
        return False


class _Zlib:
    """zlib's object in the shape of bz2's and lzma's: it keeps by itself what it has not used yet."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _lzma() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)


_DECOMPRESSORS: dict[str, Callable[[], _Zlib | bz2.BZ2Decompressor | lzma.LZMADecompressor]] = {
    "zlib": lambda: _Zlib(zlib.MAX_WBITS),
    "gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
    "deflate": lambda: _Zlib(-zlib.MAX_WBITS),
    "bz2": bz2.BZ2Decompressor,
    "lzma": _lzma,
}


class _Expanded:
    """The forward-only source behind a compression: small steps, one step of output at most in memory."""

    def __init__(self, reader: Reader, method: str) -> None:
        self._reader = reader
        self._inner = _DECOMPRESSORS[method]()
        self._method = method
        self._position = 0
        self._kept = b""

    def seek(self, offset: int) -> None:
        if offset < self._position:
            raise self._reader.fail("needs a compressed stream to be read backwards")
        while self._position < offset:
            if not self.read(min(_STEP, offset - self._position)):
                return

    def read(self, count: int) -> bytes:
        parts = []
        while count and (part := self._step(count)):
            parts.append(part)
            count -= len(part)
            self._position += len(part)
        return b"".join(parts)

    def _step(self, count: int) -> bytes:
        if not self._kept:
            self._kept = self._more()
        part, self._kept = self._kept[:count], self._kept[count:]
        return part

    def _more(self) -> bytes:
        while not self._inner.eof:
            data = b""
            if self._inner.needs_input:
                data = self._reader.some(_STEP)
                if not data:
                    return b""
            try:
                out = self._inner.decompress(data, _STEP)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise self._reader.fail(f"its {self._method} compression is damaged: {error}") from error
            if out:
                return out
        return b""


def expand(reader: Reader, method: str, *, size: int = MAX_EXPANDED) -> Reader:
    """Read what is behind a compression, forward only.

    Args:
        reader: Stands at the first compressed byte.
        method: zlib, gzip, deflate, bz2 or lzma (which is also xz).
        size: The expanded size where it is known; offsets in errors count expanded bytes.

    Returns:
        A reader that may skip ahead but not go back.
    """
    source = _Expanded(reader, method)
    return Reader(source, reader.name, min(size, MAX_EXPANDED), order=reader.order, capped=size >= MAX_EXPANDED)
