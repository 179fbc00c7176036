"""The bounded reader: nothing is read that was not checked first."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path

import pytest

from installml.errors import FormatError
from installml.packing.formats.reader import Reader, expand, names_file, open_reader


class Counting(io.BytesIO):
    """A file that remembers the most that it was asked for at once."""

    most = 0

    def read(self, count: int | None = -1, /) -> bytes:
        self.most = max(self.most, -1 if count is None else count)
        return super().read(count)


def reader(data: bytes, order: str = "little") -> Reader:
    return Reader(io.BytesIO(data), "file", len(data), order=order)


@pytest.mark.parametrize("count", [5, 2**31, 2**63, 2**80, -1])
def test_a_count_beyond_the_file_is_refused_before_anything_is_read(count: int) -> None:
    source = Counting(b"abcd")
    with pytest.raises(FormatError, match=r"file: .* \(at byte 0\)"):
        Reader(source, "file", 4).bytes(count, cap=2**90)
    assert source.most == 0


def test_a_count_above_its_cap_is_refused() -> None:
    with pytest.raises(FormatError, match="larger than the 3"):
        reader(b"abcd").bytes(4, cap=3)


def test_numbers_follow_the_byte_order() -> None:
    assert reader(b"\x01\x02").u16() == 0x0201
    assert reader(b"\x01\x02", "big").u16() == 0x0102


def test_windows_share_a_file_without_disturbing_each_other() -> None:
    whole = reader(b"abcdef")
    first, second = whole.window(0, 3), whole.window(3, 3)
    assert first.bytes(1, cap=9) + second.bytes(1, cap=9) + first.bytes(1, cap=9) == b"adb"
    with pytest.raises(FormatError, match=r"at byte 2"):
        first.bytes(2, cap=9)


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, 7), (6, 1), (2, -1)])
def test_a_window_outside_the_file_is_refused(start: int, length: int) -> None:
    with pytest.raises(FormatError, match="not all in the file"):
        reader(b"abcdef").window(start, length)


def test_text_that_is_not_utf8_is_refused_at_the_byte() -> None:
    with pytest.raises(FormatError, match=r"at byte 2"):
        reader(b"ab\xffd").text(4)


@pytest.mark.parametrize(
    ("method", "compress"),
    [("zlib", zlib.compress), ("gzip", gzip.compress), ("bz2", bz2.compress), ("lzma", lzma.compress)],
)
def test_compressed_streams_are_read_forward_in_small_steps(method: str, compress: object, tmp_path: Path) -> None:
    assert callable(compress)
    data = bytes(range(256)) * 4000
    expanded = expand(reader(compress(data)), method, size=len(data))
    expanded.skip(1_000_000)
    assert expanded.bytes(256, cap=256) == data[1_000_000:1_000_256]
    with pytest.raises(FormatError, match="backwards"):
        expanded.window(0, 5).bytes(1, cap=1)


def test_an_lzma_header_that_asks_for_gigabytes_is_refused() -> None:
    data = bytearray(lzma.compress(b"x" * 100, format=lzma.FORMAT_ALONE))
    data[1:5] = b"\xff\xff\xff\xff"  # dictionary size
    with pytest.raises(FormatError, match="lzma compression is damaged"):
        expand(reader(bytes(data)), "lzma").bytes(1, cap=1)


def test_a_folder_and_a_missing_file_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(FormatError) as caught, open_reader(path, "its name"):
            pass
        assert caught.value.path == "its name"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/../a", "/a", "a\\b", "C:a", "a\0", "\ud800", "x" * 5000, "gone"]
)
def test_only_names_inside_the_folder_name_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert names_file(tmp_path, "a")
    assert not names_file(tmp_path, name)
