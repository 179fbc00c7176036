"""After a stop without warning: what was published right before it is hashed before anybody uses it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..digest import Digest
from ..errors import IntegrityError
from ..events import Listener, Notice, Phase, ignore
from .blobs import MISSING
from .disk import DiskStore
from .gc import reachable
from .installed import InstalledStore

__all__ = ["recover"]


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
    for folder in store.unsynced.lost():
        with _alone(folder):
            entries = store.unsynced.entries(folder)
            digests = sorted({digest for _, digest in entries})
            if digests:
                on_event(Phase("checking", "what was stored before this machine stopped", len(digests)))
            found = {digest: reason for digest in digests if (reason := store.blobs.check(digest, quarantine=True))}
            if found:
                _withdraw(store, found, on_event)
            store.unsynced.strike(folder, (name for name, _ in entries))
        damaged += found
    return damaged


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


def _withdraw(store: DiskStore, damaged: Mapping[Digest, str], on_event: Listener) -> None:
    """Remove the installed models that need something damaged, and say what is to be fetched again.

    What is missing counts as well: a check that was killed here has set it aside already.
    """
    for digest, reason in damaged.items():
        if reason != MISSING:
            on_event(Notice(f"{digest.short} was not wholly on the disk when this machine stopped; it is set aside"))
    installed = InstalledStore(store.root)
    for record in list(installed.records()):
        try:
            needs = reachable(store, [record.descriptor])
        except IntegrityError:  # one of its manifests is damaged: what it names cannot be known
            needs = set(damaged)
        if not needs.isdisjoint(damaged):
            installed.remove(record)
            on_event(Notice(f"{record.reference} was damaged when this machine stopped: install it again"))
