"""From blobs to a folder of named files, with one copy of the bytes on disk wherever the file system can.

Tried in this order: reflink (own inode, shared extents), hard link, symbolic link, copy. Files and folders are
read-only: they are the store's own content.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..spec.package import PackagedFile
from .files import disk_errors, fsync_folder, write_whole

__all__ = ["WAYS", "How", "Linked", "add_file", "materialise"]

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_NOT_HERE = {
    errno.EXDEV,
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.EINVAL,
    errno.EPERM,
    errno.EMLINK,
    errno.ENOSYS,
    errno.EACCES,
}


class How(StrEnum):
    """How a file came to its place."""

    REFLINK = "reflink"
    HARDLINK = "hardlink"
    SYMLINK = "symlink"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Linked:
    """What was laid out: number of files by way."""

    files: dict[How, int]

    @property
    def how(self) -> str:
        """The ways in words, most frequent first."""
        ranked = sorted(self.files.items(), key=lambda item: -item[1])
        return ", ".join(way.value for way, _ in ranked) or "empty"


def materialise(
    files: Iterable[tuple[PackagedFile, Path]],
    folder: Path,
    ways: Iterable[How] = (How.REFLINK, How.HARDLINK, How.SYMLINK, How.COPY),
) -> Linked:
    """Lay out ``files`` below ``folder``, which must not exist, read-only.

    Args:
        files: Each raw file with the blob's path.
        folder: A staging folder of the caller, who renames it when all is well.
        ways: Ways to try, best first.

    Raises:
        StoreError: The disk refuses.
    """
    order = list(ways)
    counts: dict[How, int] = {}
    folders = {folder}
    with disk_errors(folder):
        folder.mkdir(parents=True)
        for file, blob in files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            folders.update(p for p in target.parents if p.is_relative_to(folder))
            used = _place(blob, target, file.mode, order)
            counts[used] = counts.get(used, 0) + 1
        for path in sorted(folders, reverse=True):
            fsync_folder(path)
            path.chmod(0o555)
    return Linked(counts)


def add_file(folder: Path, name: str, data: bytes) -> None:
    """Put a small file, which is nobody's blob, into a folder that ``materialise`` has laid out; an old one goes.

    Args:
        folder: The folder, whether or not it is in use.
        name: The file's name.
        data: What it holds.

    Raises:
        StoreError: The disk refuses.
    """
    with disk_errors(folder):
        folder.chmod(0o755)
        try:
            write_whole(folder / name, data, mode=0o444)
        finally:
            folder.chmod(0o555)


def _place(blob: Path, target: Path, mode: int, order: list[How]) -> How:
    read_only = 0o555 if mode & 0o100 else 0o444
    for way in list(order):
        if way is not How.COPY and way is not How.REFLINK and read_only != 0o444:
            continue  # a link shares the blob's own mode
        try:
            WAYS[way](blob, target)
        except OSError as error:
            target.unlink(missing_ok=True)
            if error.errno not in _NOT_HERE or way is How.COPY:
                raise
            order.remove(way)  # the same file system refuses every time
            continue
        if way in (How.REFLINK, How.COPY):
            target.chmod(read_only)
        return way
    WAYS[How.COPY](blob, target)
    target.chmod(read_only)
    return How.COPY


def _reflink(blob: Path, target: Path) -> None:
    with blob.open("rb") as source, target.open("xb") as file:
        fcntl.ioctl(file.fileno(), _FICLONE, source.fileno())
        os.fsync(file.fileno())  # the shared blocks are on the disk already; a check after a crash reads only the store


def _copy(blob: Path, target: Path) -> None:
    with blob.open("rb") as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


WAYS = {
    How.REFLINK: _reflink,
    How.HARDLINK: lambda blob, target: os.link(blob, target),
    How.SYMLINK: lambda blob, target: target.symlink_to(blob.absolute()),
    How.COPY: _copy,
}
