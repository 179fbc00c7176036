"""Python's own readers see no member of a changed archive that was not scanned, unless the archive is blocked."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installml.scanning.content import BytesContent
from installml.scanning.finding import Content, Limits, Severity, Visit
from installml.scanning.streams import STREAMS
from installml.scanning.tars import TARS
from installml.scanning.walk import scan_files
from installml.scanning.zips import ZIPS
from tests.unit.scanning.malicious import archive, taped
from tests.unit.scanning.test_archives import streamed, wide

UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Members = set[tuple[str, bytes]]
MEMBERS = (("a/data.pkl", b"first" * 9), ("a/b.txt", b"second" * 5), ("c", b""), ("d", bytes(range(256))))


class Recorder:
    """A scanner that keeps what it is shown inside of archives."""

    name = "recorder"

    def __init__(self) -> None:
        self.seen: Members = set()

    def claims(self, head: bytes, name: str) -> bool:
        return True

    def scan(self, content: Content, visit: Visit) -> None:
        if visit.inner:
            self.seen.add((visit.inner, content.read_at(0, 1 << 20)))


def scanned(name: str, data: bytes) -> Members | None:
    """Return what was scanned, None if the file is blocked."""
    recorder = Recorder()
    limits = Limits(expanded=1 << 26, entries=1000)
    report = scan_files([(name, BytesContent(data))], (ZIPS, TARS, STREAMS, recorder), limits=limits)
    return None if report.at_least(Severity.high) else recorder.seen


def zipped(data: bytes) -> Iterator[tuple[str, bytes]]:
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as opened:
        for info in opened.infolist():
            with contextlib.suppress(Exception), opened.open(info) as member:
                if not info.is_dir() or info.file_size:
                    yield info.orig_filename, member.read(1 << 20)


def tarred(data: bytes) -> Iterator[tuple[str, bytes]]:
    with contextlib.suppress(Exception), tarfile.open(fileobj=io.BytesIO(data), mode="r:") as opened:
        for info in opened:
            with contextlib.suppress(Exception):
                member = opened.extractfile(info) if info.isfile() else None
                if member is not None:
                    yield info.name, member.read(1 << 20)


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4)
SMALL = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([0, 1, 2, 8, 20, 46, 76, 255])), max_size=4
)


def changed(data: bytes, changes: list[tuple[float, int]]) -> bytes:
    result = bytearray(data)
    for place, value in changes:
        result[int(place * len(result))] = value
    return bytes(result)


def check(name: str, data: bytes, read: Members) -> None:
    seen = scanned(name, data)
    if seen is not None:
        assert read <= seen


ZIPPED = [
    archive(*MEMBERS), archive(*MEMBERS, method=zipfile.ZIP_DEFLATED), archive(*MEMBERS, method=zipfile.ZIP_BZIP2),
    archive(*MEMBERS, method=zipfile.ZIP_LZMA), wide(*MEMBERS), streamed(*MEMBERS),
]  # fmt: skip


@UNHURRIED
@given(st.sampled_from(ZIPPED), CHANGES | SMALL, st.binary(max_size=30), st.binary(max_size=30))
def test_of_a_changed_zip(data: bytes, changes: list[tuple[float, int]], before: bytes, behind: bytes) -> None:
    data = before + changed(data, changes) + behind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = {(name, content) for name, content in zipped(data)}
    check("a.zip", data, read)


@UNHURRIED
@given(st.permutations(ZIPPED), st.lists(st.integers(0, 3000), min_size=2, max_size=2), st.booleans())
def test_of_two_zips_in_one_file(files: list[bytes], cuts: list[int], commented: bool) -> None:
    first, second = files[0][: cuts[0] or None], files[1][: cuts[1] or None]
    data = bytearray(first + second)
    end = data.find(b"PK\x05\x06")
    if commented and 0 <= end <= len(data) - 22:
        struct.pack_into("<H", data, end + 20, min(0xFFFF, len(data) - end - 22))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = set(zipped(bytes(data)))
    check("a.zip", bytes(data), read)


TARRED = [taped(*MEMBERS), taped(("long/" * 40 + "x", b"long"), *MEMBERS)]


@UNHURRIED
@given(st.sampled_from(TARRED), CHANGES | SMALL)
def test_of_a_changed_tar(data: bytes, changes: list[tuple[float, int]]) -> None:
    data = changed(data, changes)
    check("a.tar", data, set(tarred(data)))


@UNHURRIED
@given(st.permutations(TARRED), st.integers(0, 8), st.integers(0, 8))
def test_of_two_tars_in_one_file(files: list[bytes], keep: int, blocks: int) -> None:
    data = files[0][: keep * 512] + bytes(blocks * 512) + files[1]
    check("a.tar", data, set(tarred(data)))


BODY = b"some text " * 50
STREAMED = {
    "gz": (gzip.compress(BODY) + gzip.compress(BODY), gzip.open), "bz2": (bz2.compress(BODY) * 2, bz2.open),
    "xz": (lzma.compress(BODY) * 2, lzma.open),
}  # fmt: skip


@UNHURRIED
@given(st.sampled_from(sorted(STREAMED)), CHANGES | SMALL, st.binary(max_size=20))
def test_of_a_changed_stream(ending: str, changes: list[tuple[float, int]], behind: bytes) -> None:
    data, opener = STREAMED[ending]
    data = changed(data, changes) + behind
    read: Members = set()
    with contextlib.suppress(Exception), opener(io.BytesIO(data)) as file:
        read = {("a", file.read())}
    check(f"a.{ending}", data, read)


@UNHURRIED
@given(CHANGES | SMALL, st.binary(max_size=20))
def test_of_a_changed_zlib_stream(changes: list[tuple[float, int]], behind: bytes) -> None:
    data = changed(zlib.compress(BODY), changes) + behind
    read: Members = set()
    with contextlib.suppress(Exception):
        read = {("a.joblib", zlib.decompressobj().decompress(data))}
    if data[:1] == b"\x78":
        check("a.joblib", data, read)
