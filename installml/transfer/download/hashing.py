"""Hashing a blob while it comes: from the front on, on as many cores at once as are free."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...digest import CHUNK, Digest
from ...errors import StoreUnusable
from ...events import BlobChecked, Listener
from ..landing import Landing
from .places import title

__all__ = ["Hashing"]

TURN = 64 << 20
"""Bytes that a blob may hash before another one gets the core."""


class Hashing:
    """Computes the digests of blobs that are being put together; safe to share between threads.

    Args:
        cores: Blobs hashed at the same time.
        stopped: Asked again and again; true ends everything.
        on_event: Told how far each blob is.
    """

    def __init__(self, cores: int, stopped: Callable[[], bool], on_event: Listener) -> None:
        self._cores = threading.BoundedSemaphore(max(1, cores))
        self._stopped = stopped
        self._on_event = on_event
        self._lock = threading.Lock()
        self._hashed = self._waiting = 0
        self._waited = False

    def look(self) -> tuple[int, bool]:
        """Return what was hashed since the last look, in bytes, and whether a blob had to wait for more to come."""
        with self._lock:
            seen = self._hashed, self._waited
            self._hashed, self._waited = 0, self._waiting > 0
            return seen

    def _wait(self, landing: Landing, position: int) -> int:
        """Wait for a byte at ``position``; return up to where there are more, or ``position`` at the end."""
        if (front := landing.front(position)) > position:
            return front
        with self._lock:
            self._waited, self._waiting = True, self._waiting + 1
        try:
            return landing.wait(position)
        finally:
            with self._lock:
                self._waiting -= 1

    def follow(self, landing: Landing, told: int = 0) -> tuple[Digest | None, int]:
        """Hash a blob behind its front until it is whole.

        Args:
            landing: The blob.
            told: Bytes that people were told about already, at an attempt before.

        Returns:
            The digest of the whole, None when the download ended before; and what was told.
        """
        digest, size = landing.descriptor.digest, landing.descriptor.size
        state, position, buffer = digest.hasher(), 0, memoryview(bytearray(CHUNK))
        while position < size:
            front = self._wait(landing, position)
            if self._stopped():
                return None, told
            with self._cores:
                until = min(front, position + TURN)
                while position < until and not self._stopped():
                    count = landing.read(position, buffer[: until - position])
                    if not count:
                        raise StoreUnusable(f"{title(landing.descriptor)} was changed while it was downloaded")
                    state.update(buffer[:count])
                    position += count
                    with self._lock:
                        self._hashed += count
                    if position > told:
                        self._on_event(BlobChecked(str(digest), position - told))
                        told = position
        return Digest(digest.algorithm, state.hexdigest()), told
