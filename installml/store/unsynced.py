"""Which blobs a power cut could still damage (docs/adr/0005).

A blob is not fsynced when it is published: that takes seconds a gigabyte and makes nothing more right while the machine
runs. Instead its name is put into ``state/unsynced/<owner>/`` first, as an empty file. File systems with a journal keep
the order of such changes, so after a crash a blob that is there without being whole is listed there. A later
command of the same boot brings listed blobs to the disk, when the kernel has done so already, and strikes them off; one
of another boot hashes them before anybody uses them (``store.recovery``).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..digest import Digest, DigestInvalid
from .files import disk_errors, fsync_folder, make_folder, unique_suffix, write_whole
from .host import Host, Owner

__all__ = ["SETTLED_AFTER", "Unsynced"]

SETTLED_AFTER = 60.0
"""Seconds after which bringing a blob to the disk costs little: Linux by itself writes back what is older than 30 s."""

_NOTICE = "notice."
_FOREIGN_LIFE = 24 * 3600.0  # seconds until somebody else looks after what another machine has left


class Unsynced:
    """The lists of one store.

    Args:
        folder: Where they lie.
        host: The machine.
    """

    def __init__(self, folder: Path, host: Host) -> None:
        self._folder = folder
        self._host = host
        self._own: Path | None = None
        self._lock = threading.Lock()
        self._count = itertools.count(1)

    def note(self, digest: Digest, path_of: Callable[[Digest], Path]) -> bool:
        """List a blob that is about to become visible.

        Args:
            digest: The blob.
            path_of: Where blobs lie; the first call of a process settles what others have listed long ago.

        Returns:
            False where a crash could not be noticed afterwards: then the caller fsyncs the blob itself.
        """
        if self._host.boot == "none":
            return False
        name = f"{digest.algorithm}-{digest.hex}.{os.getpid()}.{next(self._count)}"
        for last in (False, True):
            own = self._list(path_of)
            with disk_errors(own):
                try:
                    os.close(os.open(f"{own}/{name}", os.O_WRONLY | os.O_CREAT, 0o666))
                    break
                except FileNotFoundError:  # somebody has settled all of it and removed the empty list
                    if last:
                        raise
                    self._forget(own)
        return True

    def _forget(self, own: Path) -> None:
        """Make the list anew next time, unless another thread has done so already."""
        with self._lock:
            if self._own == own:
                self._own = None

    def _list(self, path_of: Callable[[Digest], Path]) -> Path:
        with self._lock:
            if self._own is None:
                self.settle(path_of)
                self._own = make_folder(self._folder / self._host.mark())
                for folder in (self._own, self._folder, self._folder.parent):
                    fsync_folder(folder)
            return self._own

    def settle(self, path_of: Callable[[Digest], Path], *, at_once: bool = False) -> None:
        """Bring what was listed in this boot a while ago to the disk for good, and strike it off.

        It is best effort: what stays listed is settled another time.

        Args:
            path_of: Where blobs lie.
            at_once: Also what processes that are gone have listed a moment ago; that may take seconds a gigabyte.
        """
        long_ago = self._host.clock() - SETTLED_AFTER
        for folder, owner in self._lists(_names(self._folder)):
            if not self._host.same_boot(owner):
                continue
            before = float("inf") if at_once and not self._host.runs(owner) else long_ago
            settled = [
                entry for entry in self.entries(folder) if self._sync(folder / entry[0], entry[1], before, path_of)
            ]
            for parent in {path_of(digest).parent for _, digest in settled}:
                fsync_folder(parent)
            if settled or _modified(folder) < before:  # a young list that is empty has just been made
                self.strike(folder, (name for name, _ in settled))

    @staticmethod
    def _sync(entry: Path, digest: Digest, before: float, path_of: Callable[[Digest], Path]) -> bool:
        """Bring one listed blob to the disk; return whether that is done."""
        try:
            if entry.stat().st_mtime >= before:
                return False
            handle = os.open(path_of(digest), os.O_RDONLY)
        except FileNotFoundError:
            return True  # collected meanwhile, or never published
        except OSError:
            return False
        try:
            os.fsync(handle)
        except OSError:
            return False
        finally:
            os.close(handle)
        return True

    def strike(self, folder: Path, names: Iterator[str]) -> None:
        """Strike entries off a list; an empty list goes. What is not ours to remove stays."""
        with contextlib.suppress(OSError):
            for name in names:
                (folder / name).unlink(missing_ok=True)
            folder.rmdir()

    def look(self) -> tuple[list[Path], list[Path]]:
        """Look what is to be done before anybody uses the store; one listing of a folder, which is mostly not there.

        Returns:
            The lists of boots that are over: what they name must be hashed before anybody uses it. A list of another
            machine counts after a day: until then that machine itself may look after it. And what ``announce`` has
            written down and nobody has been told, in its order.
        """
        old = self._host.clock() - _FOREIGN_LIFE
        names = _names(self._folder)
        lost = [
            folder
            for folder, owner in self._lists(names)
            if not self._host.same_boot(owner) and (owner.host == self._host.name or _modified(folder) < old)
        ]
        return lost, [self._folder / name for name in names if name.startswith(_NOTICE)]

    def announce(self, text: str) -> None:
        """Write down what the user must hear of, before it is done: it is told once, whoever is killed meanwhile."""
        name = f"{_NOTICE}{int(self._host.clock() * 1000):015d}.{next(self._count):06d}.{unique_suffix()}"
        write_whole(self._folder / name, text.encode())

    def entries(self, folder: Path) -> list[tuple[str, Digest]]:
        """Return the entries of a list: file name and blob."""
        found = []
        for name in _names(folder):
            with contextlib.suppress(DigestInvalid):
                found.append((name, Digest.parse(name.partition(".")[0].replace("-", ":", 1))))
        return found

    def _lists(self, names: Iterable[str]) -> Iterator[tuple[Path, Owner]]:
        for name in names:
            owner = Owner.parse(name)
            if owner is not None:
                yield self._folder / name, owner


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:  # not there; not a folder; not ours to read
        return []


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")
