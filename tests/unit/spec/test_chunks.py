"""The chunk index: one form, strict reading, caps."""

from __future__ import annotations

import random
from array import array

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from installml.digest import Digest
from installml.spec.chunks import (
    CHUNK_INDEX_LAYER,
    MAX_CHUNK,
    ChunkIndex,
    ChunkIndexInvalid,
    chunks_digest,
    most_bytes,
    parse_chunk_index,
)
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent

MIB = 1 << 20
BLOB = Digest.of(b"blob")


def index_of(sizes: list[int], blob: Digest = BLOB) -> ChunkIndex:
    bounds = array("Q", [0])
    for size in sizes:
        bounds.append(bounds[-1] + size)
    return ChunkIndex(blob, bounds, random.Random(1).randbytes(32 * len(sizes)))


GOOD = index_of([5000, *[MIB] * 8, 17])


def parsed(data: bytes, index: ChunkIndex = GOOD) -> ChunkIndex:
    return parse_chunk_index(data, index.blob, index.size, "here")


def body(index: ChunkIndex = GOOD) -> bytearray:
    return bytearray(zstd.decompress(index.to_bytes()))


def packed(data: bytes) -> bytes:
    return zstd.compress(bytes(data))


@given(st.lists(st.integers(600_000, MAX_CHUNK), min_size=1, max_size=40), st.sampled_from(["sha256", "sha512"]))
def test_what_is_written_is_read_back(sizes: list[int], algorithm: str) -> None:
    index = index_of(sizes, Digest.of(b"x", algorithm))
    assert parsed(index.to_bytes(), index) == index


def test_any_zstd_reader_unpacks_it_and_any_writer_s_frame_is_read() -> None:
    assert parsed(packed(body())) == GOOD


def test_the_bytes_of_an_index_never_change() -> None:
    """Signatures will name them: a change of the form needs another media type."""
    index = ChunkIndex(BLOB, array("Q", [0, 10, MIB, 2 * MIB]), bytes(range(96)))
    assert Digest.of(index.to_bytes()).short == "2b9827efcc5d"


def test_an_index_has_at_most_fifty_bytes_for_each_mib() -> None:
    index = index_of([MIB] * 4096 + [3 * MIB // 4, MIB] * 2048)
    assert len(index.to_bytes()) <= 50 * index.size // MIB


def test_a_very_large_file_s_index_is_read() -> None:
    index = index_of([MIB, MIB + 1] * 180_000)
    assert len(index.to_bytes()) > 8 * MIB
    assert parsed(index.to_bytes(), index) == index


@pytest.mark.parametrize("cut", [0, 3, 7, 40, 100, 200])
def test_a_truncated_index_is_refused(cut: int) -> None:
    with pytest.raises(ChunkIndexInvalid):
        parsed(GOOD.to_bytes()[:cut])
    with pytest.raises(ChunkIndexInvalid):
        parsed(packed(body()[:cut]))


def test_an_index_of_another_blob_is_refused() -> None:
    with pytest.raises(ChunkIndexInvalid, match="not about"):
        parse_chunk_index(GOOD.to_bytes(), Digest.of(b"other"), GOOD.size, "here")
    with pytest.raises(ChunkIndexInvalid, match="another size"):
        parse_chunk_index(GOOD.to_bytes(), BLOB, GOOD.size + 1, "here")


@pytest.mark.parametrize(
    "runs",
    [
        [(5, 1), (5, 1)],  # one run in two pieces
        [(0, 1), (10, 1)],
        [(10, 0)],
        [(9, 1)],
        [(11, 1)],
        [(10, 2)],
        [(1, 1 << 40)],
        [(MAX_CHUNK + 1, 1)],
    ],
)
def test_chunks_that_do_not_fill_the_blob_in_the_one_spelling_are_refused(runs: list[tuple[int, int]]) -> None:
    data = b"ILMLCHK1\x01" + bytes.fromhex(BLOB.hex) + bytes([10, len(runs)])
    for number in (n for run in runs for n in run):
        while number >= 0x80:
            data, number = data + bytes([number & 0x7F | 0x80]), number >> 7
        data += bytes([number])
    with pytest.raises(ChunkIndexInvalid):
        parse_chunk_index(packed(data + bytes(32)), BLOB, 10, "here")


def test_a_padded_number_is_refused() -> None:
    data = b"ILMLCHK1\x01" + bytes.fromhex(BLOB.hex)
    assert parse_chunk_index(packed(data + bytes([10, 1, 10, 1]) + bytes(32)), BLOB, 10, "here").size == 10
    with pytest.raises(ChunkIndexInvalid, match="padded"):
        parse_chunk_index(packed(data + bytes([0x8A, 0, 1, 10, 1]) + bytes(32)), BLOB, 10, "here")


@pytest.mark.parametrize("more", [b"", b"more", bytes(32)])
def test_bytes_behind_the_end_are_refused(more: bytes) -> None:
    for data in (GOOD.to_bytes() + (more or GOOD.to_bytes()), packed(body() + (more or bytes(1)))):
        with pytest.raises(ChunkIndexInvalid):
            parsed(data)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zstd.compress(bytes(64 * MIB))
    assert len(bomb) < most_bytes(GOOD.size)
    with pytest.raises(ChunkIndexInvalid, match="at most"):
        parsed(bomb)


def test_an_index_of_many_tiny_chunks_is_refused() -> None:
    index = index_of([100, 101] * 50_000)
    with pytest.raises(ChunkIndexInvalid):
        parsed(index.to_bytes(), index)


@given(st.binary(max_size=300))
def test_noise_is_refused_in_the_format_s_own_words(noise: bytes) -> None:
    for data in (noise, packed(noise), packed(b"ILMLCHK1" + noise)):
        with pytest.raises(ChunkIndexInvalid):
            parsed(data)


def test_the_chunks_that_a_stretch_touches_are_found() -> None:
    index = index_of([10, 20, 30])
    assert index.touching(Extent(9, 11)) == range(2)
    assert index.touching(Extent(10, 30)) == range(1, 2)
    assert index.aligned(Extent(12, 31)) == Extent(10, 60)


def test_one_digest_stands_for_all_indexes_in_their_order() -> None:
    layers = [Descriptor.of(data, CHUNK_INDEX_LAYER) for data in (b"a", b"b")]
    assert chunks_digest(layers) == chunks_digest([layer.annotated({"any": "thing"}) for layer in layers])
    assert chunks_digest(layers) != chunks_digest(layers[::-1])
