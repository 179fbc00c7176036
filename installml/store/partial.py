"""A blob that is being put together on disk: ``data``, the blob with gaps, beside the journal that says where there
are none. Who may work on one is ``store.claims``' affair, who shares one with whom ``store.partials``'.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..digest import CHUNK
from ..errors import DiskFull
from ..spec.extents import Extent, Extents
from .files import clone_extent, copy_extent, disk_errors, free_space, fsync_folder, full, is_full, remove_tree, reserve
from .host import Host
from .journal import Journal, Log

__all__ = ["Partial", "Publish"]

SYNC_SECONDS = 10.0
"""How often what has arrived is made to survive a power cut; more often slows fast transfers for nothing."""

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
        self._log = Log(journal, folder / "journal")
        self._synced_at = self._touched_at = host.monotonic()
        self._syncing = False
        self._reserved = True
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
        if not self._reserved:
            self._reserve_now()
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
            self._log.note("+", extent, self._record)
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
            self._log.note("-", extent, self._record)

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
            reserve(self._data, self._written.missing(size), need)
        except OSError as error:
            if not is_full(error):
                raise
            top = max((extent.stop for extent in self._written), default=0)
            os.ftruncate(self._data, top)  # gives back what the attempt has taken
            os.ftruncate(self._data, size)
            raise self._disk_full(error, need) from error

    def reserve_later(self) -> None:
        """Take the room at the first ``write``: what comes before it may share blocks with other files."""
        self._reserved = False

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
                with self._full_disk_told():
                    if _copied(source, self._data, start, count):
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
                self._log.rewrite(self._record)
            self._log.close()
            self._file.close()
            os.close(self._data)
            self._data = -1

    @property
    def _record(self) -> Path:
        return self.folder / "journal"

    def _checked(self, extent: Extent) -> Extent:
        if not 0 <= extent.start <= extent.stop <= self.descriptor.size:
            raise ValueError(f"bytes {extent.start}-{extent.stop} are not within {self.descriptor.size}")
        return extent

    def _reserve_now(self) -> None:
        with self._lock:  # nobody writes before it is done: giving back what it took cuts the file off
            if not self._reserved:
                self.reserve()
                self._reserved = True

    def _add(self, extent: Extent) -> int:
        with self._lock:
            return self._written.add(extent)

    @contextlib.contextmanager
    def _full_disk_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not is_full(error):
                with disk_errors(self.folder):
                    raise
            raise self._disk_full(error, self.descriptor.size - self._written.size) from error

    def _disk_full(self, error: OSError, need: int) -> DiskFull:
        free = free_space(self.folder)
        had = "" if free is None else f", {free:,} are free"
        where = str(self.folder.parent)
        return full(error, f"for {self.descriptor.digest.short} in {where}: it needs {need:,} bytes more{had}", where)

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
            handles = os.dup(self._data), self._log.duplicate()
        threading.Thread(target=self._sync, args=(kept, handles), name="sync", daemon=True).start()

    def _sync(self, kept: list[Extent], handles: tuple[int, int]) -> None:
        """Bring ``kept`` to the disk, then record that, then bring the record to the disk."""
        data, log = handles
        try:
            os.fdatasync(data)
            with self._lock:
                if self._data >= 0:
                    for extent in kept:
                        if extent in self._journal.kept:
                            self._log.note("=", extent, self._record)
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


def _copied(source: int, target: int, start: int, size: int) -> bool:
    """Copy bytes to the same place in another file; return whether the disk could give them."""
    try:
        copy_extent(source, start, target, start, size)
    except OSError as error:
        if error.errno == errno.EIO:
            return False
        raise
    return True
