"""Files that are either whole or absent: the local disk's few primitives, and the translation of its errors.

Write to a name unique to the process beside the target, fsync, rename, fsync the folder. No lock is needed
for correctness, so it holds on NFS and Lustre as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import secrets
import shutil
import socket
import stat
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from ..errors import DiskFull, InstallMLError, StoreUnusable

__all__ = [
    "CopiedBy",
    "clone_extent",
    "copy_extent",
    "disk_errors",
    "free_space",
    "fsync_folder",
    "full",
    "in_folder",
    "is_full",
    "link_whole",
    "make_folder",
    "remove_empty",
    "remove_tree",
    "reserve",
    "shares_blocks",
    "unique_suffix",
    "write_whole",
]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LIMITS = {
    errno.EDQUOT: ("no quota left", ""),
    errno.EFBIG: (
        "files may not become large enough here",
        "Raise the limit on file sizes (ulimit -f), or choose another file system with --home DIR or INSTALLML_HOME.",
    ),
}
_NO_RESERVE = {errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENODEV}
_NO_CLONE = {*_NO_RESERVE, errno.EXDEV, errno.ENOTTY, errno.EPERM, errno.EACCES, errno.EBADF, errno.ETXTBSY}
_KEEP_SIZE = 1  # linux/falloc.h: FALLOC_FL_KEEP_SIZE
_FICLONERANGE = 0x4020940D  # linux/fs.h: _IOW(0x94, 13, struct file_clone_range)
_BLOCK = 4096  # what file systems that share extents align to, at least
_AT_ONCE = 1 << 26
_T = TypeVar("_T")
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
    if is_full(error):
        return full(error, f"for {where}", where)
    return StoreUnusable(f"{error.strerror or error}: {error.filename or where}", subject=where)


def full(error: OSError, what: str, where: str) -> DiskFull:
    """Return the error that says which limit was met.

    Args:
        error: The operating system's (``is_full``).
        what: What there is no room for, beginning with a preposition.
        where: Its path.
    """
    limit, hint = _LIMITS.get(error.errno or 0, ("no room", ""))
    return DiskFull(f"{limit} {what}", hint=hint, subject=where)


def is_full(error: OSError) -> bool:
    """Return whether an operating system's error says that there is no room: on the disk, or in a quota."""
    return error.errno in _FULL


def free_space(path: Path | int) -> int | None:
    """Return how many bytes are free where ``path`` (or an open file) lies; None when the file system does not say."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    blocks = status.f_bfree if os.geteuid() == 0 else status.f_bavail  # a share is kept for root
    return blocks * status.f_frsize if status.f_blocks else None


def reserve(handle: int, extents: Iterable[tuple[int, int]], need: int) -> None:
    """Take the blocks of an open file now, so that writing cannot find the disk full.

    Where the file system cannot, only look whether there is room.

    Args:
        handle: The file, open for writing.
        extents: Which bytes of it, as pairs of start and stop. Those that have blocks already are better left out:
            XFS asks for free room for them too.
        need: Bytes that it does not have yet.

    Raises:
        OSError: There is no room (ENOSPC, EDQUOT, EFBIG).
    """
    free = free_space(handle)
    if free is not None and free < need:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    allocate = _fallocate()
    if allocate is None:
        return
    for start, stop in extents:
        while allocate(handle, _KEEP_SIZE, start, stop - start) != 0:
            code = ctypes.get_errno()
            if code in _NO_RESERVE:
                return
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """Return the C library's fallocate: posix_fallocate writes zeros where the file system cannot reserve."""
    try:
        function = ctypes.CDLL(None, use_errno=True).fallocate64
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    function.restype = ctypes.c_int
    return function


class CopiedBy(StrEnum):
    """How bytes came from one file to another."""

    REFLINK = "reflink"
    """The file system shares the blocks; nothing was copied."""
    KERNEL = "copy_file_range"
    """Copied below us: by the kernel or the file server."""
    PROCESS = "read and write"
    """Copied through this process."""


def copy_extent(source: int, source_offset: int, target: int, target_offset: int, size: int) -> CopiedBy:
    """Copy bytes between two open files in the cheapest way that works.

    Args:
        source: File to read.
        source_offset: Where the bytes begin there.
        target: File to write.
        target_offset: Where they shall go.
        size: How many.

    Returns:
        The dearest way that was needed.

    Raises:
        OSError: The disk refuses, or ``source`` ends too early (EIO).
    """
    if clone_extent(source, source_offset, target, target_offset, size):
        return CopiedBy.REFLINK
    done = _copy_in_kernel(source, source_offset, target, target_offset, size)
    if done == size:
        return CopiedBy.KERNEL
    while done < size:
        block = os.pread(source, min(1 << 20, size - done), source_offset + done)
        if not block:
            raise OSError(errno.EIO, f"the file ends {size - done} bytes too early")
        view = memoryview(block)
        while view:
            count = os.pwrite(target, view, target_offset + done)
            done, view = done + count, view[count:]
    return CopiedBy.PROCESS


def clone_extent(source: int, source_offset: int, target: int, target_offset: int, size: int) -> bool:
    """Let two open files share blocks, where the file system can and the bytes lie on its blocks' borders.

    Args:
        source: File to read.
        source_offset: Where the bytes begin there.
        target: File to write.
        target_offset: Where they shall go.
        size: How many; up to the end of ``source``, or whole blocks.

    Returns:
        Whether that was possible.
    """
    to_end = source_offset + size == os.fstat(source).st_size
    if not size or source_offset % _BLOCK or target_offset % _BLOCK or (size % _BLOCK and not to_end):
        return False
    request = struct.pack("=qQQQ", source, source_offset, size, target_offset)
    try:
        fcntl.ioctl(target, _FICLONERANGE, request)
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
        return False
    return True


def shares_blocks(folder: Path) -> bool:
    """Return whether files in ``folder`` can share blocks: found by trying, with two files that nobody sees."""
    try:
        with tempfile.TemporaryFile(dir=folder) as source, tempfile.TemporaryFile(dir=folder) as target:
            source.write(bytes(_BLOCK))
            source.flush()
            return clone_extent(source.fileno(), 0, target.fileno(), 0, _BLOCK)
    except OSError:
        return False


def _copy_in_kernel(source: int, source_offset: int, target: int, target_offset: int, size: int) -> int:
    """Return how many bytes the kernel has copied before it refused or saw an end."""
    done = 0
    copy = getattr(os, "copy_file_range", None)  # Linux has it
    while copy is not None and done < size:
        try:
            count = copy(source, target, min(_AT_ONCE, size - done), source_offset + done, target_offset + done)
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            return done
        if not count:  # the end, or a file system that says so wrongly: reading will tell
            return done
        done += count
    return done


def unique_suffix() -> str:
    """Return a name part that no other process, host or call uses."""
    return f"{_host_name()}-{os.getpid()}-{secrets.token_hex(4)}"


@functools.cache
def _host_name() -> str:
    return "".join(c for c in socket.gethostname() if c.isalnum())[:20] or "host"


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


def in_folder(folder: Path, step: Callable[[], _T]) -> _T:
    """Return what ``step`` returns, which needs ``folder``: that is made only where it proves missing.

    Raises:
        StoreError: The folder cannot be made.
        OSError: What ``step`` raised.
    """
    for _ in range(_TRIES - 1):
        try:
            return step()
        except FileNotFoundError:  # or somebody removed it, because it was empty
            make_folder(folder)
    return step()


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


def link_whole(staging: Path | str, path: Path, *, durable: bool = True) -> None:
    """Move the finished file ``staging`` to ``path``; readers see all of it or nothing.

    Args:
        staging: The file.
        path: Its place.
        durable: Whether the new name must survive a power cut that comes right afterwards.
    """
    with disk_errors(path):
        in_folder(path.parent, lambda: os.replace(staging, path))  # noqa: PTH105  # either may be a string
    if durable:
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
    with contextlib.suppress(PermissionError):  # another user's: its group may do as well
        folder.chmod(folder.stat().st_mode | stat.S_IRWXU)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _unlock(Path(entry.path))
