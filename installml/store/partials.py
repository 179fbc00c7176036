"""Blobs that several processes, users and machines want at the same time: one puts each together, the others wait,
and whoever comes after one that was killed goes on with what it has left.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..digest import Digest
from ..errors import DiskFull
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent
from .claims import Claims, Found, label
from .files import disk_errors, make_folder, remove_tree, shares_blocks
from .host import Host
from .journal import Journal
from .partial import Partial, Publish

__all__ = ["Partials"]

STALL_SECONDS = 60.0
"""How long a neighbour may make no progress before we begin the same blob ourselves."""

_POLL = 0.1  # seconds between two looks at a neighbour


class Partials:
    """All blobs of one store that are on their way.

    Args:
        ingest: The folder for what is not whole yet.
        host: The machine.
    """

    def __init__(self, ingest: Path, host: Host) -> None:
        self._ingest = ingest
        self._host = host
        self.claims = Claims(ingest, host)

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
                self._reserve(partial)
            yield partial

    def _reserve(self, partial: Partial) -> None:
        """Take the room for a blob; where files can share blocks, what is here of it already needs none."""
        try:
            partial.reserve()
        except DiskFull:
            if not shares_blocks(self._ingest):
                raise
            partial.reserve_later()

    def fresh(self, descriptor: Descriptor, publish: Publish) -> Partial:
        """Return a new partial that nobody else looks for yet."""
        make_folder(self._ingest)
        target = self._ingest / f"{label(descriptor.digest)}.{self._host.mark()}"
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
            for found in self.claims.of(descriptor.digest):
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
        found = (other for other in self.claims.of(digest) if other.folder != mine.folder)
        return [other.folder.name for other in found if self.claims.in_use(other.folder)]

    def _claim(self, found: Found, descriptor: Descriptor, publish: Publish) -> Partial | bool:
        """Take over what somebody who is gone has left.

        Returns:
            The partial; else whether there is somebody to wait for.
        """
        try:
            state = self.claims.state(found)
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
        self, found: Found, data: int, ours: bool, descriptor: Descriptor, publish: Publish
    ) -> Partial | None:
        folder = self.claims.rename(found.folder, data)
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


class _Watch:
    """Waits for neighbours and notices when they get no further."""

    def __init__(self, host: Host, on_wait: Callable[[str], None]) -> None:
        self._host = host
        self._on_wait = on_wait
        self._told = False
        self._sign: object = None
        self._since = 0.0

    def stalled(self, living: list[Found]) -> bool:
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
