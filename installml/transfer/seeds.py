"""Bytes that are on this machine already: blobs and installed trees of our store, and the caches of other tools.

Nothing here is trusted. What is taken is compared with its digest, after it has been copied: our copy is what counts,
whatever happens to the original meanwhile. Another tool's cache is never written, and never hard-linked: a link shares
its permissions, and we make our blobs read-only.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO

from ..digest import CHUNK, Digest
from ..spec.chunks import ChunkIndex
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent
from ..store.disk import DiskStore
from ..store.files import copy_extent, full, is_full
from ..store.protocol import Assembler, Assembly

__all__ = ["Caches", "Seeds", "take_whole"]


class Caches:
    """Caches of other tools that name files by their sha256.

    Args:
        hub: Folders such as ``~/.cache/huggingface/hub`` (huggingface_hub, "Understand caching": files kept by git LFS
            are ``*--*/blobs/<sha256>``).
        ollama: Folders such as ``~/.ollama/models`` (``blobs/sha256-<hex>``).
    """

    def __init__(self, hub: Sequence[Path] = (), ollama: Sequence[Path] = ()) -> None:
        self._hub = hub
        self._ollama = ollama
        self._listed: list[tuple[Path, str, str]] | None = None

    def find(self, descriptor: Descriptor) -> tuple[Path, str] | None:
        """Return a file that, by its name and size, holds the content, and whose it is, in words.

        What it holds has still to be proved.
        """
        if descriptor.digest.algorithm != "sha256":
            return None
        for folder, prefix, owner in self._folders():
            path = folder / f"{prefix}{descriptor.digest.hex}"
            with suppress(OSError):
                if path.is_file() and path.stat().st_size == descriptor.size:
                    return path, owner
        return None

    def _folders(self) -> list[tuple[Path, str, str]]:
        """Return the folders with blobs, what stands before the digest there, and whose they are; listed once."""
        if self._listed is None:
            found = [(folder / "blobs", "sha256-", "Ollama's store") for folder in self._ollama]
            for hub in self._hub:
                with suppress(OSError):
                    names = sorted(path for path in hub.iterdir() if "--" in path.name)
                    found += [(path / "blobs", "", "the Hugging Face cache") for path in names]
            self._listed = found
        return self._listed


def take_whole(
    descriptor: Descriptor,
    path: Path,
    place: Assembler,
    *,
    report: Callable[[int], None],
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Bring a blob from another tool's file into the store: shared blocks where the file system can, else a copy.

    Args:
        descriptor: The blob.
        path: The file; only read.
        place: Where it shall be.
        report: Told how many more bytes have been hashed; what it raises ends the work.
        stopped: Asked while somebody else brings the same blob.

    Returns:
        Whether the blob is there now; False when the file does not hold it.

    Raises:
        DiskFull: There is no room.
    """
    with place.assemble(descriptor, stopped=stopped, on_wait=lambda _: None) as assembly:
        if assembly is None:
            return True
        try:
            with path.open("rb", buffering=0) as file:
                for extent in assembly.missing():
                    copy_extent(file.fileno(), extent.start, assembly.file().fileno(), extent.start, extent.size)
                    assembly.written(extent)
        except OSError:  # theirs went away or cannot be read: the registry has it
            return False
        if _hashed(assembly, report) != descriptor.digest:
            assembly.discard()
            return False
        assembly.publish()
        return True


def _hashed(assembly: Assembly, report: Callable[[int], None]) -> Digest:
    digest, size = assembly.descriptor.digest, assembly.descriptor.size
    state, buffer, at = hashlib.new(digest.algorithm), memoryview(bytearray(CHUNK)), 0
    while at < size:
        count = assembly.read(at, buffer[: min(CHUNK, size - at)])
        if not count:
            break
        state.update(buffer[:count])
        report(count)
        at += count
    return Digest(digest.algorithm, state.hexdigest())


class Seeds:
    """Content of our own whose chunks may be taken. May be used from several threads.

    Args:
        store: The store: every blob with a chunk index is a seed.
        copies: Files of installed models by their digest, used where the store has lost or damaged the blob.
        make_index: Reads a file and returns its index.
    """

    def __init__(
        self,
        store: DiskStore,
        copies: Mapping[Digest, Sequence[Path]],
        make_index: Callable[[BinaryIO, Descriptor], ChunkIndex],
    ) -> None:
        self._store = store
        self._copies = copies
        self._make_index = make_index
        self._lock = threading.Lock()
        self._indexes: dict[Digest, ChunkIndex] | None = None

    def files(self, blob: Digest) -> Iterator[Path]:
        """Yield the files that hold a blob, unless they are damaged."""
        for path in (self._store.blobs.path(blob), *self._copies.get(blob, ())):
            if path.is_file():
                yield path

    def has(self, blob: Digest) -> bool:
        """Return whether some file holds the blob."""
        return any(True for _ in self.files(blob))

    def index(self, blob: Digest, size: int) -> ChunkIndex | None:
        """Return the index of a blob that was made or fetched here earlier, whether or not the blob is here."""
        return self._store.chunks.read(blob, size)

    def distrusted(self, blob: Digest) -> bool:
        """Return whether a blob has proved wrong before although its chunks had proved right."""
        return self._store.owed.distrusted(blob)

    def alone(self) -> AbstractContextManager[None]:
        """Let one process at a time ask for indexes: those that wait find what it has brought."""
        return self._store.chunks.alone()

    def learn(self, index: ChunkIndex) -> None:
        """Keep an index; its blob is a seed from now on, if it is here."""
        self._store.chunks.write(index)
        known = self._known()
        with self._lock:
            if self.has(index.blob):
                known[index.blob] = index

    def make(self, descriptor: Descriptor) -> ChunkIndex | None:
        """Make the index of a blob that is here, by reading it; None when it cannot be read or is of another size."""
        for path in self.files(descriptor.digest):
            with suppress(OSError):
                if path.stat().st_size == descriptor.size:
                    with path.open("rb", buffering=0) as file:
                        index = self._make_index(file, descriptor)
                    self.learn(index)
                    return index
        return None

    def indexes(self) -> Iterable[ChunkIndex]:
        """Return the indexes of all seeds."""
        known = self._known()
        with self._lock:
            return list(known.values())

    def _known(self) -> dict[Digest, ChunkIndex]:
        with self._lock:
            if self._indexes is None:
                self._indexes = {index.blob: index for index in self._read_all()}
            return self._indexes

    def _read_all(self) -> Iterator[ChunkIndex]:
        for blob in self._store.chunks.blobs():
            path = next(self.files(blob), None)
            if path is not None and (index := self._store.chunks.read(blob, path.stat().st_size)):
                yield index

    @staticmethod
    def copy(path: Path, pairs: Sequence[tuple[Extent, Extent]], assembly: Assembly) -> None:
        """Copy stretches of a file into ``assembly``, which is not told: what arrived has still to be proved.

        Args:
            path: The file; that it is gone, or too short, is no failure.
            pairs: Where each stretch lies in it and where it goes; adjacent ones go in one step.
            assembly: Where they go.

        Raises:
            DiskFull: There is no room.
        """
        try:
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                for there, here in _joined(pairs):
                    if there.stop <= size:
                        copy_extent(file.fileno(), there.start, assembly.file().fileno(), here.start, here.size)
        except OSError as error:  # theirs is gone, or cannot be read: what was copied of it is looked at all the same
            if is_full(error):
                raise full(error, f"for what {assembly.descriptor.digest.short} shares with files here", "") from error


def _joined(pairs: Iterable[tuple[Extent, Extent]]) -> Iterator[tuple[Extent, Extent]]:
    """Join pairs that follow each other on both sides."""
    there = here = Extent(0, 0)
    for source, target in pairs:
        if here.size and (source.start, target.start) == (there.stop, here.stop):
            there, here = Extent(there.start, source.stop), Extent(here.start, target.stop)
            continue
        if here.size:
            yield there, here
        there, here = source, target
    if here.size:
        yield there, here
