"""Every chunk index that was made or fetched here: ``chunks/<algorithm>/<hex>``, named by the blob that it is about.

An index makes its blob a seed: chunks that another blob shares with it need not be fetched. Nothing depends on one, so
what is damaged counts as absent, and a collection removes those whose blob is gone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..digest import Digest, DigestInvalid
from ..errors import StoreError
from ..spec.chunks import ChunkIndex, ChunkIndexInvalid, most_bytes, parse_chunk_index
from .files import make_folder, write_whole
from .host import Host

__all__ = ["PATIENCE", "ChunkFolder"]

PATIENCE = 10.0
"""Seconds that one process waits for another that asks a registry for indexes."""

_POLL = 0.05  # seconds between two looks


class ChunkFolder:
    """The chunk indexes of one store.

    Args:
        root: The store's folder.
        ingest: Folder on the same file system for what is not whole yet.
        host: The machine.
    """

    def __init__(self, root: Path, ingest: Path, host: Host) -> None:
        self._root = root
        self._ingest = ingest
        self._host = host

    def path(self, blob: Digest) -> Path:
        """Return where the index of ``blob`` is or would be."""
        return self._root / "chunks" / blob.algorithm / blob.hex

    def read(self, blob: Digest, size: int) -> ChunkIndex | None:
        """Return the index of a blob of ``size`` bytes; None when there is none that can be used."""
        path = self.path(blob)
        try:
            with path.open("rb") as file:
                return parse_chunk_index(file.read(most_bytes(size) + 1), blob, size, str(path))
        except (OSError, ChunkIndexInvalid):
            return None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time run the block, so that others need not ask a registry for the same index.

        It saves work and nothing rests on it: who has waited ``PATIENCE`` seconds goes on, as does everybody where
        there are no locks or the store cannot be written to.
        """
        try:
            handle = os.open(make_folder(self._root / "chunks"), os.O_RDONLY)
        except (OSError, StoreError):
            yield
            return
        try:
            until = self._host.monotonic() + PATIENCE
            while self._host.lock(handle) is False and self._host.monotonic() < until:
                self._host.pause(_POLL)
            yield
        finally:
            os.close(handle)

    def write(self, index: ChunkIndex) -> None:
        """Keep an index; a store that cannot be written to does without."""
        if not self.path(index.blob).exists():
            self.replace(index)

    def replace(self, index: ChunkIndex) -> None:
        """Keep an index in the place of one that may be damaged."""
        with contextlib.suppress(StoreError):
            write_whole(self.path(index.blob), index.to_bytes(), via=self._ingest)

    def blobs(self) -> Iterator[Digest]:
        """Yield the digests of the blobs that have an index, in order; names that are no digests are not ours."""
        for path in sorted((self._root / "chunks").glob("sha*/*")):
            with contextlib.suppress(DigestInvalid):
                yield Digest.parse(f"{path.parent.name}:{path.name}")

    def remove(self, blob: Digest, *, older_than: float) -> bool:
        """Remove the index of ``blob`` unless it was written after ``older_than``, seconds since the epoch.

        Returns:
            Whether it went.
        """
        path = self.path(blob)
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < older_than:
                path.unlink()
                return True
        return False
