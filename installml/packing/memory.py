"""Digests of files that have not been touched since they were hashed, remembered by what ``stat`` tells of them.

The rule is that of git's index ("racy git"): a digest is remembered only when the file's times are clearly older than
the moment before it was read, by the clock of its own file system. Whoever writes to the file afterwards moves its
ctime, which no program can set, to a later tick; so equal device, inode, size, mtime and ctime mean equal bytes. A file
whose times lie in the future is read again: its clock was set back, and times may come a second time.

What this cannot see: a program that has held the file mapped for writing since before it was hashed and writes through
the map (the times move when the kernel writes the page back). The registry compares the bytes with the digest whatever
is remembered here, so such a change is refused there, and never published under a wrong name.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..digest import Digest, DigestInvalid
from ..errors import StoreError
from ..spec.canonical import JSONInvalid, canonical, parse_json
from ..spec.media import OWN_FOLDER
from ..store.files import make_folder, unique_suffix, write_whole

__all__ = ["DigestMemory", "Identity"]

_SECOND = 1_000_000_000
_FINE, _COARSE, _FOREIGN = _SECOND // 20, 2 * _SECOND, 60 * _SECOND
"""Nanoseconds that a file must be older than the moment of reading: on a file system with times finer than a second
(the kernel's tick is at most 10 ms), with whole seconds (FAT counts by two), and where its clock cannot be asked."""

_EARLY, _ROWS = 8 << 20, 64
"""Bytes hashed after which the memory is written down although there is more to hash, so that a build that is killed
has learnt something; as many more for each so many rows, because a long memory takes long to write."""

_CAP = 8 << 20  # bytes of one memory; 10,000 files need 3 MiB
_MOST = 256  # memories kept: folders that are built from


class Identity(NamedTuple):
    """A file as ``stat`` tells it from every other, and from itself at another time."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, file: BinaryIO) -> Identity:
        """Return the identity of an open file."""
        status = os.fstat(file.fileno())
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def touched(self) -> int:
        """The later of its times, in nanoseconds."""
        return max(self.mtime_ns, self.ctime_ns)

    def __str__(self) -> str:
        return ":".join(map(str, self))


class DigestMemory:
    """What is remembered of one model folder. May be used from several threads.

    Args:
        path: The memory's own file; its folder is made when there is something to write.
        folder: The model folder.
        now: Nanoseconds since the epoch, where a file system's clock cannot be asked.
    """

    def __init__(self, path: Path, folder: Path, now: Callable[[], int] = time.time_ns) -> None:
        self._path = path
        self._folder = folder
        self._now = now
        self._known = _read(path)
        self._current: dict[str, tuple[str, Digest]] = {}
        self._moments: dict[int, tuple[int, int]] = {}
        self._unsaved = 0
        self._lock = threading.Lock()

    @classmethod
    def at(cls, home: Path, folder: Path) -> DigestMemory:
        """Return the memory of ``folder`` in the store ``home``."""
        name = Digest.of(os.fsencode(folder.resolve())).hex[:32]
        return cls(home / "state" / "digests" / f"{name}.json", folder)

    def recall(self, path: str, seen: Identity) -> Digest | None:
        """Return the digest of a file that is as it was when it was hashed, or None.

        Args:
            path: Its path in the folder: a file system may give a number of an inode to another file after a while.
            seen: What it is now.
        """
        known = self._known.get(path)
        if known is None or known[0] != str(seen) or seen.inode == 0:  # 0: the file system has no numbers
            return None
        moment, _ = self.moment(seen.device)
        if seen.touched > moment:
            return None
        with self._lock:
            self._current[path] = known
        return known[1]

    def moment(self, device: int) -> tuple[int, int]:
        """Return a time before now on the clock of ``device``, and by how much a file must be older to be trusted.

        Asked once, at the first file of a device: an earlier moment is a stricter one.
        """
        with self._lock:
            if device not in self._moments:
                self._moments[device] = self._ask(device)
            return self._moments[device]

    def _ask(self, device: int) -> tuple[int, int]:
        for folder in (self._path.parent, self._folder / OWN_FOLDER):
            if (times := _tick(folder, device)) is not None:
                return times, _COARSE if times % _SECOND == 0 else _FINE
        return self._now(), _FOREIGN

    def learn(self, path: str, seen: Identity, digest: Digest) -> None:
        """Remember the digest of a file that was ``seen`` before and after it was read, if it can be trusted.

        ``moment`` must have been asked before the file was read.
        """
        moment, margin = self.moment(seen.device)
        if not seen.inode or seen.touched + margin >= moment:
            return
        with self._lock:
            self._current[path] = (str(seen), digest)
            self._unsaved += seen.size
            enough = self._unsaved >= _EARLY * (1 + len(self._current) // _ROWS)
        if enough:
            self._save_early()

    def save(self) -> None:
        """Write down what was recalled or learnt, and nothing else; a disk that refuses is no failure of the build."""
        if self._current != self._known and self._write(self._current):
            self._known = dict(self._current)
            with suppress(OSError):
                _sweep(self._path.parent)
        else:
            with suppress(OSError):
                os.utime(self._path)  # in use: a collection removes those that nobody has used for long

    def _save_early(self) -> None:
        """Write down what is known so far, for whoever comes when this process was ended in the middle."""
        with self._lock:
            self._unsaved = 0
            rows = {**self._known, **self._current}
        self._write(rows)

    def _write(self, known: Mapping[str, tuple[str, Digest]]) -> bool:
        rows = {path: [seen, str(digest)] for path, (seen, digest) in known.items()}
        data = canonical({"version": 1, "files": rows})
        if len(data) > _CAP:
            return False
        try:
            write_whole(self._path, data, mode=0o600)
        except StoreError:
            return False
        return True


def _tick(folder: Path, device: int) -> int | None:
    """Return the time of a file made now in ``folder``, when that is on ``device``."""
    path = folder / f".tick.{unique_suffix()}"
    try:
        if folder.name != OWN_FOLDER:
            make_folder(folder)
        if folder.stat().st_dev != device:
            return None
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except (OSError, StoreError):
        return None
    try:
        return os.fstat(handle).st_ctime_ns
    finally:
        os.close(handle)
        path.unlink(missing_ok=True)


def _read(path: Path) -> Mapping[str, tuple[str, Digest]]:
    """Return a memory's rows; one that is not exactly as we write them is as good as none."""
    try:
        if path.stat().st_size > _CAP:
            return {}
        value = parse_json(path.read_bytes(), str(path), cap=_CAP)
        if not isinstance(value, dict) or value.keys() != {"version", "files"} or value["version"] != 1:
            return {}
        return {name: (_text(seen), Digest.parse(digest)) for name, (seen, digest) in value["files"].items()}
    except (OSError, JSONInvalid, DigestInvalid, AttributeError, TypeError, ValueError):
        return {}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _sweep(folder: Path) -> None:
    with suppress(OSError):
        memories = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in memories[_MOST:]:
            path.unlink(missing_ok=True)
