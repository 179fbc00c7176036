"""Records of transfers in the background, with processes of our own as their subjects."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from installml.api import background
from installml.api.background import Job, TransferNotFound
from installml.machines.processes import birth_of


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that waits for its end."""
    with subprocess.Popen([sys.executable, "-c", "import signal; print(flush=True); signal.pause()"],
                          stdout=subprocess.PIPE) as child:  # fmt: skip
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def job(pid: int, identity: str = "llm-00000001", **fields: object) -> Job:
    base = Job(identity, "pull", "acme/llm:1", pid, birth_of(pid), platform.node(), "2026-01-01T00:00:00", "log")
    return replace(base, **fields)  # type: ignore[arg-type]


def test_a_running_transfer_is_shown_as_often_as_it_is_asked_for(tmp_path: Path) -> None:
    background.write(tmp_path, job(os.getpid()))
    assert [[j.state for j in background.ps(tmp_path)] for _ in range(2)] == [["running"], ["running"]]


def test_an_ended_transfer_is_shown_once_and_with_all_again(tmp_path: Path) -> None:
    background.write(tmp_path, job(os.getpid(), state="failed", message="no room"))
    assert [j.message for j in background.ps(tmp_path)] == ["no room"]
    assert background.ps(tmp_path) == []
    assert [j.state for j in background.ps(tmp_path, all=True)] == ["failed"]


def test_a_process_that_is_gone_without_a_word_has_died(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    background.write(tmp_path, job(process.pid, fraction=0.4, speed=10))
    process.kill()
    process.wait()
    (shown,) = background.ps(tmp_path)
    assert (shown.state, shown.fraction, shown.speed) == ("died", 0.4, 0)


def test_a_reused_process_number_is_not_the_transfer(tmp_path: Path) -> None:
    background.write(tmp_path, job(os.getpid(), birth="another"))
    assert background.ps(tmp_path)[0].state == "died"


def test_stop_ends_the_process_and_says_so(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    background.write(tmp_path, job(process.pid))
    assert [j.id for j in background.stop(tmp_path, "llm")] == ["llm-00000001"]
    assert process.wait() != 0
    assert [j.state for j in background.ps(tmp_path, all=True)] == ["stopped"]


@pytest.mark.parametrize("name", ["llm-00000001", "llm", "acme/llm:1"])
def test_a_transfer_is_found_by_id_name_and_package(tmp_path: Path, name: str) -> None:
    background.write(tmp_path, job(os.getpid()))
    assert background.find(tmp_path, name)[0].id == "llm-00000001"


def test_what_does_not_run_is_not_found(tmp_path: Path) -> None:
    background.write(tmp_path, job(os.getpid(), state="done"))
    with pytest.raises(TransferNotFound):
        background.find(tmp_path, "llm")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"id": 1}', "[" * 5000])
def test_a_record_that_is_none_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert background.jobs(tmp_path) == []


def test_only_the_latest_ended_transfers_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        background.write(tmp_path, job(os.getpid(), f"x-{number:08x}", state="done", started=str(number)))
    background.write(tmp_path, job(os.getpid(), "x-ffffffff", started="0"))
    background.clear(tmp_path, 2)
    assert {j.id for j in background.jobs(tmp_path)} == {"x-00000003", "x-00000004", "x-ffffffff"}
