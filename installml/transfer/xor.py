"""The codec of XOR patches (``spec.patch``): streams in, streams out, two blocks in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

from ..digest import CHUNK, Readable
from ..errors import IntegrityError
from ..spec.patch import BLOCK, WIDTHS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

__all__ = ["PatchUnusable", "apply_patch", "best_width", "make_patch"]

LEVEL = 3
"""zstd's own default: higher levels gain little on planes of noise and zeros."""


class PatchUnusable(IntegrityError):
    """A patch is damaged, or was made from another base; the whole file is fetched instead."""

    reference = "patch-unusable"


def make_patch(base: BinaryIO, target: BinaryIO, width: int, write: Callable[[bytes], object], *, most: int = 0) -> int:
    """Write the patch that makes ``target`` from ``base``.

    Args:
        base: Read from where it stands to its end.
        target: The same.
        width: Bytes of a number.
        write: Takes the patch piece by piece.
        most: Give up beyond so many bytes; 0 for never.

    Returns:
        Bytes of the patch; more than ``most`` when it was given up.
    """
    zstd = _zstd()
    packer = zstd.ZstdCompressor(level=LEVEL)
    size = 0
    for block in _blocks(target):
        piece = packer.compress(_split(_xor(block, _full(base, len(block))), width))
        size += len(piece)
        write(piece)
        if most and size > most:
            return size
    piece = packer.flush()
    write(piece)
    return size + len(piece)


def apply_patch(base: BinaryIO, patch: Readable, size: int, width: int, write: Callable[[bytes], object]) -> None:
    """Write what ``patch`` makes of ``base``: exactly ``size`` bytes, to be compared with a digest by the caller.

    Raises:
        PatchUnusable: It is no zstd stream, or one of another length.
    """
    unpacked = _Unpacked(patch)
    for start in range(0, size, BLOCK):
        count = min(BLOCK, size - start)
        split = unpacked.exactly(count)
        write(_xor(_join(split, width), _full(base, count)))
    if unpacked.exactly(1, allow_end=True):
        raise PatchUnusable("a patch makes more than the size that was named")


def best_width(base: BinaryIO, target: BinaryIO, size: int) -> int:
    """Return the width that packs a sample from the middle of ``size`` bytes best; both are read and left anywhere."""
    start = max(0, size // 2 - BLOCK // 2) // 8 * 8
    base.seek(start)
    target.seek(start)
    block = _full(target, min(BLOCK, size - start))
    different = _xor(block, _full(base, len(block)))
    zstd = _zstd()
    return min(WIDTHS, key=lambda width: len(zstd.compress(_split(different, width), level=1)))


class _Unpacked:
    """The bytes inside a zstd stream, never more of them in memory than are asked for."""

    def __init__(self, patch: Readable) -> None:
        self._patch = patch
        self._unpacker = _zstd().ZstdDecompressor()

    def exactly(self, count: int, *, allow_end: bool = False) -> bytes:
        """Return the next ``count`` bytes, or nothing at the end if that is allowed."""
        parts, left = [], count
        while left:
            piece = self._next(left)
            if piece is None:
                if allow_end:
                    return b""
                raise PatchUnusable("a patch ends too early")
            parts.append(piece)
            left -= len(piece)
        return b"".join(parts)

    def _next(self, most: int) -> bytes | None:
        if self._unpacker.eof:
            return None
        more = self._patch.read(CHUNK) if self._unpacker.needs_input else b""
        if self._unpacker.needs_input and not more:
            return None
        try:
            piece: bytes = self._unpacker.decompress(more, max_length=most)
        except _zstd().ZstdError as error:
            raise PatchUnusable(f"a patch cannot be unpacked: {error}") from error
        return piece


def _zstd() -> ModuleType:
    """Return the module of Python 3.14's standard library, or its backport."""
    return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def _blocks(source: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: _full(source, BLOCK, pad=False), b"")


def _full(source: BinaryIO, count: int, *, pad: bool = True) -> bytes:
    """Return the next ``count`` bytes; zeros, or nothing, stand for those behind the end."""
    parts, left = [], count
    while left and (piece := source.read(left)):
        parts.append(piece)
        left -= len(piece)
    return b"".join(parts) + (bytes(left) if pad else b"")


def _array(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    import numpy as np

    return np.frombuffer(data, np.uint8)


def _xor(one: bytes, other: bytes) -> bytes:
    return (_array(one) ^ _array(other)).tobytes()


def _split(data: bytes, width: int) -> bytes:
    whole = len(data) // width * width
    return _array(data[:whole]).reshape(-1, width).T.tobytes() + data[whole:]


def _join(data: bytes, width: int) -> bytes:
    whole = len(data) // width * width
    return _array(data[:whole]).reshape(width, -1).T.tobytes() + data[whole:]
