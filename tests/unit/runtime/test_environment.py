from __future__ import annotations

from pathlib import Path

import pytest

from installml.runtime.environment import STAGING, collect, key
from installml.runtime.errors import LockInvalid, PythonMissing
from installml.runtime.index import Index
from installml.runtime.interpreter import running


def environment(runtimes: Path, lock: bytes) -> str:
    name = key(lock, "3.11.7", "cpython-linux-x86_64-gnu")
    (runtimes / name / "bin").mkdir(parents=True)
    return name


def test_everything_that_decides_the_contents_is_in_the_key() -> None:
    keys = {
        key(b"lock", "3.11.7", "linux"),
        key(b"lock2", "3.11.7", "linux"),
        key(b"lock", "3.11.8", "linux"),
        key(b"lock", "3.11.7", "macos"),
        key(b"lock3", ".11.7", "linux"),
    }

    assert len(keys) == 5
    assert all(len(k) == 64 and set(k) <= set("0123456789abcdef") for k in keys)


def test_environments_that_nothing_needs_are_collected(tmp_path: Path) -> None:
    needed, unneeded = environment(tmp_path, b"1"), environment(tmp_path, b"2")

    assert collect(tmp_path, {needed}) == (unneeded,)
    assert [path.name for path in tmp_path.iterdir()] == [needed]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").write_text("x")

    assert collect(tmp_path, set()) == ()
    assert {path.name for path in tmp_path.iterdir()} == {"notes", "file.txt"}


def test_a_staging_folder_that_nobody_holds_is_collected(tmp_path: Path) -> None:
    (tmp_path / f"{STAGING}host-1-x" / "env").mkdir(parents=True)

    assert collect(tmp_path, set()) == (f"{STAGING}host-1-x",)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_environments_has_nothing_to_collect(tmp_path: Path) -> None:
    assert collect(tmp_path / "absent", set()) == ()


def test_the_running_interpreter_describes_itself() -> None:
    ours = running()

    assert ours.path.exists()
    assert ours.version.count(".") >= 2
    assert ours.platform.startswith("cpython-")
    assert len(ours.platform.split("-")) == 4


@pytest.mark.parametrize("error", [LockInvalid, PythonMissing])
def test_a_package_that_cannot_be_prepared_makes_nothing(tmp_path: Path, error: type[Exception]) -> None:
    from installml.runtime.environment import ensure

    lock, python = (b"-r other.txt\n", "") if error is LockInvalid else (b"", ">=99")

    with pytest.raises(error):
        ensure(tmp_path / "runtimes", lock, python, Index(cache=tmp_path / "cache", environ={"PATH": ""}))

    assert not (tmp_path / "runtimes").exists()
