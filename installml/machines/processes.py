"""Processes of this machine that somebody wrote down: whether they still run, and how they are ended.

A number alone names no process for long: it is given again. So what is written down has the moment of birth too, and
the machine's name, because a folder on a network file system is seen from several.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..errors import InstallMLError, UsageError

__all__ = ["Written", "birth_of", "end", "is_here"]

LAST_S = 10.0
"""Seconds until a killed process is gone."""
_POLL_S = 0.05


class Written(Protocol):
    """What is written down about a process."""

    @property
    def id(self) -> str:
        """Its name for people."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def machine(self) -> str:
        """The host that it runs on."""

    @property
    def alive(self) -> bool:
        """Whether it still runs; what runs elsewhere is believed."""


def is_here(machine: str) -> bool:
    """Return whether ``machine`` names this one."""
    return machine == platform.node()


def birth_of(pid: int) -> str:
    """Return when the process began, in the system's own words; empty when there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _birth_from_ps(pid)
    # proc_pid_stat(5): the state and starttime are the 1st and 20th fields after the command, which may hold spaces.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _birth_from_ps(pid: int) -> str:
    asked = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    state, _, birth = asked.stdout.strip().partition(" ")
    return "" if not state or state.startswith("Z") else birth.strip()


def end(found: Sequence[Written], patience_s: float, refused: type[InstallMLError]) -> None:
    """Ask processes to end, all at once, wait until they are gone, and kill what stays.

    Args:
        found: The processes.
        patience_s: Seconds that each gets to put down what it has.
        refused: The error for a process of another user.

    Raises:
        UsageError: One runs on another machine; none was asked.
        InstallMLError: ``refused``.
    """
    for process in found:
        if not is_here(process.machine):
            raise UsageError(
                f"{process.id} runs on {process.machine}",
                hint=f"Type installml stop {process.id} there.",
                subject=process.id,
            )
    for process in found:
        _signal(process, signal.SIGTERM, refused)
    for process in found:
        if not _ended(process, patience_s):
            _signal(process, signal.SIGKILL, refused)
            _ended(process, LAST_S)


def _signal(process: Written, number: signal.Signals, refused: type[InstallMLError]) -> None:
    try:
        if process.alive:
            os.kill(process.pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise refused(f"{process.id} belongs to another user", subject=process.id) from error


def _ended(process: Written, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while process.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
