"""Blobs that are being put together on disk, and what killed processes have left of them.

``ingest/<algorithm>-<hex>.<owner>/`` holds ``data``, the blob with gaps, and ``journal``, which says where there are
none. Whoever finds one whose owner is gone takes it over by renaming the folder, so at most one process gets it. Locks
save work here and are never what correctness rests on: content becomes visible only after it has been hashed, and a
file that an owner might still write to is copied, not shared.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..digest import CHUNK, Digest, DigestInvalid
from ..errors import DiskFull
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent, Extents
from .files import (
    clone_extent,
    copy_extent,
    disk_errors,
    free_space,
    fsync_folder,
    is_full,
    make_folder,
    remove_tree,
    reserve,
)
from .host import Host, Owner
from .journal import MAX_JOURNAL, Journal

__all__ = ["Partial", "Partials", "Publish"]

SYNC_SECONDS = 10.0
"""How often what has arrived is made to survive a power cut; more often slows fast transfers for nothing."""

QUIET_SECONDS = 600.0
"""Age from which a partial of another machine, whose processes nobody here can ask about, counts as left behind."""

STALL_SECONDS = 60.0
"""How long a neighbour may make no progress before we begin the same blob ourselves."""

_POLL = 0.1  # seconds between two looks at a neighbour
_TOUCH = 10.0  # seconds between two signs of life of somebody who only reads

Publish = Callable[[Path, bool], None]
"""Makes the finished file visible under its digest; told whether the blob's own digest was compared."""


class Partial:
    """A blob on its way: implements ``store.protocol.Assembly``.

    Args:
        folder: Its place in ``ingest/``; ours.
        data: Open file with the bytes, of the blob's full size.
        journal: What is there.
        host: The machine.
        publish: Makes the data file visible.
    """

    def __init__(self, folder: Path, data: int, journal: Journal, host: Host, publish: Publish) -> None:
        self.descriptor = journal.descriptor
        self.folder = folder
        self._data = data
        self._journal = journal
        self._host = host
        self._publish = publish
        self._lock = threading.Lock()
        self._written = Extents(journal.kept)
        self._log = journal.save(folder / "journal")
        self._logged = 0
        self._synced_at = self._touched_at = host.monotonic()
        self._syncing = False
        self._file = os.fdopen(data, "r+b", buffering=0, closefd=False)
        self.published = False

    # -- store.protocol.Assembly --------------------------------------------------------------------------------

    def missing(self) -> list[Extent]:
        """Return the bytes that nobody has written yet, in ascending order."""
        with self._lock:
            return self._written.missing(self.descriptor.size)

    def write(self, offset: int, block: memoryview | bytes) -> int:
        """Put bytes in their place; return how many of them were missing until now.

        Raises:
            DiskFull: There is no room; what is there stays.
        """
        view = memoryview(block).cast("B")
        extent = self._checked(Extent(offset, offset + len(view)))
        with self._full_disk_told():
            while view:
                count = os.pwrite(self._data, view, offset)
                offset, view = offset + count, view[count:]
        return self._add(extent)

    def keep(self, extent: Extent) -> None:
        """Record that ``extent`` has been written whole, so that another process need not fetch it again."""
        with self._lock, self._full_disk_told():
            if extent not in self._written:
                raise ValueError(f"bytes {extent.start}-{extent.stop} have not all been written")
            self._note("+", extent)
        self._sync_now_and_then()

    def front(self) -> int:
        """Return up to which offset there is no gap."""
        with self._lock:
            return self._written.front()

    def read(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` with bytes that have been written; return how many."""
        self._show_life()
        with disk_errors(self.folder):
            return os.preadv(self._data, [buffer], offset)

    def file(self) -> BinaryIO:
        """Return the open file; whoever writes into it calls ``written`` for what it wrote."""
        return self._file

    def written(self, extent: Extent) -> int:
        """Take note of bytes that were put in place through ``file``; return how many were missing until now."""
        return self._add(self._checked(extent))

    def forget(self, extent: Extent) -> None:
        """Take bytes for missing again: they have proved wrong."""
        with self._lock, self._full_disk_told():
            self._written.remove(extent)
            self._note("-", extent)

    def discard(self) -> None:
        """Throw everything away; nothing of it is there for a later attempt."""
        self.forget(Extent(0, self.descriptor.size))

    def publish(self, *, hashed: bool = True) -> None:
        """Make the blob visible, read-only, in one step; the partial is gone afterwards.

        Args:
            hashed: Whether the blob's own digest was compared; else the store remembers that this is still to be done.
        """
        if self.missing():
            raise ValueError(f"{self.descriptor.digest} is not whole")
        self._file.flush()
        self._publish(self.folder / "data", hashed)
        self.published = True

    # -- the owner's side -----------------------------------------------------------------------------------------

    def reserve(self) -> None:
        """Take the room that the blob still needs, where the file system can; nobody fills it meanwhile.

        Raises:
            DiskFull: There is not enough.
        """
        size = self.descriptor.size
        need = size - os.fstat(self._data).st_blocks * 512
        if need <= 0:
            return
        try:
            reserve(self._data, size, need)
        except OSError as error:
            if not is_full(error):
                raise
            top = max((extent.stop for extent in self._journal.kept), default=0)
            os.ftruncate(self._data, top)  # gives back what the attempt has taken
            os.ftruncate(self._data, size)
            raise self._disk_full(need) from error

    def adopt(self, source: int, extents: Iterable[Extent]) -> None:
        """Copy ``extents`` from another open file of the same blob and keep them."""
        for extent in extents:
            with self._full_disk_told():
                copy_extent(source, extent.start, self._data, extent.start, extent.size)
            self.written(extent)
            self.keep(extent)

    def copy_from(self, source: int) -> None:
        """Take all bytes of another open file for written, as far as they are there and can be read."""
        size = min(self.descriptor.size, os.fstat(source).st_size)
        if not clone_extent(source, 0, self._data, 0, size):
            self.reserve()
            for start in range(0, size, CHUNK):
                count = min(CHUNK, size - start)
                with contextlib.suppress(_Unreadable), self._full_disk_told():
                    _copy_readable(source, self._data, start, count)
                    self.written(Extent(start, start + count))
        else:
            self.written(Extent(0, size))

    def drop(self) -> None:
        """Leave the partial and remove it."""
        with self._lock:
            self._written.remove(Extent(0, self.descriptor.size))
        self.close()

    def close(self) -> None:
        """Leave the partial: record what was written for whoever comes next; remove it when there is nothing."""
        with self._lock:
            if self._data < 0:
                return
            if self.published or not self._written.size:
                remove_tree(self.folder)
            else:
                for extent in self._written:
                    self._journal.note("+", extent)
                self._save_whole()
            os.close(self._log)
            self._file.close()
            os.close(self._data)
            self._log = self._data = -1

    def _save_whole(self) -> None:
        """Write the journal anew; on a full disk the old one has to do."""
        with contextlib.suppress(OSError):
            old, self._log = self._log, self._journal.save(self.folder / "journal")
            self._logged = 0
            os.close(old)

    def _checked(self, extent: Extent) -> Extent:
        if not 0 <= extent.start <= extent.stop <= self.descriptor.size:
            raise ValueError(f"bytes {extent.start}-{extent.stop} are not within {self.descriptor.size}")
        return extent

    def _add(self, extent: Extent) -> int:
        with self._lock:
            return self._written.add(extent)

    def _note(self, sign: str, extent: Extent) -> None:
        if extent.start >= extent.stop:
            return
        line = self._journal.note(sign, extent)
        os.write(self._log, line)
        self._logged += len(line)
        if self._logged > MAX_JOURNAL // 4:
            self._save_whole()

    @contextlib.contextmanager
    def _full_disk_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not is_full(error):
                with disk_errors(self.folder):
                    raise
            raise self._disk_full(self.descriptor.size - self._written.size) from error

    def _disk_full(self, need: int) -> DiskFull:
        free = free_space(self.folder)
        had = "" if free is None else f", {free:,} are free"
        where = self.folder.parent
        return DiskFull(
            f"no room for {self.descriptor.digest.short} in {where}: it needs {need:,} bytes more{had}",
            subject=str(where),
        )

    def _show_life(self) -> None:
        """Tell those who wait for us that we are there although nothing is written: somebody hashes."""
        now = self._host.monotonic()
        if now - self._touched_at > _TOUCH:
            self._touched_at = now
            with contextlib.suppress(OSError):
                os.utime(self._data)

    # -- surviving a power cut --------------------------------------------------------------------------------------

    def _sync_now_and_then(self) -> None:
        now = self._host.monotonic()
        with self._lock:
            if self._syncing or now - self._synced_at < SYNC_SECONDS or self._data < 0:
                return
            self._syncing, self._synced_at = True, now
            kept = [e for e in self._journal.kept if e not in self._journal.synced]
            handles = os.dup(self._data), os.dup(self._log)
        threading.Thread(target=self._sync, args=(kept, handles), name="sync", daemon=True).start()

    def _sync(self, kept: list[Extent], handles: tuple[int, int]) -> None:
        """Bring ``kept`` to the disk, then record that, then bring the record to the disk."""
        data, log = handles
        try:
            os.fdatasync(data)
            with self._lock:
                if self._log >= 0:
                    for extent in kept:
                        if extent in self._journal.kept:
                            self._note("=", extent)
            os.fsync(log)
            fsync_folder(self.folder)
            fsync_folder(self.folder.parent)
        except OSError:
            pass  # what is not recorded as safe is fetched again: nothing else depends on it
        finally:
            os.close(data)
            os.close(log)
            with self._lock:
                self._syncing, self._synced_at = False, self._host.monotonic()


@dataclass(frozen=True, slots=True)
class _Found:
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


class Partials:
    """All blobs of one store that are on their way.

    Args:
        ingest: The folder for what is not whole yet.
        host: The machine.
    """

    def __init__(self, ingest: Path, host: Host) -> None:
        self._ingest = ingest
        self._host = host

    @contextlib.contextmanager
    def open(
        self,
        descriptor: Descriptor,
        *,
        exists: Callable[[], bool],
        publish: Publish,
        stopped: Callable[[], bool],
        on_wait: Callable[[str], None],
    ) -> Iterator[Partial | None]:
        """Open a blob as ``store.protocol.Assembler.assemble`` says.

        Args:
            descriptor: The blob.
            exists: Asked whether it is there already.
            publish: Makes the finished file visible.
            stopped: Asked while waiting; true ends the wait.
            on_wait: Told once, in words, when there is somebody to wait for.
        """
        with disk_errors(self._ingest):
            partial = self._take(descriptor, exists, publish, stopped, on_wait)
        if partial is None:
            yield None
            return
        with contextlib.ExitStack() as stack:
            stack.callback(partial.close)
            with disk_errors(self._ingest):
                partial.reserve()
            yield partial

    def fresh(self, descriptor: Descriptor, publish: Publish) -> Partial:
        """Return a new partial that nobody else looks for yet."""
        make_folder(self._ingest)
        target = self._ingest / f"{_label(descriptor.digest)}.{self._host.mark()}"
        staging = target.with_name(f".{target.name}")
        staging.mkdir()
        data = os.open(staging / "data", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            self._host.lock(data)  # held as long as it is open: how others see that we live
            os.ftruncate(data, descriptor.size)
            partial = Partial(staging, data, Journal(descriptor, self._host.boot), self._host, publish)
            staging.rename(target)
        except BaseException:
            os.close(data)
            remove_tree(staging)
            raise
        partial.folder = target
        return partial

    def _take(
        self,
        descriptor: Descriptor,
        exists: Callable[[], bool],
        publish: Publish,
        stopped: Callable[[], bool],
        on_wait: Callable[[str], None],
    ) -> Partial | None:
        watch = _Watch(self._host, on_wait)
        while not exists():
            living = []
            for found in self._of(descriptor.digest):
                claimed = self._claim(found, descriptor, publish)
                if isinstance(claimed, Partial):
                    return claimed
                if claimed:
                    living.append(found)
            if not living or watch.stalled(living):
                mine = self.fresh(descriptor, publish)
                if living or self._alone(mine, descriptor.digest):
                    return mine
                mine.close()
            elif stopped():
                return None
            else:
                watch.wait()
        return None

    def _alone(self, mine: Partial, digest: Digest) -> bool:
        """Return whether nobody began the same blob in the same moment; of two, the one of the smaller name stays.

        The other one may have looked before we were there, and stay whatever its name: that shows at a second look.
        """
        others = self._others(mine, digest)
        if not others:
            return True
        if min(others) < mine.folder.name:
            return False
        self._host.pause(_POLL)
        return not self._others(mine, digest)

    def _others(self, mine: Partial, digest: Digest) -> list[str]:
        found = (other for other in self._of(digest) if other.folder != mine.folder)
        return [other.folder.name for other in found if self.in_use(other.folder)]

    def _of(self, digest: Digest) -> list[_Found]:
        """Return the partials of a blob, the one with most in its journal first."""
        found = [f for path in self._ingest.glob(f"{_label(digest)}.*") if (f := _parsed(path))]
        return sorted(found, key=lambda f: f.sign()[2:3], reverse=True)

    def _state(self, found: _Found) -> tuple[int, bool] | None:
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

    def _judge(self, found: _Found, locked: bool | None) -> tuple[bool, bool]:
        """Return whether the owner is gone, and whether that is sure enough to write to its file."""
        owner = found.owner
        if locked is False:
            return False, False
        if self._host.same_boot(owner):
            return locked is True or not self._host.runs(owner), True
        if owner.host == self._host.name and locked:
            return True, True  # this machine has been started anew
        return found.modified() < self._host.clock() - QUIET_SECONDS, False

    def _claim(self, found: _Found, descriptor: Descriptor, publish: Publish) -> Partial | bool:
        """Take over what somebody who is gone has left.

        Returns:
            The partial; else whether there is somebody to wait for.
        """
        try:
            state = self._state(found)
        except FileNotFoundError:
            return False  # published or taken in this moment; or never finished, and then a collection's affair
        except OSError:
            return self._host.runs(found.owner)  # not ours to read
        if state is None:
            return True
        data, ours = state
        try:
            return self._take_over(found, data, ours, descriptor, publish) or False
        except BaseException:
            os.close(data)
            raise

    def _take_over(
        self, found: _Found, data: int, ours: bool, descriptor: Descriptor, publish: Publish
    ) -> Partial | None:
        folder = self._rename(found.folder, data)
        if folder is None:
            os.close(data)
            return None
        old = Journal.read(folder / "journal", descriptor) or Journal(descriptor, self._host.boot)
        usable = old.usable(self._host.boot)
        length = os.fstat(data).st_size
        usable.remove(Extent(length, max(length, descriptor.size)))
        if ours:
            old.synced.remove(Extent(length, max(length, descriptor.size)))
            os.ftruncate(data, descriptor.size)
            journal = Journal(descriptor, self._host.boot, usable, old.synced)
            return Partial(folder, data, journal, self._host, publish)
        copy = self.fresh(descriptor, publish)
        try:
            copy.adopt(data, usable)
        except BaseException:
            copy.close()
            raise
        os.close(data)
        with contextlib.suppress(Exception):
            remove_tree(folder)
        return copy

    def _rename(self, folder: Path, data: int) -> Path | None:
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
        return max((sign[1] * 512 for found in self._of(digest) if (sign := found.sign())), default=0)

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
            state = self._state(found)
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
            state = self._state(found)
        except FileNotFoundError:
            state = None
            if self._host.runs(found.owner):
                return False
            remove_tree(path)
            return True
        except OSError:
            return False
        if state is None:
            return False
        try:
            folder = self._rename(path, state[0])
            if folder is not None:
                remove_tree(folder)
            return folder is not None
        finally:
            os.close(state[0])


class _Watch:
    """Waits for neighbours and notices when they get no further."""

    def __init__(self, host: Host, on_wait: Callable[[str], None]) -> None:
        self._host = host
        self._on_wait = on_wait
        self._told = False
        self._sign: object = None
        self._since = 0.0

    def stalled(self, living: list[_Found]) -> bool:
        """Return whether nothing has changed in ``living`` for too long."""
        now = self._host.monotonic()
        sign = {found.folder.name: found.sign() for found in living}
        if sign != self._sign:
            self._sign, self._since = sign, now
        if not self._told:
            self._told = True
            owner = living[0].owner
            self._on_wait(f"process {owner.pid} on {owner.host} fetches the same file")
        return now - self._since >= STALL_SECONDS

    def wait(self) -> None:
        """Let a moment pass."""
        self._host.pause(_POLL)


class _Unreadable(Exception):
    """Bytes that the disk cannot give back."""


def _copy_readable(source: int, target: int, start: int, size: int) -> None:
    try:
        copy_extent(source, start, target, start, size)
    except OSError as error:
        if error.errno == errno.EIO:
            raise _Unreadable from error
        raise


def _label(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


def _parsed(path: Path) -> _Found | None:
    label, _, mark = path.name.partition(".")
    owner = Owner.parse(mark)
    if owner is None:
        return None
    try:
        Digest.parse(label.replace("-", ":", 1))
    except DigestInvalid:
        return None
    return _Found(path, owner)
