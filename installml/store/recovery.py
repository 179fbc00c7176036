"""What is proved afterwards: what was published right before a stop without warning, and digests that are owed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..digest import Digest
from ..errors import InstallMLError, IntegrityError
from ..events import Listener, Notice, Phase, heard, ignore
from .blobs import MISSING
from .disk import DiskStore
from .installed import InstalledStore

__all__ = ["recover", "settle", "settling", "tell"]

_MOST_TOLD = 4096  # characters of one notice


def recover(store: DiskStore, *, on_event: Listener = ignore) -> list[Digest]:
    """Check what a power cut or a crash of the machine may have damaged; costs one look at a folder otherwise.

    Damaged blobs are set aside, so that the next pull or push brings them again. Installed models that need
    one are not installed any more: their files share its bytes.

    Args:
        store: The store.
        on_event: Told what was found.

    Returns:
        The blobs that proved damaged or missing.

    Raises:
        StoreError: Something is damaged and this user may not set it aside.
    """
    damaged: list[Digest] = []
    lost, waiting = store.unsynced.look()
    for folder in lost:
        with _alone(folder):
            entries = store.unsynced.entries(folder)
            digests = sorted({digest for _, digest in entries})
            if digests:
                on_event(Phase("checking", "what was stored before this machine stopped", len(digests)))
            found = {digest: reason for digest in digests if (reason := store.blobs.check(digest))}
            for digest in (digest for digest, reason in found.items() if reason != MISSING):
                store.unsynced.announce(
                    f"{digest.short} was not wholly on the disk when this machine stopped; it is set aside"
                )
                store.blobs.check(digest, quarantine=True)
            if found:
                _withdraw(store, found, "was damaged when this machine stopped")
            store.unsynced.strike(folder, (name for name, _ in entries))
        damaged += found
    if lost or waiting:
        tell(store, on_event)
    return damaged


def tell(store: DiskStore, on_event: Listener) -> None:
    """Tell the user what was found, once; when nobody listens it waits for somebody who does."""
    if not heard(on_event):
        return
    for path in store.unsynced.look()[1]:
        with contextlib.suppress(OSError):
            on_event(Notice(path.read_text(errors="replace")[:_MOST_TOLD]))
            path.unlink()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process check while others wait for it; without such locks all of them check, which is as right."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # checked by somebody else in this moment
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def settle(
    store: DiskStore, *, stopped: Callable[[], bool] = lambda: False, on_event: Listener = ignore
) -> dict[Digest, str]:
    """Compare the digests that are owed (``store.owed``); costs one look at a folder when none is.

    What proves wrong is set aside, models that were installed from it are not installed any more, and no list of chunks
    is believed for it again: the next pull compares it whole before anybody sees it.

    Args:
        store: The store.
        stopped: Asked all the time; true ends it, and the rest stays owed.
        on_event: Told what was found.

    Returns:
        The blobs that proved wrong, and what is wrong with them.
    """
    wrong: dict[Digest, str] = {}
    owed = store.owed.digests()
    for digest in owed:
        reason = None if stopped() else store.owed.compare(digest, stopped)
        if reason is None:
            break
        if reason and reason != MISSING:
            wrong[digest] = f"its chunks were what a signed list says, but the whole is not: {reason}"
            store.owed.distrust(digest)
            store.unsynced.announce(f"{digest.short} is set aside: {wrong[digest]}")
            store.blobs.check(digest, quarantine=True)
        if reason:
            _withdraw(store, {digest: reason}, "was made of bytes that proved wrong")
        store.owed.note(digest, False)
    if owed:
        tell(store, on_event)
    return wrong


@contextlib.contextmanager
def settling(store: DiskStore, on_event: Listener = ignore) -> Iterator[None]:
    """Compare what is owed while the block runs, with what it leaves of the processors."""
    if not store.owed.digests():
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_settle_aside, args=(store, over, on_event), name="settle", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _settle_aside(store: DiskStore, over: threading.Event, on_event: Listener) -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux: each thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    try:
        settle(store, stopped=over.is_set, on_event=on_event)
    except InstallMLError as error:  # somebody else's store; a full disk: it stays owed
        on_event(Notice(f"digests that are still to be compared could not be: {error.message}"))


def _withdraw(store: DiskStore, damaged: Mapping[Digest, str], why: str) -> None:
    """Remove the installed models that need something damaged, and say what is to be fetched again.

    What is missing counts as well: a check that was killed here has set it aside already.
    """
    from .gc import reachable  # every verb comes by here, and almost never so far

    installed = InstalledStore(store.root)
    for record in list(installed.records()):
        try:
            needs = reachable(store, [record.descriptor])
        except IntegrityError:  # one of its manifests is damaged: what it names cannot be known
            needs = set(damaged)
        if not needs.isdisjoint(damaged):
            store.unsynced.announce(f"{record.reference} {why}: install it again")
            installed.remove(record)
