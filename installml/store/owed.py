"""Blobs that are here by a list of chunks alone: their own digest is still to be compared, some day soon.

Each of their chunks was compared, as it came, with a list that a verified signature vouches for; that is as good a
proof, so they may be used meanwhile. Whoever finds the time compares the whole (``store.recovery.settle``). When that
fails, the list was forged or the disk has damaged the blob since: from then on no list is believed for that blob.

``state/owed/<algorithm>-<hex>`` says that a digest is owed, ``state/distrusted/<algorithm>-<hex>`` that it was wrong.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from ..digest import CHUNK, Digest, DigestInvalid, VerifyingReader
from ..errors import IntegrityError
from ..spec.canonical import canonical
from .blobs import MISSING, BlobFolder

__all__ = ["Owed"]


class Owed:
    """What is owed in one store.

    Args:
        state: The store's folder ``state``.
        blobs: Its content.
        write: Makes a small file whole.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, state: Path, blobs: BlobFolder, write: Callable[[Path, bytes], None], clock: Callable[[], float]
    ) -> None:
        self._state = state
        self._blobs = blobs
        self._write = write
        self._clock = clock

    def note(self, digest: Digest, owed: bool) -> None:
        """Remember that a blob's own digest is still to be compared, or that it has been."""
        self._set("owed", digest, owed)

    def digests(self) -> list[Digest]:
        """Return the blobs whose own digest is still to be compared; one look at a folder."""
        found = []
        with contextlib.suppress(OSError), os.scandir(self._state / "owed") as entries:
            for name in sorted(entry.name for entry in entries):
                with contextlib.suppress(DigestInvalid):
                    found.append(Digest.parse(name.replace("-", ":", 1)))
        return found

    def distrust(self, digest: Digest) -> None:
        """Remember that a blob proved wrong although its chunks had proved right."""
        self._set("distrusted", digest, True)

    def distrusted(self, digest: Digest) -> bool:
        """Return whether no list of chunks may vouch for a blob."""
        return self._path("distrusted", digest).exists()

    def compare(self, digest: Digest, stopped: Callable[[], bool]) -> str | None:
        """Compare a blob with its own digest.

        Args:
            digest: The blob.
            stopped: Asked before each block; true ends it.

        Returns:
            What is wrong, in words, or nothing; None when it was stopped.
        """
        path = self._blobs.path(digest)
        try:
            with path.open("rb", buffering=0) as file:
                reader = VerifyingReader(file, digest, os.fstat(file.fileno()).st_size, str(path))
                while not stopped():
                    if not reader.read(CHUNK):
                        return ""
                return None
        except FileNotFoundError:
            return MISSING
        except (IntegrityError, OSError):
            return self._blobs.check(digest)

    def _path(self, folder: str, digest: Digest) -> Path:
        return self._state / folder / f"{digest.algorithm}-{digest.hex}"

    def _set(self, folder: str, digest: Digest, value: bool) -> None:
        path = self._path(folder, digest)
        if value:
            self._write(path, canonical({"digest": str(digest), "since": int(self._clock())}))
        else:
            with contextlib.suppress(OSError):  # a store that can only be read: it stays owed, which harms nobody
                path.unlink(missing_ok=True)
