"""Virtual environments that models share: one for each lock, Python and platform, whole or absent.

``runtimes/<key>/`` is made in ``runtimes/.staging-<unique>/env`` and renamed. Two
processes may make the same one; the second to finish throws its own away. A killed process leaves only its
staging folder, which ``collect`` removes once neither it nor its uv child lives.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..events import Listener, Phase, ignore
from ..store.files import disk_errors, fsync_folder, make_folder, remove_tree, unique_suffix, write_whole
from . import uv
from .errors import RuntimeFailed, WheelsMissing
from .index import Index
from .interpreter import Interpreter, choose
from .lock import check_lock, missing_wheels, wheels

__all__ = ["STAGING", "Environment", "collect", "ensure", "key"]

STAGING = ".staging-"
"""How the name of an environment in the making begins."""

READY = "ready.json"
_KEY = re.compile("[0-9a-f]{64}")
_TRIES = 10
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST}


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that is ready.

    Attributes:
        path: Its folder.
        python: The interpreter to start a worker with.
        key: Name of the folder, from lock, Python and platform.
        created: Whether this call made it.
    """

    path: Path
    python: Path
    key: str
    created: bool


def key(lock: bytes, python_version: str, platform: str) -> str:
    """Return the name of the environment: sha256 in hexadecimal over all that decides its contents.

    Args:
        lock: The lock's bytes.
        python_version: Full version, such as ``3.11.7``.
        platform: As in ``Interpreter.platform``.
    """
    parts = (lock, python_version.encode(), platform.encode())
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


def ensure(runtimes: Path, lock: bytes, python: str, index: Index, on_event: Listener = ignore) -> Environment:
    """Return the environment for ``lock``, made now if this machine does not have it.

    Args:
        runtimes: Folder of all environments.
        lock: The lock's bytes, from anywhere.
        python: Specifier of the Pythons that the package allows; empty for any.
        index: Where wheels come from.
        on_event: Told when there is something to make.

    Raises:
        LockInvalid: The lock is not one, or has options in it.
        HashMismatch: A wheel is not the one that was locked.
        PythonMissing: No interpreter fits.
        IndexUnreachable: The index cannot be used.
        WheelsMissing: Offline, and not all wheels are here.
        NoSolution: The index does not have a locked version for this machine.
        RuntimeFailed: uv failed otherwise.
        StoreError: The disk refused.
    """
    interpreter = choose(python, index)
    name = key(lock, interpreter.version, interpreter.platform)
    ready = _ready(runtimes / name)
    if ready is not None:
        return ready
    check_lock(lock)
    needed = wheels(lock, interpreter.version)
    if index.wheels:
        _check_wheels(lock, index.wheels, interpreter.version)
    on_event(Phase("preparing the runtime", f"Python {interpreter.version}", count=len(needed)))
    with _staging(runtimes) as (staging, hold):
        _make(staging, hold, lock, interpreter, index)
        return _publish(staging, runtimes / name)


def _check_wheels(lock: bytes, folder: Path, python: str) -> None:
    missing = missing_wheels(lock, folder, python)
    if missing:
        names = ", ".join(f"{name}=={version}" for name, version in missing[:20])
        more = f" and {len(missing) - 20} more" if len(missing) > 20 else ""
        raise WheelsMissing(f"{folder} has no wheel for this machine of {names}{more}", subject=str(folder))


def _make(staging: Path, hold: int, lock: bytes, interpreter: Interpreter, index: Index) -> None:
    """Fill ``staging/env``; the record comes last."""
    write_whole(staging / "requirements.lock", lock)
    venv = ["venv", "env", "--relocatable", "--no-project", "--python", str(interpreter.path), "--quiet"]
    uv.run([*venv, *(["--offline"] if index.offline or index.wheels else [])], index, folder=staging, hold=hold)
    sync = ["pip", "sync", "requirements.lock", "--python", "env/bin/python", "--require-hashes"]
    sync += ["--only-binary", ":all:", "--compile-bytecode", "--allow-empty-requirements", "--quiet"]
    uv.run([*sync, *index.options()], index, folder=staging, hold=hold)
    record = {
        "schemaVersion": 1,
        "lock": f"sha256:{hashlib.sha256(lock).hexdigest()}",
        "python": interpreter.version,
        "platform": interpreter.platform,
        "packages": [f"{name}=={version}" for name, version in wheels(lock, interpreter.version)],
    }
    write_whole(staging / "env" / READY, json.dumps(record, indent=2).encode())


def _ready(path: Path, *, created: bool = False) -> Environment | None:
    """Return the environment at ``path`` if it is whole and its interpreter still exists."""
    python = path / "bin" / "python"
    if (path / READY).is_file() and python.exists():
        return Environment(path, python, path.name, created)
    return None


def _publish(staging: Path, path: Path) -> Environment:
    """Give the finished environment its name; another process' equal one is as good."""
    for _ in range(_TRIES):
        with disk_errors(path):
            try:
                (staging / "env").rename(path)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            else:
                fsync_folder(path.parent)
                return Environment(path, path / "bin" / "python", path.name, created=True)
        other = _ready(path)
        if other is not None:
            return other
        # Its interpreter has been removed from the machine: it can serve nobody any more.
        with contextlib.suppress(FileNotFoundError):
            path.rename(staging / f"unusable-{unique_suffix()}")
    raise RuntimeFailed(f"{path} is replaced again and again by other processes", subject=str(path))


@contextlib.contextmanager
def _staging(runtimes: Path) -> Iterator[tuple[Path, int]]:
    """Give a fresh folder with a lock on it, which the uv child holds too, and remove it in the end."""
    make_folder(runtimes)
    path, hold = _locked_folder(runtimes)
    try:
        yield path, hold
    finally:
        os.close(hold)
        remove_tree(path)


def _locked_folder(runtimes: Path) -> tuple[Path, int]:
    while True:
        path = make_folder(runtimes / f"{STAGING}{unique_suffix()}")
        handle = _lock(path)
        if handle is not None and path.exists():  # else collect came between the two lines
            return path, handle
        if handle is not None:
            os.close(handle)


def _lock(path: Path, *, wait: bool = True) -> int | None:
    """Return a descriptor of ``path`` with the lock on it; None when it is gone or another process has it.

    The lock only keeps ``collect`` away; a file system without locks costs no more than that.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if not wait:
            os.close(handle)
            return None
    return handle


def collect(runtimes: Path, keep: Collection[str]) -> tuple[str, ...]:
    """Remove the environments that nothing needs and the staging folders of processes that are gone.

    Args:
        runtimes: Folder of all environments.
        keep: Keys of the environments that installed models use.

    Returns:
        Names of what was removed, sorted.

    Raises:
        StoreError: Something cannot be removed.
    """
    removed = []
    for path in sorted(runtimes.iterdir()) if runtimes.is_dir() else ():
        if path.name.startswith(STAGING):
            gone = _collect_staging(path)
        else:
            gone = bool(_KEY.fullmatch(path.name)) and path.name not in keep and _collect_environment(path)
        if gone:
            removed.append(path.name)
    return tuple(removed)


def _collect_staging(path: Path) -> bool:
    handle = _lock(path, wait=False)
    if handle is None:
        return False
    try:
        remove_tree(path)
    finally:
        os.close(handle)
    return True


def _collect_environment(path: Path) -> bool:
    """Remove an environment; first it loses its name, so that nobody finds half of it."""
    going = path.with_name(f"{STAGING}{unique_suffix()}")
    with disk_errors(path):
        path.rename(going)
    remove_tree(going)
    return True
