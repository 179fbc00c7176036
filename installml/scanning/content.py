"""The bytes that scanners read: files, parts of other contents, and what comes out of a compression."""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from installml.scanning.finding import Budget, Content, Exhausted, Unreadable

__all__ = ["BytesContent", "Expanded", "FileContent", "Part", "codecs", "folder_files"]

_STEP = 256 << 10
#: Bytes of a compressed content that stay readable behind the furthest one.
_WINDOW = 2 << 20
#: An LZMA header may ask for 4 GiB of dictionary; xz -9 needs 65 MiB.
_LZMA_MEMORY = 128 << 20


class FileContent:
    """A regular file on disk; opened by the first read, closed by `close`.

    Args:
        path: Where it is. Links are followed: only bytes are read.

    Raises:
        OSError: From `size` and `read_at`, if it is no regular file or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._size = 0

    def _open(self) -> int:
        if self._file is None:
            # O_NONBLOCK: opening a named pipe would wait for its writer.
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                os.close(file)
                raise OSError(0, "it is not a regular file")
            self._file, self._size = file, status.st_size
        return self._file

    @property
    def size(self) -> int:
        """Bytes in all."""
        self._open()
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``."""
        return os.pread(self._open(), size, offset) if 0 <= offset < 1 << 62 else b""

    def close(self) -> None:
        """Give the file back to the system."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class _Folder:
    """Stands for a link to a folder, which nobody follows: it cannot be read."""

    @property
    def size(self) -> int:
        raise OSError(0, "it is a link to a folder, which is not followed")

    def read_at(self, offset: int, size: int) -> bytes:
        raise OSError(0, "it is a link to a folder, which is not followed")


def folder_files(folder: Path) -> Iterator[tuple[str, Content]]:
    """Yield every file in and below a folder, sorted; each is open only until the next is asked for.

    Args:
        folder: Where to begin.

    Raises:
        OSError: The folder, or one in it, cannot be listed.
    """
    for path in sorted(_below(folder)):
        if path.is_dir():
            yield path.relative_to(folder).as_posix(), _Folder()
            continue
        content = FileContent(path)
        try:
            yield path.relative_to(folder).as_posix(), content
        finally:
            content.close()


def _below(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path))
        else:
            yield Path(entry.path)


class BytesContent:
    """Bytes in memory: what a scanner has put together itself, and tests."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self._data)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``."""
        return self._data[offset : offset + size]


class Part:
    """A stretch of another content.

    Args:
        content: Where it lies.
        offset: Its first byte there.
        size: Bytes; what is asked for behind them is not given.
    """

    def __init__(self, content: Content, offset: int, size: int) -> None:
        self._content = content
        self._offset = offset
        self._size = size

    @property
    def size(self) -> int:
        """Bytes in all, as promised; fewer may be there."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``."""
        size = min(size, self._size - offset)
        return self._content.read_at(self._offset + offset, size) if size > 0 and offset >= 0 else b""


class Decompressor(Protocol):
    """The shape of bz2's and lzma's objects."""

    @property
    def eof(self) -> bool:
        """The stream's end was met."""
        ...

    @property
    def needs_input(self) -> bool:
        """Nothing more comes out without more going in."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What follows behind the stream's end."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Give at most so many bytes."""
        ...


class _Zlib:
    """zlib's object in the shape of the others: it keeps by itself what it has not used yet."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _zstd_module() -> Any:
    # Loaded by the first zstd file: importing it costs 20 ms.
    return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def _zstd() -> Decompressor:
    made: Decompressor = _zstd_module().ZstdDecompressor()
    return made


def codecs() -> dict[str, Callable[[], Decompressor]]:
    """Return the compressions that can be read, each with what makes a decompressor."""
    return {
        "zlib": lambda: _Zlib(zlib.MAX_WBITS),
        "gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
        "deflate": lambda: _Zlib(-zlib.MAX_WBITS),
        "bz2": bz2.BZ2Decompressor,
        "lzma": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY),
        "zstd": _zstd,
    }


#: How a further stream of the same file begins.
_FOLLOWS = {
    "gzip": (b"\x1f\x8b",),
    "bz2": (b"BZh",),
    "lzma": (b"\xfd7zXZ\0", b"]\0\0"),
    "zstd": (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + i, 0x2A, 0x4D, 0x18)) for i in range(16))),
}


class Expanded:
    """What comes out of a compression, with a window of 2 MiB in memory.

    Args:
        content: The compressed bytes.
        make: Makes a decompressor.
        what: The compression's name, for reasons.
        budget: Pays for every byte that comes out, again when reading starts over.
        size: Where the expanded size is known, and nothing behind it is to be read.
        several: Streams that follow one another count as one, as gzip, bz2, xz and zstd files have it.
    """

    def __init__(
        self,
        content: Content,
        make: Callable[[], Decompressor],
        what: str,
        budget: Budget,
        *,
        size: int | None = None,
        several: bool = False,
    ) -> None:
        self._content = content
        self._make = make
        self._what = what
        self._budget = budget
        self._size = size
        self._several = several
        self._whole: int | None = None
        self._start_over()

    def _start_over(self) -> None:
        self._inner = self._make()
        self._eaten = 0  # compressed bytes that were read
        self._begun = False  # something came out of this stream
        self._window = bytearray()
        self._first = 0  # offset of the window's first byte
        self._ended = False

    @property
    def consumed(self) -> int:
        """Compressed bytes up to the end of the stream; meaningful after the end was read."""
        return self._eaten - len(self._inner.unused_data)

    @property
    def size(self) -> int:
        """Bytes in all; costs a pass if nobody knew."""
        if self._size is not None:
            return self._size
        if self._whole is None:
            while self._grow():
                pass
            self._whole = self._first + len(self._window)
        return self._whole

    def read_at(self, offset: int, size: int) -> bytes:
        """Return at most ``size`` bytes from ``offset``."""
        if self._size is not None:
            size = min(size, self._size - offset)
        if size <= 0 or offset < 0:
            return b""
        if offset < self._first:
            self._start_over()
        while self._first + len(self._window) < offset + size and self._grow(offset):
            pass
        start = offset - self._first
        return bytes(self._window[start : start + size])

    def _grow(self, needed_from: int | None = None) -> bool:
        """Decompress a step; false at the end."""
        out = self._more()
        self._window += out
        end = self._first + len(self._window)
        keep = end - _WINDOW if needed_from is None else min(end - _WINDOW, needed_from)
        if keep - self._first > _WINDOW:
            del self._window[: keep - self._first]
            self._first = keep
        return bool(out)

    def _more(self) -> bytes:
        while not self._ended:
            if self._inner.eof and not self._next_stream():
                break
            data = b""
            if self._inner.needs_input:
                data = self._content.read_at(self._eaten, _STEP)
                self._eaten += len(data)
                if not data:
                    raise Unreadable(f"ends in the middle of its {self._what} compression", self._eaten)
            out = self._decompress(data)
            if out:
                self._begun = True
                self._budget.expand(len(out))
                self._check_ratio(len(out))
                return out
        return b""

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._inner.decompress(data, _STEP)
        except (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError) as error:
            raise Unreadable(f"has a damaged {self._what} compression: {error}", self._eaten) from error
        except Exception as error:
            if self._what != "zstd" or type(error).__name__ != "ZstdError":
                raise
            raise Unreadable(f"has a damaged {self._what} compression: {error}", self._eaten) from error

    def _next_stream(self) -> bool:
        """Begin the stream that follows, if one does and they belong together."""
        self._eaten = self.consumed
        magic = _FOLLOWS.get(self._what) if self._several else None
        if magic is None:
            self._ended = True
            self._inner = self._make()  # has nothing unused: `consumed` stays as it is
            return False
        if self._what in ("gzip", "lzma"):
            self._skip_zeros()
        follows = self._content.read_at(self._eaten, 6)
        if not follows.startswith(magic):
            if follows and self._what in ("gzip", "zstd"):  # bz2 and xz readers pass over what they do not know
                raise Unreadable(f"has data behind its {self._what} compression", self._eaten)
            self._ended = True
        self._inner = self._make()
        return not self._ended

    def _skip_zeros(self) -> None:
        """Pass over padding, behind which Python's gzip module reads on."""
        while data := self._content.read_at(self._eaten, _STEP):
            rest = data.lstrip(b"\0")
            self._eaten += len(data) - len(rest)
            if rest:
                break

    def _check_ratio(self, out: int) -> None:
        limits = self._budget.limits
        end = self._first + len(self._window) + out
        if end > limits.ratio_from and end > limits.ratio * max(1, self._eaten):
            raise Exhausted(f"expands {self._eaten} bytes to more than {end}")
