"""Digests and the reader that proves them."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installml.digest import Digest, DigestInvalid, VerifyingReader, hash_stream
from installml.errors import DigestMismatch, SizeMismatch
from installml.testing.strategies import digests

HEX = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1: "abc"


class Dribble:
    def __init__(self, data: bytes, piece: int) -> None:
        self._stream, self._piece = io.BytesIO(data), piece

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(self._piece if size < 0 else min(size, self._piece))


def in_one_read(reader: VerifyingReader) -> bytes:
    return reader.read()


def in_blocks(reader: VerifyingReader) -> bytes:
    return b"".join(iter(lambda: reader.read(3), b""))


def test_known_digests() -> None:
    assert str(Digest.of(b"abc")) == f"sha256:{HEX}"
    assert str(Digest.of(b"abc", "sha512")).startswith("sha512:ddaf35a193617abacc417349ae204131")
    assert Digest.of(b"abc").short == HEX[:12]


@given(digests())
def test_every_digest_is_parsed_as_it_is_written(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        "", "sha256:", HEX, f"sha256:{HEX[:-1]}", f"sha256:{HEX}0", f"sha256:{HEX.upper()}", f"SHA256:{HEX}",
        f"sha512:{HEX}", f"md5:{HEX[:32]}", f" sha256:{HEX}", f"sha256:{HEX}\n", f"sha256:../{HEX[3:]}", None, 7,
        f"sha384:{HEX}{HEX[:32]}", f"sha256:{HEX[:-1]}٣",
    ],
)  # fmt: skip
def test_what_is_no_digest_is_refused(text: object) -> None:
    with pytest.raises(DigestInvalid) as caught:
        Digest.parse(text)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("read", [in_one_read, in_blocks])
@pytest.mark.parametrize("piece", [1, 4, 1000])
@pytest.mark.parametrize("data", [b"", b"a", b"abcdefgh" * 5])
def test_the_named_bytes_pass(read: Callable[[VerifyingReader], bytes], piece: int, data: bytes) -> None:
    reader = VerifyingReader(Dribble(data, piece), Digest.of(data), len(data), "test")
    assert read(reader) == data
    assert reader.verified


@pytest.mark.parametrize("read", [in_one_read, in_blocks])
@pytest.mark.parametrize("piece", [1, 4, 1000])
@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", SizeMismatch),
        (b"0123456", SizeMismatch),
        (b"012345678", SizeMismatch),
        (b"01234567" * 100, SizeMismatch),
        (b"01234568", DigestMismatch),
    ],
)
def test_other_bytes_do_not(
    read: Callable[[VerifyingReader], bytes], piece: int, sent: bytes, error: type[Exception]
) -> None:
    reader = VerifyingReader(Dribble(sent, piece), Digest.of(b"01234567"), 8, "test")
    with pytest.raises(error, match="test gave"):
        read(reader)
    assert not reader.verified


def test_no_more_than_one_byte_beyond_the_named_size_is_asked_for() -> None:
    asked = []

    class Watching(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(size)
            return super().read(size)

    reader = VerifyingReader(Watching(b"x" * 10_000), Digest.of(b"xx"), 2, "test")
    with pytest.raises(SizeMismatch):
        reader.read(1 << 20)
    assert asked == [3]


def test_reading_nothing_proves_nothing() -> None:
    reader = VerifyingReader(io.BytesIO(b"abc"), Digest.of(b"abc"), 3, "test")
    assert reader.read(0) == b""
    assert not reader.verified
    assert reader.read() == b"abc"
    assert reader.verified


def test_a_reader_that_proves_the_same_is_used_as_it_is() -> None:
    digest = Digest.of(b"abc")
    reader = VerifyingReader(io.BytesIO(b"abc"), digest, 3, "test")
    assert VerifyingReader.over(reader, digest, 3, "again") is reader
    assert VerifyingReader.over(reader, digest, 4, "again") is not reader
    assert VerifyingReader.over(reader, Digest.of(b"abd"), 3, "again") is not reader
    reader.read(1)
    assert VerifyingReader.over(reader, digest, 3, "again") is not reader, "it has been begun"


@given(st.binary(max_size=200), st.sampled_from(["sha256", "sha512"]))
def test_a_stream_is_hashed_and_passed_on_in_one_read(data: bytes, algorithm: str) -> None:
    out = io.BytesIO()
    assert hash_stream(Dribble(data, 7), out.write, algorithm) == (Digest.of(data, algorithm), len(data))
    assert out.getvalue() == data
