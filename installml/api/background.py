"""Which transfers go on in the background: one JSON file each, checked against the living before it is believed.

The process itself is started by the command line (``installml.cli.background``); here are its records, and what ``ps``,
``logs`` and ``stop`` do with them. A record is written by its own process alone until that process is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import NotFound, StoreError, UsageError
from ..machines import processes
from ..store.files import disk_errors, make_folder
from .results import Transfer

__all__ = ["Job", "TransferNotFound", "clear", "find", "find_log", "jobs", "new_id", "ps", "read", "stop", "write"]

MAX_RECORD = 1 << 16
KEPT = 20
"""Records and logs of ended transfers that are kept for ``ps --all`` and ``logs``."""
PATIENCE_S = 15.0
"""Seconds that a transfer gets to put down what it has before it is killed; killing loses at most a few parts."""


class TransferNotFound(NotFound):
    """No transfer of that name goes on in the background."""

    reference = "transfer-not-found"
    default_hint = "See what runs, and what has ended, with: installml ps --all"


@dataclass(frozen=True, slots=True)
class Job:
    """A transfer in the background.

    Attributes:
        id: Unique on this machine; the name of its record and its log.
        verb: What it does, such as ``pull``.
        package: The reference as it was given.
        pid: Its process.
        birth: When the system says that the process began, so that a reused pid is not mistaken for it.
        machine: The host that it runs on; a home on a network file system is seen by several.
        started: When, ISO 8601 in UTC.
        log: Its log file.
        state: ``running``, ``done``, ``failed``, ``stopped``, or ``died``: gone without a word.
        phase: What it does at the moment.
        fraction: How much is done, from 0 to 1.
        done: Bytes that are there.
        total: Bytes of the package; 0 while unknown.
        speed: Bytes a second of the last seconds.
        message: Why it failed.
        shown: Whether ``ps`` has told how it ended.
    """

    id: str
    verb: str
    package: str
    pid: int
    birth: str
    machine: str
    started: str
    log: str
    state: str = "running"
    phase: str = ""
    fraction: float = 0.0
    done: int = 0
    total: int = 0
    speed: int = 0
    message: str = ""
    shown: bool = False

    @property
    def here(self) -> bool:
        """Whether it was started on this machine."""
        return processes.is_here(self.machine)

    @property
    def alive(self) -> bool:
        """Whether its process still runs; what runs elsewhere is believed."""
        return self.state == "running" and (not self.here or processes.birth_of(self.pid) == self.birth)

    def result(self) -> Transfer:
        """Return what may be printed."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(Transfer)}
        return Transfer(**fields)


def new_id(package: str) -> str:
    """Return a name for a transfer that no other has: the package's own, a hyphen and eight hex digits."""
    name = package.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return f"{name}-{secrets.token_hex(4)}"


def log_path(folder: Path, identity: str) -> Path:
    """Return where the transfer of that id writes its log."""
    return folder / f"{identity}.log"


def write(folder: Path, job: Job) -> None:
    """Put a record in the place of the one before it; not flushed to the disk: a dead machine has no transfers."""
    make_folder(folder)
    path = folder / f"{job.id}.json"
    staging = path.with_suffix(f".{os.getpid()}.tmp")
    with disk_errors(path):
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(job), file)
        staging.replace(path)


def read(folder: Path, identity: str) -> Job | None:
    """Return a record; None when there is none that can be read."""
    path = folder / f"{identity}.json"
    try:
        if path.stat().st_size > MAX_RECORD:
            return None
        job = Job(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return job if isinstance(job.pid, int) and job.pid > 1 and job.id == identity else None


def jobs(folder: Path) -> list[Job]:
    """Return all transfers that are known, oldest first; one whose process is gone without a word has died."""
    found = [job for path in folder.glob("*.json") if (job := read(folder, path.stem)) is not None]
    return [_honest(folder, job) for job in sorted(found, key=lambda job: (job.started, job.id))]


def _honest(folder: Path, job: Job) -> Job:
    if job.state != "running" or job.alive:
        return job
    latest = read(folder, job.id) or job  # it may have said its last word between our two looks
    return latest if latest.state != "running" else replace(job, state="died", speed=0)


def ps(folder: Path, *, all: bool = False) -> list[Job]:  # noqa: A002 - the flag's name
    """Return the running transfers, and the ended ones that were not shown before; with ``all`` every one."""
    known = jobs(folder)
    shown = [job for job in known if all or job.state == "running" or not job.shown]
    for job in known:
        if job.state != "running" and not job.shown:
            with contextlib.suppress(StoreError):  # a read-only home: told again next time
                write(folder, replace(job, shown=True))
    return shown


def find(folder: Path, name_or_id: str) -> list[Job]:
    """Return the running transfers of that id, package or package name.

    Raises:
        TransferNotFound: There is none.
    """
    running = [job for job in jobs(folder) if job.state == "running"]
    name = new_id(name_or_id)[:-9]
    found = [j for j in running if j.id == name_or_id] or [j for j in running if j.package == name_or_id]
    found = found or [j for j in running if name_or_id == name == j.id[:-9]]
    if not found:
        raise TransferNotFound(f"no transfer {name_or_id} goes on here", subject=name_or_id)
    return found


def stop(folder: Path, name_or_id: str) -> list[Job]:
    """End transfers so that they can go on later, and wait until they are gone.

    Raises:
        TransferNotFound: There is none.
        UsageError: It runs on another machine.
    """
    found = find(folder, name_or_id)
    processes.end(found, PATIENCE_S, UsageError)
    for job in found:
        last = read(folder, job.id) or job
        if last.state == "running":
            last = replace(last, state="stopped", speed=0)
        write(folder, replace(last, shown=True))  # whoever stops it knows
    return found


def find_log(folder: Path, name_or_id: str) -> tuple[Path, Callable[[], bool]]:
    """Return the newest log of that id or package name, and what tells whether it is still written.

    Raises:
        TransferNotFound: None was ever written, or it has been cleared away.
    """
    pattern = re.compile(re.escape(new_id(name_or_id)[:-9]) + r"-[0-9a-f]{8}\.log")
    exact = [path for path in folder.glob("*.log") if path.stem == name_or_id]
    logs = exact or [path for path in folder.glob("*.log") if pattern.fullmatch(path.name)]
    if not logs:
        raise TransferNotFound(f"no transfer {name_or_id} has written a log here", subject=name_or_id)
    newest = max(logs, key=lambda path: path.stat().st_mtime)

    def running() -> bool:
        job = read(folder, newest.stem)
        return job is not None and job.alive

    return newest, running


def clear(folder: Path, kept: int = KEPT) -> None:
    """Remove the oldest records and logs of ended transfers, all but ``kept``."""
    ended = [job for job in jobs(folder) if job.state != "running"]
    for job in ended[: max(0, len(ended) - kept)]:
        for path in (folder / f"{job.id}.json", log_path(folder, job.id)):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
