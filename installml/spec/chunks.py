"""The chunk index of one blob: where its chunks begin and the BLAKE3 digest of each; the form in which it is kept.

The rules by which a file is cut are in ``packing.chunking``; a reader needs none of them. The form
(docs/adr/0006) is one zstd frame around::

    "ILMLCHK1"                         8 bytes
    algorithm of the blob's digest     1 byte: 1 sha256, 2 sha512
    the blob's digest                  32 or 64 bytes
    the blob's size                    varint
    number of runs                     varint
    each run: chunk size, repetitions  2 varints; neighbours differ in size
    BLAKE3 digests of all chunks       32 bytes each

A varint is LEB128 in its shortest form. The frame's blocks are raw: digests do not compress, runs are few bytes, and
the bytes must not depend on the version of a compressor, because the digest of an index may be signed.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby, repeat

from ..digest import Digest
from ..errors import UsageError
from .canonical import canonical
from .descriptor import MAX_SIZE, Descriptor
from .extents import Extent

__all__ = [
    "ANNOTATION_BLOB",
    "CHUNK_DIGEST",
    "CHUNK_INDEX",
    "CHUNK_INDEX_LAYER",
    "LARGE",
    "MAX_CHUNK",
    "ChunkIndex",
    "ChunkIndexInvalid",
    "chunks_digest",
    "most_bytes",
    "parse_chunk_index",
]

CHUNK_INDEX = "application/vnd.installml.chunkindex.v1"
"""Artifact type of the manifest that holds the indexes of a package, one layer each."""
CHUNK_INDEX_LAYER = f"{CHUNK_INDEX}+zstd"
"""Media type of one index."""
ANNOTATION_BLOB = "dev.installml.chunkindex.blob"
"""On such a layer: the digest of the blob that the index is about."""

LARGE = 8 << 20
"""Bytes from which a file has an index: fetching less than that again costs less than asking."""

CHUNK_DIGEST = 32
"""Bytes of one chunk's BLAKE3 digest."""

MAX_CHUNK = 4 << 20
"""Largest chunk in bytes that a reader accepts: it must hold one in memory."""

_MEAN_CHUNK = 256 << 10
"""Bytes that chunks must have on average, so that an index cannot be made of millions of tiny ones."""
_SPARE_CHUNKS = 64
"""Chunks that come on top: the ends of a file's sections may be short."""

_MAGIC = b"ILMLCHK1"
_ALGORITHMS = {1: ("sha256", 32), 2: ("sha512", 64)}
_NUMBERS = {name: number for number, (name, _) in _ALGORITHMS.items()}
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
_ZSTD_BLOCK = 128 << 10  # RFC 8878, section 3.1.1.2.4, "Block_Maximum_Size"
_MAX_VARINT = 9
_MAX_WINDOW = 23  # as a power of two: 8 MiB, what RFC 8878, section 3.1.1.1.2 recommends decoders to support


class ChunkIndexInvalid(UsageError):
    """A chunk index breaks its format; nothing was taken from it."""

    reference = "chunk-index-invalid"
    default_hint = "Its publisher can make it again with: installml index REF"


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """The chunks of one blob, in order, without gaps.

    Attributes:
        blob: Digest of the blob.
        bounds: Offsets at which chunks begin, ascending from 0, and at last the blob's size: one more than chunks.
        digests: BLAKE3 digests of the chunks, 32 bytes each, one after the other.
    """

    blob: Digest
    bounds: Sequence[int]
    digests: bytes

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self.bounds[-1]

    def extent(self, number: int) -> Extent:
        """Return where chunk ``number`` lies."""
        return Extent(self.bounds[number], self.bounds[number + 1])

    def digest(self, number: int) -> bytes:
        """Return the BLAKE3 digest of chunk ``number``."""
        return self.digests[number * CHUNK_DIGEST : (number + 1) * CHUNK_DIGEST]

    def touching(self, extent: Extent) -> range:
        """Return the numbers of the chunks that have bytes in ``extent``."""
        return range(bisect_right(self.bounds, extent.start) - 1, min(len(self), bisect_left(self.bounds, extent.stop)))

    def aligned(self, extent: Extent) -> Extent:
        """Return ``extent`` widened to whole chunks."""
        chunks = self.touching(extent)
        return Extent(self.bounds[chunks.start], self.bounds[chunks.stop])

    def to_bytes(self) -> bytes:
        """Return the one form in which this index is kept: same blob, same bytes, on any machine."""
        sizes = (self.bounds[number + 1] - self.bounds[number] for number in range(len(self)))
        runs = [(size, sum(1 for _ in same)) for size, same in groupby(sizes)]
        body = bytearray(_MAGIC)
        body.append(_NUMBERS[self.blob.algorithm])
        body += bytes.fromhex(self.blob.hex)
        for number in (self.size, len(runs), *chain.from_iterable(runs)):
            body += _varint(number)
        return _frame(bytes(body) + self.digests)


def most_bytes(size: int) -> int:
    """Return the most bytes that an index of a blob of ``size`` bytes may have, as kept or unpacked."""
    return _most_chunks(size) * (CHUNK_DIGEST + 2 * _MAX_VARINT) + 256


def _most_chunks(size: int) -> int:
    return size // _MEAN_CHUNK + _SPARE_CHUNKS


def parse_chunk_index(data: bytes, blob: Digest, size: int, origin: str) -> ChunkIndex:
    """Return the index that ``data`` spell.

    Args:
        data: As kept or received; may mean harm.
        blob: Digest of the blob that it must be about.
        size: Bytes of that blob.
        origin: Where it came from, for errors.

    Raises:
        ChunkIndexInvalid: It is not an index of this blob in its one form.
    """
    reader = _Reader(_unpacked(data, most_bytes(size), origin), origin)
    reader.expect(_MAGIC, "it does not begin as a chunk index")
    reader.expect(bytes([_NUMBERS[blob.algorithm]]) + bytes.fromhex(blob.hex), f"it is not about {blob}")
    if not 0 < size <= MAX_SIZE or reader.varint() != size:
        raise reader.fail("it is about another size")
    bounds = _bounds(reader, size)
    digests = reader.rest()
    if len(digests) != (len(bounds) - 1) * CHUNK_DIGEST:
        raise reader.fail("it does not have one digest for each chunk")
    return ChunkIndex(blob, bounds, digests)


def _bounds(reader: _Reader, size: int) -> Sequence[int]:
    """Return where chunks begin; every rule that makes the form the only one is checked before memory is taken."""
    count, previous, total, runs = 0, 0, 0, list[tuple[int, int]]()
    for _ in range(reader.varint(most=_most_chunks(size))):
        length, times = reader.varint(most=MAX_CHUNK), reader.varint(most=_most_chunks(size))
        if not length or not times or length == previous:
            raise reader.fail("it spells its chunks in another way than the one that there is")
        runs.append((length, times))
        count, total, previous = count + times, total + length * times, length
        if total > size or count > _most_chunks(size):
            raise reader.fail("its chunks are too many or reach beyond the blob")
    if total != size:
        raise reader.fail("its chunks do not fill the blob")
    return array("Q", accumulate(chain.from_iterable(repeat(*run) for run in runs), initial=0))


class _Reader:
    """Forward reading of an unpacked index."""

    def __init__(self, data: bytes, origin: str) -> None:
        self._data = data
        self._at = 0
        self._origin = origin

    def fail(self, reason: str) -> ChunkIndexInvalid:
        return _invalid(self._origin, reason)

    def expect(self, wanted: bytes, otherwise: str) -> None:
        if not self._data.startswith(wanted, self._at):
            raise self.fail(otherwise)
        self._at += len(wanted)

    def varint(self, most: int = MAX_SIZE) -> int:
        value = shift = 0
        for count in range(_MAX_VARINT):
            if self._at >= len(self._data):
                raise self.fail("it ends early")
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if (not byte and count) or value > most:
                    raise self.fail("a number in it is too large or padded")
                return value
        raise self.fail("a number in it does not end")

    def rest(self) -> bytes:
        return self._data[self._at :]


def _invalid(origin: str, reason: str) -> ChunkIndexInvalid:
    return ChunkIndexInvalid(f"{origin} is not a valid chunk index: {reason}", subject=origin)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _frame(body: bytes) -> bytes:
    """Return ``body`` as one zstd frame of raw blocks (RFC 8878, section 3.1.1)."""
    out = bytearray(_ZSTD_MAGIC)
    out += bytes([0b10_0_00000, 7 << 3])  # size of the content in 4 bytes; no checksum, no dictionary; window 128 KiB
    out += len(body).to_bytes(4, "little")
    for start in range(0, len(body), _ZSTD_BLOCK):
        block = body[start : start + _ZSTD_BLOCK]
        last = start + _ZSTD_BLOCK >= len(body)
        out += (len(block) << 3 | int(last)).to_bytes(3, "little") + block
    return bytes(out)


def _unpacked(data: bytes, cap: int, origin: str) -> bytes:
    """Return what is in one zstd frame, of whatever blocks, of at most ``cap`` bytes."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    if len(data) > cap:
        raise _invalid(origin, f"it has more than {cap} bytes")
    options = {int(zstd.DecompressionParameter.window_log_max): _MAX_WINDOW}
    try:
        decompressor = zstd.ZstdDecompressor(options=options)
        body = decompressor.decompress(data, cap + 1)
    except zstd.ZstdError as error:
        raise _invalid(origin, f"it cannot be unpacked: {error}") from error
    if len(body) > cap or not decompressor.eof or decompressor.unused_data:
        raise _invalid(origin, f"it is not one frame of at most {cap} bytes")
    return body


def chunks_digest(indexes: Iterable[Descriptor]) -> Digest:
    """Return the one digest that stands for the chunk indexes of a package, for a signature to name.

    Args:
        indexes: The layers of the package's chunk index manifest, in its order.
    """
    return Digest.of(canonical([str(layer.digest) for layer in indexes]))
