"""processes: which of those that were written down still run, and how they end."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from installml.errors import UsageError
from installml.machines.processes import birth_of, end, is_here
from installml.serving.errors import ServerFailed

STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); sys.stdin.read()"
)
GENTLE = "import sys; print('ready', flush=True); sys.stdin.read()"


@dataclass(frozen=True)
class Noted:
    """One that was written down."""

    id: str
    pid: int
    birth: str
    machine: str = platform.node()

    @property
    def alive(self) -> bool:
        return birth_of(self.pid) == self.birth


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a script and has said that it is ready."""
    script = getattr(request, "param", GENTLE)
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


def noted(process: subprocess.Popen[bytes]) -> Noted:
    return Noted("a-1", process.pid, birth_of(process.pid))


def test_a_process_that_ended_and_was_not_waited_for_has_no_birth(child: subprocess.Popen[bytes]) -> None:
    assert birth_of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert birth_of(child.pid) == ""


@pytest.mark.parametrize("child", [GENTLE, STUBBORN], indirect=True)
def test_processes_end_and_those_that_will_not_are_killed(child: subprocess.Popen[bytes]) -> None:
    end([noted(child)], 0.5, UsageError)
    assert child.wait(60) < 0


def test_a_number_that_was_given_again_is_left_alone(child: subprocess.Popen[bytes]) -> None:
    end([Noted("a-1", child.pid, "another birth")], 0.5, UsageError)
    assert child.poll() is None


def test_nobody_is_asked_when_one_runs_elsewhere(child: subprocess.Popen[bytes]) -> None:
    elsewhere = Noted("b-2", child.pid, birth_of(child.pid), "elsewhere")
    with pytest.raises(UsageError) as raised:
        end([noted(child), elsewhere], 0.5, ServerFailed)
    assert "b-2 runs on elsewhere" in str(raised.value)
    assert child.poll() is None
    assert is_here(platform.node())
    assert not is_here("elsewhere")


def test_a_process_of_another_user_is_refused_with_the_callers_error(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    with pytest.raises(ServerFailed, match="another user"):
        end([noted(child)], 0.5, ServerFailed)
    monkeypatch.undo()
    assert child.poll() is None
