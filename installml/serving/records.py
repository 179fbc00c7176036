"""Which servers run on this machine: one JSON file a server, checked against the living before it is believed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..machines import processes
from ..store.files import disk_errors, write_whole
from .client import Client
from .errors import ServerFailed, ServerNotFound

__all__ = ["Record", "find", "follow", "log_path", "servers", "stop", "tail"]

MAX_RECORD = 1 << 16
KEPT_LOGS = 20
PATIENCE_S = 40.0
"""Seconds that a server's running requests get before it is killed: more than ``Limits.drain_timeout_s``."""
_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Record:
    """A running server.

    Attributes:
        id: Unique on this machine; the name of its record and its log.
        name: The served model's name.
        version: Its version.
        digest: Its manifest digest; empty for a plain folder.
        url: Where it answers.
        pid: Its process.
        started: When, ISO 8601 in UTC.
        log: Its log file.
        machine: The host that it runs on; a home on a network file system is seen by several.
        birth: When the system says that the process began, so that a reused pid is not mistaken for it.
        token: Its bearer token; the record is readable by its owner alone, and ``shown`` leaves it out.
        ca: PEM file that vouches for its certificate.
    """

    id: str
    name: str
    version: str
    digest: str
    url: str
    pid: int
    started: str
    log: str
    machine: str
    birth: str
    token: str = field(default="", repr=False)
    ca: str = ""

    @property
    def client(self) -> Client:
        """A client that this server answers."""
        return Client(self.url, self.token, self.ca)

    @property
    def here(self) -> bool:
        """Whether it was started on this machine."""
        return processes.is_here(self.machine)

    @property
    def alive(self) -> bool:
        """Whether its process still runs; what runs elsewhere is believed."""
        return not self.here or processes.birth_of(self.pid) == self.birth

    def shown(self) -> dict[str, str | int]:
        """Return what may be printed: all but the token."""
        value = dataclasses.asdict(self)
        del value["token"]
        return value


def write(state: Path, record: Record) -> None:
    """Publish a record."""
    write_whole(_file(state, record.id), json.dumps(as_json(record)).encode(), mode=0o600)


def as_json(record: Record) -> dict[str, str | int]:
    """Return all of a record, token included: for its owner's processes only."""
    return dataclasses.asdict(record)


def remove(state: Path, identity: str) -> None:
    """Take a record back; nothing there is fine."""
    with contextlib.suppress(OSError):
        _file(state, identity).unlink(missing_ok=True)


def _file(state: Path, identity: str) -> Path:
    return state / f"{identity}.json"


def log_path(state: Path, identity: str) -> Path:
    """Return where the server of that id writes its log."""
    return state / f"{identity}.log"


def _read(path: Path) -> Record | None:
    try:
        if path.stat().st_size > MAX_RECORD:
            return None
        record = Record(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return record if isinstance(record.pid, int) and record.pid > 1 and path.stem == record.id else None


def servers(state: Path) -> list[Record]:
    """Return the running servers, oldest first; records of dead ones are removed.

    Args:
        state: Folder of the records.
    """
    found = []
    for path in sorted(state.glob("*.json")):
        record = _read(path)
        if record is not None and record.alive:
            found.append(record)
        elif record is not None:
            remove(state, record.id)
    return sorted(found, key=lambda record: record.started)


def find(state: Path, name_or_id: str) -> list[Record]:
    """Return the running servers of that id, or else of that model's name.

    Raises:
        ServerNotFound: There is none.
    """
    running = servers(state)
    found = [r for r in running if r.id == name_or_id] or [r for r in running if r.name == name_or_id]
    if not found:
        raise ServerNotFound(f"no server {name_or_id} runs here", subject=name_or_id)
    return found


def stop(state: Path, name_or_id: str) -> list[Record]:
    """End the servers of that id or model name, and wait until they are gone.

    Args:
        state: Folder of the records.
        name_or_id: A server's id, or a model's name: all its servers.

    Returns:
        What was stopped.

    Raises:
        ServerNotFound: There is none.
        UsageError: It runs on another machine.
    """
    found = find(state, name_or_id)
    processes.end(found, PATIENCE_S, ServerFailed)
    for record in found:
        remove(state, record.id)
    return found


def find_log(state: Path, name_or_id: str) -> Path:
    """Return the newest log of that id or model name, of a server that runs or has ended.

    Raises:
        ServerNotFound: None was ever written, or it has been cleared away.
    """
    exact = log_path(state, name_or_id)
    if exact.exists():
        return exact
    # An id is the name, a hyphen and eight hex digits, so a name never matches another one's log.
    pattern = re.compile(re.escape(name_or_id) + r"-[0-9a-f]{8}\.log")
    logs = [path for path in state.glob("*.log") if pattern.fullmatch(path.name)]
    if not logs:
        raise ServerNotFound(f"no server {name_or_id} has written a log here", subject=name_or_id)
    return max(logs, key=lambda path: path.stat().st_mtime)


def clear_logs(state: Path, kept: int = KEPT_LOGS) -> None:
    """Remove the oldest logs of ended servers, all but ``kept``."""
    ended = [path for path in state.glob("*.log") if not path.with_suffix(".json").exists()]
    for path in sorted(ended, key=lambda path: path.stat().st_mtime, reverse=True)[kept:]:
        path.unlink(missing_ok=True)


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 400 * lines))
            text = file.read(400 * lines).decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def follow(log: Path, running: Callable[[], bool]) -> Iterator[str]:
    """Yield a log's text as it grows, from its beginning, until the server has ended.

    Args:
        log: The file.
        running: Says whether the server still writes.
    """
    with disk_errors(log), log.open("rb") as file:
        while True:
            last = not running()
            while part := file.read(1 << 16):
                yield part.decode("utf-8", "replace")
            if last:
                return
            time.sleep(_PAUSE_S)
