"""Archives and compressed files: every member is reached, every doubt is a finding, bombs stop early."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installml.scanning.content import BytesContent, FileContent
from installml.scanning.finding import Limits, Report
from installml.scanning.scanners import SCANNERS
from installml.scanning.walk import scan_files
from tests.unit.scanning.looking import blocking, findings, rules
from tests.unit.scanning.malicious import EVIL, archive, npy, taped

UNHURRIED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PLAIN = pickle.dumps({"a": 1})
BODY = b"body" * 200


def scan(name: str, data: bytes, limits: Limits) -> Report:
    return scan_files([(name, BytesContent(data))], SCANNERS, limits=limits)


def streamed(*members: tuple[str, bytes]) -> bytes:
    """Return a zip as it is written to a pipe: sizes follow the data."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object, /) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as opened:  # type: ignore[arg-type]
        for name, data in members:
            opened.writestr(name, data)
    return pipe.data


def wide(*members: tuple[str, bytes]) -> bytes:
    """Return a zip whose members have 64-bit sizes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for name, data in members:
            with opened.open(name, "w", force_zip64=True) as member:
                member.write(data)
    return file.getvalue()


@pytest.mark.parametrize("make", [archive, streamed, wide])
def test_a_zip_of_every_kind_of_writer_is_read_and_in_no_doubt(make: object) -> None:
    assert callable(make)
    assert rules("a.zip", make(("a/readme.txt", BODY), ("a/data.pkl", PLAIN))) == set()
    assert rules("a.zip", make(("a/readme.txt", BODY), ("a/data.pkl", EVIL))) == {"pickle-dangerous-import"}


def test_a_member_is_named_with_every_container_around_it() -> None:
    inner = archive(("m.pkl", EVIL))
    (finding,) = findings("a.tar.gz", gzip.compress(taped(("x/in.zip", inner))))
    assert finding.inner == "a.tar!x/in.zip!m.pkl"


def test_an_empty_zip_and_an_empty_tar_have_no_findings() -> None:
    assert rules("a.zip", archive()) == set()
    assert rules("a.tar", taped()) == set()


@pytest.mark.parametrize(
    ("at", "form", "value", "rule"),
    [
        (8, "<H", 9, "zip-ambiguous"),  # members on this disk
        (10, "<H", 9, "zip-ambiguous"),  # members in all
        (16, "<L", 7, "zip-prefix"),  # where the directory is
        (12, "<L", 1 << 30, "unreadable"),  # its size
        (20, "<H", 40, "zip-ambiguous"),  # length of the comment
    ],
)
def test_an_end_record_that_lies_is_a_finding(at: int, form: str, value: int, rule: str) -> None:
    data = bytearray(archive(("a.txt", BODY)))
    struct.pack_into(form, data, data.rindex(b"PK\x05\x06") + at, value)
    assert rule in blocking("a.zip", bytes(data))


@pytest.mark.parametrize(
    ("at", "form", "value", "rule"),
    [
        (6, "<H", 1, "zip-encrypted"),
        (8, "<H", 8, "zip-ambiguous"),
        (18, "<L", 3, "zip-ambiguous"),
        (22, "<L", 3, "zip-ambiguous"),
        (30, "<B", 0x62, "zip-ambiguous"),
        (0, "<B", 0, "unreadable"),
    ],
)
def test_a_members_header_that_differs_is_a_finding(at: int, form: str, value: int, rule: str) -> None:
    data = bytearray(archive(("a.txt", BODY)))
    struct.pack_into(form, data, at, value)
    assert rule in blocking("a.zip", bytes(data))


def test_a_second_name_in_an_extra_field_is_a_finding() -> None:
    info = zipfile.ZipInfo("a.txt")
    info.extra = struct.pack("<HHBL", 0x7075, 5 + 5, 1, 0) + b"b.pkl"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr(info, BODY)
    assert "zip-ambiguous" in blocking("a.zip", file.getvalue())


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "C:\\a", "a\\..\\b"])
def test_a_name_that_leaves_the_folder_is_a_finding(name: str) -> None:
    assert "archive-unsafe-name" in blocking("a.zip", archive((name, b"x")))
    assert "archive-unsafe-name" in blocking("a.tar", taped((name, b"x")))


@pytest.mark.parametrize("name", ["a..b/c", "a/b..", "...", "a b/c:d"])
def test_a_name_with_harmless_dots_is_none(name: str) -> None:
    assert rules("a.zip", archive((name, b"x"))) == set()


def test_a_symbolic_link_in_a_zip_is_a_finding() -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr(info, "/etc/passwd")
    assert blocking("a.zip", file.getvalue()) == {"archive-link"}


def test_names_that_mean_the_same_place_are_doubled() -> None:
    assert "zip-doubled-name" in blocking("a.zip", archive(("a/b", b"1"), ("a//b", b"2")))


def test_an_unknown_compression_method_is_a_finding() -> None:
    data = bytearray(archive(("a.txt", BODY)))
    for at in (8, data.index(b"PK\x01\x02") + 10):
        struct.pack_into("<H", data, at, 99)
    assert blocking("a.zip", bytes(data)) == {"unscannable-container"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_in_a_tar_is_a_finding(kind: bytes) -> None:
    assert blocking("a.tar", taped(("x", b""), kind=kind, link="y")) == {"archive-link"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["m.pkl", "long/" * 30 + "m.pkl", "ü/m.pkl"])
def test_a_tar_of_every_format_is_read(form: int, name: str) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as opened:
        info = tarfile.TarInfo(name)
        info.size = len(EVIL)
        opened.addfile(info, io.BytesIO(EVIL))
    (finding,) = findings("a.tar", file.getvalue())
    assert (finding.rule.id, finding.inner) == ("pickle-dangerous-import", name)


def test_a_tar_of_before_ustar_is_known_by_its_sum() -> None:
    data = bytearray(taped(("m.pkl", EVIL)))
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert blocking("weights", bytes(data)) == {"pickle-dangerous-import"}


def test_a_tar_with_two_sizes_of_one_member_is_a_finding() -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as opened:
        info = tarfile.TarInfo("a")
        info.size, info.pax_headers = 1024, {"size": "512"}
        opened.addfile(info, io.BytesIO(bytes(1024)))
    assert "tar-ambiguous" in blocking("a.tar", file.getvalue())


def test_a_broken_tar_header_is_a_finding() -> None:
    data = bytearray(taped(("a", BODY), ("b", BODY)))
    data[2 * 512 + 512 : 2 * 512 + 520] = b"garbage!"
    assert blocking("a.tar", bytes(data)) == {"unreadable"}


COMPRESSED = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress, "zlib": zlib.compress,
}  # fmt: skip


@pytest.mark.parametrize("ending", COMPRESSED)
def test_what_a_compression_hides_is_found_under_any_name(ending: str) -> None:
    data = COMPRESSED[ending](EVIL)
    assert blocking("model.bin", data) == {"pickle-dangerous-import"}
    assert blocking(f"model.pkl.{ending}", data) == {"pickle-dangerous-import"}


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
def test_a_second_stream_is_read_as_a_part_of_the_first(ending: str) -> None:
    compress = COMPRESSED[ending]
    (finding,) = findings("a.pkl", compress(pickle.dumps(1)) + compress(EVIL))
    assert finding.rule.id == "pickle-dangerous-import"


@pytest.mark.parametrize("ending", COMPRESSED)
def test_a_compressed_file_that_is_cut_off_is_a_finding(ending: str) -> None:
    data = COMPRESSED[ending](np.random.default_rng(1).bytes(2_000))
    assert blocking(f"a.bin.{ending}", data[:1000]) == {"unreadable"}


def test_a_file_that_is_only_called_compressed_is_a_finding() -> None:
    assert blocking("a.gz", b"hello") == {"unreadable"}


def test_containers_nested_too_deeply_are_a_finding() -> None:
    data = EVIL
    for _ in range(8):
        data = archive(("m.pkl", data))
    assert blocking("a.zip", data) == {"too-much-work"}


def test_too_many_members_are_a_finding() -> None:
    data = archive(*((f"m{n}", b"x") for n in range(50)))
    assert [finding.rule.id for finding in scan("a.zip", data, Limits(entries=20)).findings] == ["too-much-work"]


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
def test_a_bomb_is_not_expanded_beyond_the_limit(ending: str) -> None:
    data = COMPRESSED[ending](PLAIN[:-1] + b"N0" * 3_000_000 + b".")
    limits = Limits(expanded=1 << 20)
    assert "too-much-work" in {finding.rule.id for finding in scan(f"m.pkl.{ending}", data, limits).findings}


def test_a_ratio_that_no_model_has_is_a_finding() -> None:
    data = gzip.compress(PLAIN[:-1] + b"0B" + struct.pack("<L", 8_000_000) + bytes(8_000_000) + b".")
    found = scan("m.pkl.gz", data, Limits(ratio_from=1 << 20)).findings
    assert [finding.rule.id for finding in found] == ["too-much-work"]
    assert rules("m.pkl.gz", data) == set()


class _Watched(FileContent):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read = 0

    def read_at(self, offset: int, size: int) -> bytes:
        data = super().read_at(offset, size)
        self.read += len(data)
        return data


def test_raw_weights_in_a_zip_are_not_read(tmp_path: Path) -> None:
    weights = np.random.default_rng(1).bytes(4 << 20)
    path = tmp_path / "model.pt"
    path.write_bytes(archive(("m/data.pkl", PLAIN), *((f"m/data/{n}", weights) for n in range(8))))
    content = _Watched(path)
    assert scan_files([("model.pt", content)], SCANNERS).findings == []
    content.close()
    assert content.read < 8 << 20


CHANGES = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), min_size=1, max_size=6)
FILES = st.sampled_from([
    ("a.zip", archive(("a/m.pkl", EVIL), ("b.txt", BODY), method=zipfile.ZIP_DEFLATED)),
    ("a.zip", wide(("m.pkl", EVIL))), ("a.zip", archive(("m", EVIL), method=zipfile.ZIP_LZMA)),
    ("a.tar", taped(("long/" * 40 + "m.pkl", EVIL))),
    ("a.npy", npy(np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8", (2,))]))), ("a.gz", gzip.compress(EVIL)),
    ("a.joblib", zlib.compress(EVIL)), ("a.xz", lzma.compress(EVIL)), ("a.zst", zstd.compress(EVIL)),
])  # fmt: skip


@UNHURRIED
@given(FILES, CHANGES, st.integers(0, 200))
def test_a_changed_file_gives_findings_and_nothing_else(
    file: tuple[str, bytes], changes: list[tuple[int, int]], cut: int
) -> None:
    name, data = file
    changed = bytearray(data)
    for at, value in changes:
        changed[at % len(changed)] = value
    limits = Limits(steps=100_000, expanded=1 << 24, entries=200)
    scan(name, bytes(changed[: max(1, len(changed) - cut)] if cut < 60 else changed), limits)


@UNHURRIED
@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), st.binary()),
        unique_by=lambda m: m[0].lower(),
    )
)
def test_an_ordinary_zip_of_any_members_is_in_no_doubt(members: list[tuple[str, bytes]]) -> None:
    found = {rule for rule in blocking("a.zip", archive(*((f"m/{name}.txt", data) for name, data in members)))}
    assert not {rule for rule in found if rule.startswith(("zip-", "archive-"))}
