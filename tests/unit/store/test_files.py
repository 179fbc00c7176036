"""The local disk's primitives: copying between open files, reserving room."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from installml.errors import DiskFull
from installml.store.files import CopiedBy, clone_extent, copy_extent, disk_errors, free_space, reserve

SIZE = 3 * 4096 + 100
DATA = random.Random(1).randbytes(SIZE)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    handle = os.open(path, os.O_RDONLY)
    yield handle
    os.close(handle)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    handle = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    os.ftruncate(handle, 2 * SIZE)
    yield handle
    os.close(handle)


@pytest.mark.parametrize(
    ("start", "to", "size"), [(0, 0, SIZE), (4096, 8192, 4096), (1, 2, 3), (5000, 0, SIZE - 5000), (0, 0, 0)]
)
def test_bytes_are_copied_to_their_place(source: int, target: int, start: int, to: int, size: int) -> None:
    copy_extent(source, start, target, to, size)
    assert os.pread(target, size, to) == DATA[start : start + size]


def test_bytes_around_are_left_alone(source: int, target: int) -> None:
    os.pwrite(target, b"x" * 2 * SIZE, 0)
    copy_extent(source, 100, target, 200, 300)
    whole = os.pread(target, 2 * SIZE, 0)
    assert whole == b"x" * 200 + DATA[100:400] + b"x" * (2 * SIZE - 500)


def test_a_source_that_ends_too_early_is_an_error(source: int, target: int) -> None:
    with pytest.raises(OSError, match="ends 1 bytes too early") as caught:
        copy_extent(source, 0, target, 0, SIZE + 1)
    assert caught.value.errno == errno.EIO


def test_what_the_kernel_does_not_copy_goes_through_the_process(target: int) -> None:
    """Files below /proc have no blocks to copy: the kernel refuses, or says that there is nothing."""
    with Path("/proc/self/stat").open("rb", buffering=0) as file:
        expected = os.pread(file.fileno(), 5, 0)
        assert copy_extent(file.fileno(), 0, target, 0, 5) is CopiedBy.PROCESS
    assert os.pread(target, 5, 0) == expected


def test_a_file_that_is_not_open_for_writing_is_an_error(source: int, tmp_path: Path) -> None:
    with (tmp_path / "source").open("rb") as read_only, pytest.raises(OSError):
        copy_extent(source, 0, read_only.fileno(), 0, SIZE)


def test_bytes_off_the_borders_of_blocks_are_not_shared(source: int, target: int) -> None:
    assert not clone_extent(source, 1, target, 0, 4096)
    assert not clone_extent(source, 0, target, 1, 4096)
    assert not clone_extent(source, 0, target, 0, 4095)
    assert not clone_extent(source, 0, target, 0, 0)


def test_free_space_is_a_number_of_bytes(tmp_path: Path) -> None:
    free = free_space(tmp_path)
    assert free is not None
    assert free > 0


def test_where_nothing_is_no_space_is_known(tmp_path: Path) -> None:
    assert free_space(tmp_path / "absent") is None


def test_reserving_keeps_the_size_of_the_file(target: int) -> None:
    os.ftruncate(target, 10)
    reserve(target, [(0, 1 << 20)], 1 << 20)
    status = os.fstat(target)
    assert status.st_size == 10
    assert status.st_blocks * 512 >= 1 << 20


def test_more_than_the_disk_has_cannot_be_reserved(tiny_disk: Path) -> None:
    with (tiny_disk / "file").open("wb") as file, pytest.raises(DiskFull), disk_errors(tiny_disk):
        reserve(file.fileno(), [(0, 1 << 20)], 1 << 20)
