"""The one read of each file: its digest, and whatever else looks at the same bytes on their way.

Here: who may watch the read, what becomes of the bytes (nothing, a copy in the store, an upload that runs beside), and
the digests that need no read because the file has not been touched since. Not here: which files (``select``), what the
digests become (``assemble``).
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from ..digest import CHUNK, Digest
from ..errors import SourceChanged
from ..events import BlobDone, BlobProgress, BlobStarted, Event, Listener, Phase
from ..spec.descriptor import Descriptor
from ..store.blobs import BlobFolder
from ..store.files import disk_errors
from ..transfer.upload import Streams
from .memory import DigestMemory, Identity
from .select import Selected

__all__ = [
    "HEADER",
    "Hash",
    "Hashed",
    "Keep",
    "Observe",
    "Observer",
    "Opened",
    "Reading",
    "Send",
    "Taker",
    "hash_files",
]

HEADER = 16 << 20
"""Bytes from the front of a file that an ``Observe`` is shown at most: more than any format's table of tensors."""


_OCTETS = "application/octet-stream"


class Observer(Protocol):
    """Looks at the bytes of one file while they are hashed. Used by one thread at a time."""

    def update(self, block: memoryview | bytes, /) -> None:
        """Take the next bytes; the buffer is used again afterwards, so what is to be kept must be copied."""
        ...

    def finish(self, digest: Digest, /) -> None:
        """Take note that all bytes have been seen and that their digest is ``digest``.

        Never called for a file that changed while it was read.
        """
        ...


Observe = Callable[[str, int, bytes], Observer | None]
"""Called with a file's path in the package, its size and its first bytes (``HEADER`` at most) before it is read;
returns who looks at the bytes, or None. Called from several threads."""


class Opened:
    """A file of the package, open for its one read.

    Args:
        path: Its path in the package.
        file: The file, at its beginning.
        see: Called with each block, in order.

    Attributes:
        path: As above.
        file: As above.
        identity: What it was when it was opened.
    """

    def __init__(self, path: str, file: BinaryIO, see: Callable[[memoryview | bytes], None]) -> None:
        self.path = path
        self.file = file
        self.identity = Identity.of(file)
        self._see = see
        self._count = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, shown to whoever watches."""
        block = self.file.read(size)
        self._count += len(block)
        if block:
            self._see(block)
        return block

    def hash(self) -> Digest:
        """Read the file to its end and return its digest.

        Raises:
            SourceChanged: It is not as it was when it was opened.
        """
        state = Digest.of(b"").hasher()
        buffer = memoryview(bytearray(min(CHUNK, self.identity.size + 1)))  # one more: a file that grows is seen
        while count := os.readv(self.file.fileno(), [buffer]):
            state.update(buffer[:count])
            self._count += count
            self._see(buffer[:count])
        self.check()
        return Digest("sha256", state.hexdigest())

    def check(self) -> None:
        """Make sure that all of the file was read and that it did not change meanwhile.

        Raises:
            SourceChanged: It did.
        """
        if Identity.of(self.file) != self.identity or self._count != self.identity.size:
            raise SourceChanged(self.path)


class Taker(Protocol):
    """What becomes of the bytes of files while they are read, once."""

    def holds(self, digest: Digest, size: int) -> bool:
        """Return whether a file that need not be hashed need not be read either."""
        ...

    def small(self, data: bytes) -> None:
        """Take a small document that is in no file."""
        ...

    def take(self, opened: Opened) -> Digest:
        """Read a file to its end and return its digest.

        Raises:
            SourceChanged: It changed meanwhile; nothing was kept.
        """
        ...


class Hash:
    """Only the digest is wanted."""

    def holds(self, digest: Digest, size: int) -> bool:
        """Return True: there is nothing to bring."""
        return True

    def small(self, data: bytes) -> None:
        """Do nothing."""

    def take(self, opened: Opened) -> Digest:
        """Hash a file."""
        return opened.hash()


class Keep:
    """The bytes are copied into a store while they are hashed.

    Args:
        blobs: The store's content.
    """

    def __init__(self, blobs: BlobFolder) -> None:
        self._blobs = blobs

    def holds(self, digest: Digest, size: int) -> bool:
        """Return whether the store has them."""
        return self._blobs.exists(Descriptor(_OCTETS, digest, size))

    def small(self, data: bytes) -> None:
        """Keep a document."""
        self._blobs.take(io.BytesIO(data))

    def take(self, opened: Opened) -> Digest:
        """Copy and hash a file."""
        digest, _ = self._blobs.take(opened)
        opened.check()
        return digest


class Send:
    """The bytes are sent while they are hashed, as far as the other side can do with that.

    Args:
        streams: Sends them.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def holds(self, digest: Digest, size: int) -> bool:
        """Return True: what is known is sent as any other blob, if it is missing there."""
        return True

    def small(self, data: bytes) -> None:
        """Do nothing: it is sent with the rest."""

    def take(self, opened: Opened) -> Digest:
        """Hash a file; its upload may go on after that."""
        with self._streams.begin(opened.path, opened.file, opened.identity.size) as stream:
            digest = opened.hash()
            stream.hashed(digest)
        return digest


@dataclass(frozen=True, slots=True)
class Reading:
    """How the files of a package are read.

    Attributes:
        taker: What becomes of their bytes.
        memory: Digests of files that need not be read again; None reads all.
        observe: Who looks at the bytes.
        observed: Whether nothing would be learnt by looking at the file with this digest and size once more.
    """

    taker: Taker
    memory: DigestMemory | None = None
    observe: Observe | None = None
    observed: Callable[[Digest, int], bool] = lambda _digest, _size: True


@dataclass(frozen=True, slots=True)
class Hashed:
    """A file and its digest.

    Attributes:
        source: Where it is.
        identity: What it was when it was read.
        digest: Of its bytes.
    """

    source: Path
    identity: Identity
    digest: Digest


class _Stopped(Exception):
    """Nobody wants the digests any more."""


def hash_files(files: tuple[Selected, ...], reading: Reading, on_event: Listener) -> list[Hashed]:
    """Return the digests of ``files``, in their order, from as many threads as there are cores.

    Raises:
        SourceChanged: A file changed while it was read.
        StoreError: One cannot be read.
    """
    on_event(Phase("hashing", count=len(files), size=sum(file.size for file in files)))
    largest_first = sorted(files, key=lambda file: -file.size)  # the longest job must not be the last to start
    stop = threading.Event()

    def tell(event: Event) -> None:
        if stop.is_set():
            raise _Stopped
        on_event(event)

    with ThreadPoolExecutor(os.cpu_count() or 2, "hash") as pool:
        futures = {file.path: pool.submit(_hash_file, file, reading, tell) for file in largest_first}
        try:
            for done in wait(futures.values(), return_when=FIRST_EXCEPTION).done:
                done.result()
            hashed = [futures[file.path].result() for file in files]
        except BaseException:
            stop.set()  # Ctrl-C, or another file's failure: nobody waits until a hundred gigabytes have been read
            for future in futures.values():
                future.cancel()
            raise
    if reading.memory is not None:
        reading.memory.save()
    return hashed


def _hash_file(file: Selected, reading: Reading, on_event: Listener) -> Hashed:
    with open_source(file.source) as stream:
        seen = Identity.of(stream)
        digest = _recall(file.path, seen, reading)
        if digest is None:
            on_event(BlobStarted(file.path, file.path, file.size))
            digest = _read(file.path, stream, reading, on_event)
            outcome = "copied"
        else:
            outcome = "exists"
    on_event(BlobDone(file.path, file.path, seen.size, outcome))
    return Hashed(file.source, seen, digest)


def _recall(path: str, seen: Identity, reading: Reading) -> Digest | None:
    """Return the digest of a file that need not be read."""
    digest = reading.memory.recall(path, seen) if reading.memory else None
    if digest is None or not reading.taker.holds(digest, seen.size):
        return None
    return digest if reading.observe is None or reading.observed(digest, seen.size) else None


def _read(path: str, stream: BinaryIO, reading: Reading, on_event: Listener) -> Digest:
    observer = _observer(path, stream, reading)

    def see(block: memoryview | bytes) -> None:
        on_event(BlobProgress(path, len(block)))
        if observer is not None:
            observer.update(block)

    opened = Opened(path, stream, see)
    if reading.memory is not None:
        reading.memory.moment(opened.identity.device)  # before the first byte is read
    digest = reading.taker.take(opened)
    if observer is not None:
        observer.finish(digest)
    if reading.memory is not None:
        reading.memory.learn(path, opened.identity, digest)
    return digest


def _observer(path: str, stream: BinaryIO, reading: Reading) -> Observer | None:
    if reading.observe is None:
        return None
    size = os.fstat(stream.fileno()).st_size
    return reading.observe(path, size, os.pread(stream.fileno(), min(HEADER, size), 0))


@contextmanager
def open_source(path: Path) -> Iterator[BinaryIO]:
    """Open a file of the folder for reading, unbuffered; a link in its place is refused."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with disk_errors(path):
        # By way of open: what fails later names the file, and not the number of its handle.
        file = open(path, "rb", buffering=0, opener=lambda name, _: os.open(name, flags))  # noqa: SIM115
    with file:
        yield file
