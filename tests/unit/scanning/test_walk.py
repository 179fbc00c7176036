"""Files come to every scanner that claims them; what cannot be read is a finding and never silence."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import pickle
import zlib
from pathlib import Path

import pytest
from backports import zstd

from installml.scanning import scanners
from installml.scanning.content import BytesContent, Expanded, FileContent, Part, codecs, folder_files
from installml.scanning.finding import Budget, Content, Exhausted, Limits, Severity, Unreadable, Visit
from installml.scanning.scanners import RULES, SCANNERS
from installml.scanning.walk import printable, scan_files
from tests.unit.scanning.malicious import COMMAND, EVIL, archive


class Failing:
    """A scanner that cannot read what it claims."""

    name = "failing"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def claims(self, head: bytes, name: str) -> bool:
        return name.endswith(".fail")

    def scan(self, content: Content, visit: Visit) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "rule"), [(Unreadable("is odd", 7), "unreadable"), (Exhausted("is endless"), "too-much-work")]
)
def test_what_a_scanner_cannot_read_is_a_finding(error: Exception, rule: str) -> None:
    report = scan_files([("a.fail", BytesContent(b"x"))], (Failing(error),))
    assert [(finding.rule.id, finding.severity) for finding in report.findings] == [(rule, Severity.high)]


def test_a_file_of_two_kinds_is_met_as_both() -> None:
    report = scan_files([("a.pkl", BytesContent(pickle.dumps(1) + archive(("x.pkl", EVIL))))], SCANNERS)
    assert {"pickle", "zip"} <= set(report.files[0].scanners)
    assert "pickle-dangerous-import" in {finding.rule.id for finding in report.findings}


def test_a_folder_is_scanned_in_order_and_nothing_is_left_out(tmp_path: Path) -> None:
    for name in ("b/c.pkl", "a.txt", "b/.hidden.pkl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(EVIL if name.endswith("pkl") else b"hello")
    report = scan_files(folder_files(tmp_path), SCANNERS)
    assert [file.path for file in report.files] == ["a.txt", "b/.hidden.pkl", "b/c.pkl"]
    assert {finding.path for finding in report.findings} == {"b/c.pkl", "b/.hidden.pkl"}


def test_a_link_to_a_file_is_scanned_as_the_file(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "outside").write_bytes(EVIL)
    (tmp_path / "package" / "m.pkl").symlink_to(tmp_path / "outside")
    report = scan_files(folder_files(tmp_path / "package"), SCANNERS)
    assert report.worst == Severity.critical


def test_what_cannot_be_opened_is_a_finding(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").symlink_to(tmp_path)
    report = scan_files(folder_files(tmp_path), SCANNERS)
    assert [(finding.path, finding.rule.id) for finding in report.findings] == [
        ("dangling", "unopened"),
        ("folder", "unopened"),
        ("pipe", "unopened"),
    ]
    assert report.skipped.keys() == {"dangling", "folder", "pipe"}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed on Linux only")
def test_files_are_closed_once_they_were_scanned(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("hello")
    before = len(list(Path("/proc/self/fd").iterdir()))
    scan_files(folder_files(tmp_path), SCANNERS)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_nothing_of_a_malicious_file_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.pkl").write_bytes(EVIL)
    scan_files(folder_files(tmp_path), SCANNERS)
    assert COMMAND.split()[1] not in capfd.readouterr().out


def test_every_rule_says_what_it_is_and_what_to_do() -> None:
    assert len(RULES) >= 40
    for rule in RULES.values():
        assert all((rule.title, rule.explanation, rule.advice)), rule.id
        assert rule.id == rule.id.lower().replace(" ", "-")


def test_rules_of_two_modules_have_two_names() -> None:
    rules = [rule.id for module in scanners._MODULES for rule in module.RULES]
    assert len(rules) == len(set(rules))


@pytest.mark.parametrize(
    ("text", "shown"), [("a\nb", "a\\x0ab"), ("\x1b[31m", "\\x1b[31m"), ("x" * 400, "x" * 300 + "...")]
)
def test_text_out_of_a_file_is_shown_on_one_line(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_part_gives_nothing_beyond_its_end() -> None:
    part = Part(BytesContent(b"0123456789"), 2, 5)
    assert (part.size, part.read_at(3, 10), part.read_at(5, 1), part.read_at(-1, 2)) == (5, b"56", b"", b"")


@pytest.mark.parametrize("codec", codecs())
def test_what_is_expanded_can_be_read_anywhere(codec: str) -> None:
    data = os.urandom(1 << 20) * 6
    compress = {
        "gzip": gzip.compress, "zlib": zlib.compress, "bz2": bz2.compress, "lzma": lzma.compress, "zstd": zstd.compress,
        "deflate": lambda data: zlib.compress(data)[2:-4],
    }[codec]  # fmt: skip
    expanded = Expanded(BytesContent(compress(data)), codecs()[codec], codec, Budget(Limits()))
    for offset in (0, 5_000_000, 17, 3_000_000, len(data) - 3, len(data), len(data) + 5):
        assert expanded.read_at(offset, 1000) == data[offset : offset + 1000]
    assert expanded.size == len(data)


def test_reading_again_from_the_start_counts_again() -> None:
    budget = Budget(Limits(expanded=20 << 20))
    expanded = Expanded(BytesContent(zlib.compress(os.urandom(8 << 20))), codecs()["zlib"], "zlib", budget)
    expanded.read_at(8 << 20, 1)
    expanded.read_at(0, 1)
    expanded.read_at((8 << 20) - 1, 1)
    expanded.read_at(0, 1)
    with pytest.raises(Exhausted):
        expanded.read_at((8 << 20) - 1, 1)


def test_a_file_that_grows_or_shrinks_is_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0123456789")
    content = FileContent(path)
    assert content.size == 10
    path.write_bytes(b"01")
    assert content.read_at(5, 5) == b""
    content.close()
