"""Start a command line that goes on without its terminal, and what that process tells about itself."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..api import background
from ..api.background import Job
from ..errors import InstallMLError, StoreError
from ..machines.processes import birth_of
from ..serving.records import tail
from ..store.files import disk_errors, make_folder
from .context import Cli

__all__ = ["DetachFailed", "Reporter", "start"]

CHILD = Path(__file__).parent / "detached.py"

REPORT_S = 1.0
"""Seconds between two looks at how far it is."""

LOG_CAP = 4 << 20
"""Bytes after which nothing more is written to a log: days of lines, and a disk is not filled by a registry's words."""


class DetachFailed(InstallMLError):
    """The process in the background did not begin."""

    reference = "detach-failed"
    default_hint = "Run it without --detach to see why."


def start(words: Sequence[str], package: str, folder: Path) -> Job:
    """Run ``installml WORDS`` in a process that outlives this one and its terminal.

    Args:
        words: The command line; ``Cli.detached`` tells the new process that it is the one in the background.
        package: What it moves, for people.
        folder: Where the records are.

    Returns:
        Its record, once the process has written it.

    Raises:
        DetachFailed: It did not begin.
    """
    background.clear(folder)
    make_folder(folder)
    identity = background.new_id(package)
    log = background.log_path(folder, identity)
    with disk_errors(log):
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # By file and with -P: nothing of the current folder is imported. A session of its own: no terminal ends it.
        child = subprocess.Popen(
            [sys.executable, "-P", str(CHILD), str(folder.absolute()), identity],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=handle, start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(handle)
    order = json.dumps({"words": list(words), "package": package, "log": str(log.absolute())}).encode()
    answer = _asked(child, order)
    job = background.read(folder, identity) if answer == b"ready\n" else None
    if job is None:
        child.kill()
        child.wait()
        raise DetachFailed(f"the process in the background did not begin\n{tail(log)}".rstrip(), subject=str(log))
    return job


def _asked(child: subprocess.Popen[bytes], order: bytes) -> bytes:
    """Send the order and return the first line of the answer; empty when the child died first."""
    answer = b""
    with contextlib.suppress(BrokenPipeError):
        if child.stdin is not None:
            with child.stdin as pipe:
                pipe.write(order)
    if child.stdout is not None:
        with child.stdout as pipe:
            answer = pipe.readline()
    return answer


class Reporter:
    """Keeps the record of this process true while it runs.

    Args:
        folder: Where the records are.
        job: The record as it begins.
        cli: Of the command line that runs; what it shows is what is recorded.
    """

    def __init__(self, folder: Path, job: Job, cli: Cli) -> None:
        self._folder = folder
        self._job = job
        self._cli = cli
        self._over = threading.Event()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def begin(self) -> None:
        """Write the record and go on writing it.

        Raises:
            StoreError: It cannot be written.
        """
        background.write(self._folder, self._job)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(REPORT_S):
            self._report()
            _close_full_log()

    def _report(self) -> None:
        with self._guard, contextlib.suppress(StoreError):  # a full disk is the transfer's to tell
            if not self._over.is_set():
                self._look()
                background.write(self._folder, self._job)

    def _look(self) -> None:
        if self._cli.showing:
            tally, now = self._cli.showing[-1].tally, time.monotonic()
            self._job = replace(
                self._job, phase=tally.phase, fraction=round(max(tally.fraction, self._job.fraction), 4),
                done=max(tally.there, self._job.done), total=max(tally.total, self._job.total),
                speed=int(tally.speed(now)),
            )  # fmt: skip

    def end(self, code: int) -> None:
        """Write how it ended; the first word is the last.

        Args:
            code: The command's exit code.
        """
        with self._guard, contextlib.suppress(StoreError):
            if self._over.is_set():
                return
            self._over.set()
            self._look()
            state = {0: "done", 130: "stopped"}.get(code, "failed")
            job = replace(self._job, state=state, speed=0, message=self._reason() if state == "failed" else "")
            background.write(self._folder, replace(job, fraction=1.0) if state == "done" else job)

    def _reason(self) -> str:
        lines = [line for line in tail(Path(self._job.log)).splitlines() if line.startswith("error: ")]
        return lines[-1].removeprefix("error: ")[:1000] if lines else ""


def new_job(identity: str, package: str, words: Sequence[str], log: str) -> Job:
    """Return the record of this process."""
    return Job(
        id=identity, verb=words[0], package=package, pid=os.getpid(), birth=birth_of(os.getpid()),
        machine=platform.node(), started=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        log=log,
    )  # fmt: skip


def _close_full_log() -> None:
    with contextlib.suppress(OSError):
        if os.fstat(2).st_size > LOG_CAP:
            os.write(2, b"the log is full; nothing more is written to it\n")
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            os.close(nothing)
