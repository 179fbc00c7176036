"""Who may work on what lies half done in ``ingest/<algorithm>-<hex>.<owner>/``.

Whoever finds one whose owner is gone takes it over by renaming the folder, so at most one process gets it. Locks save
work here and are never what correctness rests on: content becomes visible only after it has been hashed, and a file
that an owner might still write to is copied, not shared (``store.partials``).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..digest import Digest, DigestInvalid
from ..errors import StoreError
from .files import remove_tree
from .host import Host, Owner

__all__ = ["Claims", "Found", "label"]

QUIET_SECONDS = 600.0
"""Age from which a partial of another machine, whose processes nobody here can ask about, counts as left behind."""


@dataclass(frozen=True, slots=True)
class Found:
    """A partial of somebody in ``ingest/``."""

    folder: Path
    owner: Owner

    def sign(self) -> tuple[int, ...]:
        """Return what changes while its owner gets on; empty when it is gone."""
        try:
            data, journal = (self.folder / "data").stat(), (self.folder / "journal").stat()
        except OSError:
            return ()
        return data.st_mtime_ns, data.st_blocks, journal.st_size, journal.st_mtime_ns

    def modified(self) -> float:
        """Return when its owner last did something, in seconds since the epoch."""
        times = [0.0]
        for path in (self.folder, self.folder / "data", self.folder / "journal"):
            with contextlib.suppress(OSError):
                times.append(path.stat().st_mtime)
        return max(times)


class Claims:
    """What lies half done in one store, and whose it is.

    Args:
        ingest: The folder for what is not whole yet.
        host: The machine.
    """

    def __init__(self, ingest: Path, host: Host) -> None:
        self._ingest = ingest
        self._host = host

    def of(self, digest: Digest) -> list[Found]:
        """Return the partials of a blob, the one with most in its journal first."""
        found = [f for path in self._ingest.glob(f"{label(digest)}.*") if (f := _parsed(path))]
        return sorted(found, key=lambda f: f.sign()[2:3], reverse=True)

    def state(self, found: Found) -> tuple[int, bool] | None:
        """Judge a partial that is not ours.

        Returns:
            None while its owner lives, or may; else its open data file, locked where there are locks, and whether the
            file may be written to: false when somebody far away could still do so too.

        Raises:
            OSError: It is gone, or not ours to read.
        """
        try:
            data = os.open(found.folder / "data", os.O_RDWR)
        except PermissionError:
            data = os.open(found.folder / "data", os.O_RDONLY)
        try:
            dead, ours = self._judge(found, self._host.lock(data))
            if dead:
                data, kept = -1, data
                return kept, ours and os.fstat(kept).st_uid == os.geteuid()
            return None
        finally:
            if data >= 0:
                os.close(data)

    def _judge(self, found: Found, locked: bool | None) -> tuple[bool, bool]:
        """Return whether the owner is gone, and whether that is sure enough to write to its file."""
        owner = found.owner
        if locked is False:
            return False, False
        if self._host.same_boot(owner):
            return locked is True or not self._host.runs(owner), True
        if owner.host == self._host.name and locked:
            return True, True  # this machine has been started anew
        return found.modified() < self._host.clock() - QUIET_SECONDS, False

    def rename(self, folder: Path, data: int) -> Path | None:
        """Move a partial to a name of ours; None when somebody else was faster or does not let us."""
        target = folder.with_name(f"{folder.name.partition('.')[0]}.{self._host.mark()}")
        try:
            folder.rename(target)
            if os.path.samestat((target / "data").stat(), os.fstat(data)):
                return target
        except FileNotFoundError:  # taken, or its data has been published
            with contextlib.suppress(Exception):
                remove_tree(target)
        except OSError:
            pass
        return None

    def room_taken(self, digest: Digest) -> int:
        """Return the bytes on disk that the largest partial of a blob has."""
        return max((sign[1] * 512 for found in self.of(digest) if (sign := found.sign())), default=0)

    # -- collection -----------------------------------------------------------------------------------------------

    def is_partial(self, path: Path) -> bool:
        """Return whether ``path`` is a partial."""
        return _parsed(path) is not None

    def in_use(self, path: Path) -> bool:
        """Return whether somebody who lives, or may live, works on the partial at ``path``."""
        found = _parsed(path)
        if found is None:
            return False
        try:
            state = self.state(found)
        except FileNotFoundError:
            return self._host.runs(found.owner)
        except OSError:
            return True
        if state is not None:
            os.close(state[0])
        return state is None

    def collect(self, path: Path) -> bool:
        """Remove a partial whose owner is gone; return whether it went. Nobody can take it over meanwhile."""
        found = _parsed(path)
        if found is None:
            return False
        try:
            state = self.state(found)
        except FileNotFoundError:
            return not self._host.runs(found.owner) and _removed(path)
        except OSError:
            return False
        if state is None:
            return False
        try:
            folder = self.rename(path, state[0])
            return folder is not None and _removed(folder)
        finally:
            os.close(state[0])


def _removed(folder: Path) -> bool:
    """Remove a partial; return false when it is another user's and may not be removed by us."""
    try:
        remove_tree(folder)
    except StoreError:
        return False
    return True


def label(digest: Digest) -> str:
    """Return what the names of a blob's partials begin with."""
    return f"{digest.algorithm}-{digest.hex}"


def _parsed(path: Path) -> Found | None:
    name, _, mark = path.name.partition(".")
    owner = Owner.parse(mark)
    if owner is None:
        return None
    try:
        Digest.parse(name.replace("-", ":", 1))
    except DigestInvalid:
        return None
    return Found(path, owner)
