"""One large blob from beginning to end: what is here already, what lacks, the proof, and only then its name."""

from __future__ import annotations

from functools import partial

from ...digest import Digest
from ...errors import DigestMismatch
from ...events import BlobProgress, BlobStarted, Notice
from ...store.protocol import Assembly
from ..landing import Landing
from .hashing import Hashing
from .places import Places, title
from .schedule import Schedule
from .work import Blob

__all__ = ["Bringer"]


class Bringer:
    """Puts blobs together, each in a thread of its own; safe to share between them.

    Args:
        places: Where they come from and go.
        schedule: Gives what lacks to the connections.
        hashing: Compares what came with what was asked for.
    """

    def __init__(self, places: Places, schedule: Schedule, hashing: Hashing) -> None:
        self._places = places
        self._schedule = schedule
        self._hashing = hashing
        self._stopped = schedule.stopped.is_set

    def bring(self, blob: Blob) -> None:
        """Put one blob together; a failure stops the whole download."""
        outcome = ""
        try:
            with self._places.destination.assemble(
                blob.descriptor, stopped=self._stopped, on_wait=partial(self._waits, blob)
            ) as assembly:
                if assembly is not None:
                    try:
                        outcome = "copied" if self._assemble(blob, assembly) else ""
                    finally:
                        self._schedule.let_go(blob)
                elif not self._stopped():
                    outcome = "exists"
            if outcome:
                self._places.done(blob.descriptor, outcome)
                self._schedule.finish()
        except BaseException as error:
            self._schedule.fail(error)
        finally:
            self._schedule.close(blob)

    def _waits(self, blob: Blob, text: str) -> None:
        self._schedule.wait_for(blob)
        self._places.on_event(Notice(text))

    def _assemble(self, blob: Blob, assembly: Assembly) -> bool:
        """Fill, fetch and prove a blob, and make it visible; return false when the download ended before."""
        descriptor, delta = blob.descriptor, self._places.delta
        if delta is not None:
            delta.fill(descriptor, assembly)
        blob.index = self._places.vouched(descriptor)
        if blob.index is not None:
            # Whoever brought what is there already need not have compared it.
            for extent in Landing(descriptor, assembly, _nobody).wrong(blob.index):
                assembly.forget(extent)
        landing = Landing(descriptor, assembly, partial(self._progress, descriptor.digest))
        name, short = str(descriptor.digest), title(descriptor)
        self._places.on_event(BlobStarted(name, short, descriptor.size, landing.done, checked=blob.index is None))
        self._schedule.offer(blob, landing)
        if blob.index is not None:
            whole = self._all_there(landing)
        else:
            whole = self._prove(blob, landing, local=landing.done > 0)
        if whole:
            assembly.publish(hashed=blob.index is None)
        return whole

    def _progress(self, digest: Digest, count: int) -> None:
        self._places.on_event(BlobProgress(str(digest), count))

    def _all_there(self, landing: Landing) -> bool:
        """Wait for the last byte; each was compared before it was written."""
        front, size = 0, landing.descriptor.size
        while front < size and not self._stopped():
            front = landing.wait(front)
        return front >= size

    def _prove(self, blob: Blob, landing: Landing, *, local: bool) -> bool:
        """Compare the whole with its digest, mending what can be mended.

        With an index the wrong chunks are found and fetched once more. If that is not it, and if part of the bytes was
        there before (an earlier attempt, a file on this machine), all is fetched once. What the registry itself sent
        from beginning to end, and is wrong, is refused.
        """
        digest, mended, told = blob.descriptor.digest, False, 0
        while True:
            actual, told = self._hashing.follow(landing, told)
            if actual is None or actual == digest:
                return actual is not None
            elsewhere = self._places.elsewhere(blob.descriptor)
            self._schedule.recall(blob)  # what still comes from before would be taken for new
            bad = self._wrong(blob, landing) if not mended else False
            if not bad:
                landing.discard()
                if not (local or elsewhere):
                    raise DigestMismatch(str(digest), str(actual), self._places.origin)
                local = False
            mended = True
            self._schedule.offer(blob, landing)

    def _wrong(self, blob: Blob, landing: Landing) -> bool:
        """Throw away the chunks that an index says are wrong; return whether there are any."""
        index = self._places.index(blob.descriptor)
        bad = landing.wrong(index) if index is not None else []
        for extent in bad:
            landing.forget(extent)
        return bool(bad)


def _nobody(count: int) -> None:
    """Tell nobody."""
