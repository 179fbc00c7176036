"""Where files are cut, and that the digests are those of the pieces."""

from __future__ import annotations

import io
import itertools
import json
import random
import struct

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from installml.digest import Digest
from installml.errors import SizeMismatch
from installml.packing.chunking import Chunker, Chunking, boundaries, index_stream
from installml.packing.hashing import HEADER
from installml.spec.chunks import LARGE, ChunkIndex

MIB = 1 << 20


def safetensors(sizes: list[int], **metadata: str) -> bytes:
    """Return a header of tensors of so many bytes, as the format's own writer pads it."""
    at, entries = 0, {"__metadata__": metadata} if metadata else {}
    for number, size in enumerate(sizes):
        entries[f"t{number}"] = {"dtype": "U8", "shape": [size], "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header


def gguf(sizes: list[int], alignment: int = 32) -> bytes:
    """Return the front of a GGUF file of tensors of so many bytes, up to their data."""
    key = b"general.alignment"
    pairs = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, alignment)
    table, at = b"", 0
    for number, size in enumerate(sizes):
        name = f"t{number}".encode()
        table += struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, size, 24, at)
        at += -(-size // alignment) * alignment
    head = b"GGUF" + struct.pack("<IQQ", 3, len(sizes), 1) + pairs + table
    return head + bytes(-len(head) % alignment)


def cuts(head: bytes, sizes: list[int]) -> list[int]:
    """Return the bounds behind the header, counted from its end."""
    bounds = boundaries(len(head) + sum(sizes), head)
    assert len(head) in bounds
    return [bound - len(head) for bound in bounds if bound >= len(head)]


def test_a_large_tensor_begins_a_chunk_and_is_cut_every_mib() -> None:
    sizes = [5 * MIB // 2, 3 * MIB, MIB]
    expected = [0, MIB, 5 * MIB // 2, 7 * MIB // 2, 9 * MIB // 2, 11 * MIB // 2, 13 * MIB // 2]
    assert cuts(safetensors(sizes), sizes) == expected


def test_small_tensors_share_chunks() -> None:
    sizes = [100 << 10] * 30 + [2 * MIB]
    assert cuts(safetensors(sizes), sizes) == [0, 1000 << 10, 2000 << 10, 3000 << 10, (3000 << 10) + MIB, 5048 << 10]


def test_what_no_format_explains_is_cut_every_mib() -> None:
    assert list(boundaries(3 * MIB + 5, b"\x80\x04whatever")) == [0, MIB, 2 * MIB, 3 * MIB + 5]


def test_gguf_is_cut_at_its_tensors() -> None:
    sizes = [5 * MIB // 2, 3 * MIB]
    assert cuts(gguf(sizes), sizes)[:4] == [0, MIB, 5 * MIB // 2, 7 * MIB // 2]


def test_a_longer_header_moves_every_cut_by_the_same_distance() -> None:
    sizes = [random.Random(7).randrange(1, 3 * MIB) for _ in range(40)]
    assert cuts(safetensors(sizes), sizes) == cuts(safetensors(sizes, note="x" * 5000), sizes)


@pytest.mark.parametrize("lie", [b'{"t":{"data_offsets":[0,99999999]}}', b'{"t":{"data_offsets":[-1,4]}}', b"{", b"[]"])
def test_a_header_that_lies_makes_the_file_opaque(lie: bytes) -> None:
    head = struct.pack("<Q", len(lie)) + lie
    assert list(boundaries(2 * MIB, head)) == [0, MIB, 2 * MIB]


def test_a_header_beyond_what_is_looked_at_makes_the_file_opaque() -> None:
    head = struct.pack("<Q", HEADER) + b"{" + b" " * (HEADER - 9)
    assert boundaries(64 * MIB, head)[1] == MIB


@given(st.lists(st.integers(0, 3 * MIB), max_size=60), st.booleans())
def test_chunks_are_never_larger_nor_much_smaller_than_promised(sizes: list[int], as_gguf: bool) -> None:
    head = gguf(sizes) if as_gguf else safetensors(sizes)
    size = len(head) + sum(-(-s // 32) * 32 if as_gguf else s for s in sizes)
    bounds = boundaries(size, head)
    lengths = [b - a for a, b in itertools.pairwise(bounds)]
    assert (bounds[0], bounds[-1]) == (0, size)
    assert max(lengths) <= 7 * MIB // 4
    assert sum(length < 3 * MIB // 4 for length in lengths) <= 2


def test_each_digest_is_that_of_its_bytes_however_they_come() -> None:
    data = safetensors([2 * MIB, 100, 7 * MIB]) + random.Random(3).randbytes(9 * MIB + 100)
    index = index_stream(io.BytesIO(data), Digest.of(data), len(data))
    assert [index.digest(n) for n in range(len(index))] == [
        blake3(data[slice(*index.extent(n))]).digest() for n in range(len(index))
    ]
    for step in (999, MIB, 5 * MIB):
        chunker = Chunker(boundaries(len(data), data[:HEADER]))
        for at in range(0, len(data), step):
            chunker.update(memoryview(data)[at : at + step])
        chunker.finish(index.blob)
        assert chunker.index == index


def test_only_large_files_of_a_build_get_an_index() -> None:
    kept: list[ChunkIndex] = []
    observe = Chunking(kept.append)
    assert observe("a", LARGE - 1, b"") is None
    watcher = observe("a", LARGE, bytes(100))
    assert watcher is not None
    watcher.update(bytes(LARGE))
    watcher.finish(Digest.of(b"a"))
    assert kept[0].size == LARGE


@pytest.mark.parametrize("more", [-1, 1])
def test_a_file_of_another_length_gets_no_index(more: int) -> None:
    chunker = Chunker(boundaries(2 * MIB, b""))
    chunker.update(bytes(2 * MIB + more))
    with pytest.raises(SizeMismatch):
        chunker.finish(Digest.of(b"a"))
