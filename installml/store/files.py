"""Files that are either whole or absent: the local disk's few primitives, and the translation of its errors.

Write to a name unique to the process beside the target, fsync, rename, fsync the folder. No lock is needed
for correctness, so it holds on NFS and Lustre as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import DiskFull, InstallMLError, StoreUnusable

__all__ = [
    "disk_errors",
    "fsync_folder",
    "link_whole",
    "make_folder",
    "remove_empty",
    "remove_tree",
    "unique_suffix",
    "write_whole",
]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TRIES = 50
"""Times that a folder is made again which somebody else removes because it is empty (``remove_empty``)."""


@contextlib.contextmanager
def disk_errors(path: Path | str) -> Iterator[None]:
    """Translate the OSErrors of the block into StoreError's branches, about ``path``."""
    try:
        yield
    except OSError as error:
        raise translate(error, path) from error


def translate(error: OSError, path: Path | str) -> InstallMLError:
    """Return the error of our tree for an operating system's error about ``path``."""
    where = str(path)
    if error.errno in _FULL:
        return DiskFull(f"no space left for {where}", subject=where)
    return StoreUnusable(f"{error.strerror or error}: {error.filename or where}", subject=where)


def unique_suffix() -> str:
    """Return a name part that no other process, host or call uses."""
    host = "".join(c for c in socket.gethostname() if c.isalnum())[:20] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def make_folder(path: Path) -> Path:
    """Create ``path`` with its parents; the error names what is in the way."""
    with disk_errors(path):
        for left in reversed(range(_TRIES)):
            try:
                path.mkdir(parents=True, exist_ok=True)
                break
            except (FileNotFoundError, FileExistsError):  # a parent is gone again, or what was there a moment ago
                if not left:
                    raise
    return path


def fsync_folder(path: Path) -> None:
    """Make the folder's entries survive a power cut; file systems that refuse to fsync folders are left alone."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_whole(path: Path, data: bytes, *, mode: int = 0o644, via: Path | None = None) -> None:
    """Make ``path`` hold exactly ``data``, in one step for every reader.

    Args:
        path: The file.
        data: Its bytes.
        mode: Its permission bits.
        via: Folder on the same file system for what is not whole yet, where a collection finds what a killed process
            left; beside ``path`` when None.

    Raises:
        StoreError: The disk is full, read-only or not ours.
    """
    staging = make_folder(via or path.parent) / f".{path.name[:100]}.{unique_suffix()}"
    with disk_errors(path):
        try:
            handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            link_whole(staging, path)
        except BaseException:
            staging.unlink(missing_ok=True)
            raise


def link_whole(staging: Path, path: Path) -> None:
    """Move the finished file ``staging`` to ``path``; readers see all of it or nothing."""
    with disk_errors(path):
        for left in reversed(range(_TRIES)):
            make_folder(path.parent)
            try:
                staging.replace(path)
                break
            except FileNotFoundError:  # somebody removed the empty folder between the two steps
                if not left:
                    raise
    fsync_folder(path.parent)


def remove_empty(folder: Path, top: Path) -> None:
    """Remove ``folder`` and its parents below ``top`` as far as they are empty."""
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def remove_tree(path: Path) -> None:
    """Remove ``path`` and all below it, read-only folders included; nothing there is fine."""
    with disk_errors(path), contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            _unlock(path)
            shutil.rmtree(path)
        else:
            path.unlink()


def _unlock(folder: Path) -> None:
    folder.chmod(stat.S_IRWXU)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _unlock(Path(entry.path))
