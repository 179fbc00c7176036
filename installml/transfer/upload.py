"""Blobs that leave from files: straight from an open file, and, where the registry streams, while they are hashed.

What peers read twice (once for the digest, once to send it) is read once: the bytes of a new file go up while another
thread hashes the same pages, and the digest follows at the end. When the hashing is faster than the link, the
registry is asked for the digest as soon as it is known, and the upload is given up if the blob is there: a slow link
carries little of what need not be carried.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Protocol, runtime_checkable

from ..digest import Digest
from ..errors import InstallMLError
from ..events import BlobDone, BlobProgress, BlobStarted, Listener, Phase, ignore
from ..spec.descriptor import Descriptor
from ..store.protocol import FilePusher, FileSource

__all__ = ["Proved", "StreamPusher", "Streams", "send_file"]

WORTH_STREAMING = 8 << 20
"""Bytes of the smallest file that is sent while it is hashed; a smaller one is hashed before a session is open."""

_OCTETS = "application/octet-stream"
_LOOK = 0.2  # seconds between two looks whether the upload is still wanted


@runtime_checkable
class StreamPusher(Protocol):
    """It can take a file whose digest is not known yet."""

    def exists(self, descriptor: Descriptor) -> bool:
        """As ``store.protocol.Existence``."""
        ...

    def stream_file(
        self, file: BinaryIO, size: int, digest: Callable[[Callable[[], None]], Digest], report: Callable[[int], None]
    ) -> bool:
        """Take the bytes of ``file`` now and their digest when it is known; return whether the blob is there.

        Args:
            file: The file.
            size: Its bytes.
            digest: Waits for the digest, calling its argument now and then; raises when there will be none.
            report: Told of bytes sent; what it raises gives the upload up.
        """
        ...


@runtime_checkable
class Proved(Protocol):
    """It remembers which of its files have been compared with their digests."""

    def proved(self, descriptor: Descriptor, file: BinaryIO) -> bool:
        """Return whether ``file`` has been compared with ``descriptor`` and not been touched since."""
        ...


def send_file(source: object, destination: object, descriptor: Descriptor, report: Callable[[int], None]) -> bool:
    """Send a blob from its file.

    Args:
        source: Where it is.
        destination: Where it shall be.
        descriptor: The blob.
        report: As ``FilePusher.push_file``.

    Returns:
        Whether it was sent; when not, one of the two has nothing to do with files, and it goes as a stream.

    Raises:
        SourceChanged: The file changed meanwhile.
        InstallMLError: As ``destination.push``.
    """
    if not isinstance(source, FileSource) or not isinstance(destination, FilePusher):
        return False
    with source.open_file(descriptor) as file:
        if file is None:
            return False
        proved = isinstance(source, Proved) and source.proved(descriptor, file)
        destination.push_file(descriptor, file, report, proved=proved)
    return True


class _GivenUp(Exception):
    """Nobody wants this upload any more."""


class Stream:
    """One file on its way up while it is hashed."""

    def __init__(self, title: str, size: int) -> None:
        self.title = title
        self.size = size
        self.sent = 0
        self.digest: Digest | None = None
        self.taken = False
        self.loud: Listener = ignore
        self.thread: threading.Thread | None = None
        self._known = threading.Event()
        self._unwanted = threading.Event()

    def hashed(self, digest: Digest) -> None:
        """Take note of the digest."""
        self.digest = digest
        self._known.set()

    def give_up(self) -> None:
        """End the upload, soon."""
        self._unwanted.set()
        self._known.set()

    def await_digest(self, look: Callable[[], None]) -> Digest:
        """Return the digest as soon as it is known, calling ``look`` now and then."""
        while not self._known.wait(_LOOK):
            look()
        if self.digest is None:
            raise _GivenUp
        return self.digest

    def report(self, count: int) -> None:
        """Take note of bytes sent; raises _GivenUp when no more are wanted."""
        if self._unwanted.is_set():
            raise _GivenUp
        self.sent += count
        if count and self.digest is not None:
            self.loud(BlobProgress(str(self.digest), count))


class Streams:
    """Files that are sent while they are hashed. Use it as a context manager around the hashing; leaving it waits for
    what is still on its way, or ends it when something has failed.

    Args:
        destination: Where they go.
        jobs: Most files at the same time; the others are only hashed, and sent afterwards.
        on_event: Told of what is still going up when the hashing is over.
        limit: Called with the number of bytes that are about to be counted as sent; may wait.

    Attributes:
        taken: Sizes of the blobs that the destination has taken.
    """

    def __init__(
        self,
        destination: StreamPusher,
        jobs: int,
        on_event: Listener = ignore,
        limit: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.taken: dict[Digest, int] = {}
        self._destination = destination
        self._on_event = on_event
        self._limit = limit
        self._free = threading.Semaphore(max(1, jobs))
        self._running: list[Stream] = []
        self._lock = threading.Lock()

    @contextmanager
    def begin(self, title: str, file: BinaryIO, size: int) -> Iterator[Stream]:
        """Begin to send ``file`` if there is a free place; inside the block it is hashed.

        Args:
            title: The file, for people.
            file: Open; neither its position nor its life matters to the upload.
            size: Its bytes.

        Yields:
            What is to be told the digest. Leaving the block with an error ends the upload.
        """
        stream = Stream(title, size)
        if size >= WORTH_STREAMING and self._free.acquire(blocking=False):
            self._start(stream, file)
        try:
            yield stream
        except BaseException:
            stream.give_up()
            raise
        if stream.thread is not None and stream.thread.is_alive() and self._is_there(stream):
            stream.give_up()

    def _start(self, stream: Stream, file: BinaryIO) -> None:
        own = os.fdopen(os.dup(file.fileno()), "rb", buffering=0)
        stream.thread = threading.Thread(target=self._send, args=(stream, own), name="stream", daemon=True)
        with self._lock:
            self._running.append(stream)
        stream.thread.start()

    def _is_there(self, stream: Stream) -> bool:
        """Return whether the destination has got the blob already, from somebody else."""
        with suppress(InstallMLError):
            return stream.digest is not None and self._destination.exists(
                Descriptor(_OCTETS, stream.digest, stream.size)
            )
        return False

    def _send(self, stream: Stream, file: BinaryIO) -> None:
        def report(count: int) -> None:
            stream.report(count)
            self._limit(count)

        try:
            with (
                file,
                suppress(_GivenUp, InstallMLError),
            ):  # whatever failed: copy sends the blob, and says why it cannot
                stream.taken = self._destination.stream_file(file, stream.size, stream.await_digest, report)
        finally:
            self._free.release()
        if stream.taken and stream.digest is not None:
            with self._lock:
                self.taken[stream.digest] = stream.size
            stream.loud(BlobDone(str(stream.digest), stream.title, stream.size, "copied"))

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        left = [stream for stream in self._running if stream.thread is not None and stream.thread.is_alive()]
        if kind is not None:
            for stream in left:
                stream.give_up()
        elif left:
            self._announce(left)
        try:
            for stream in left:
                _join(stream)
        except BaseException:  # Ctrl-C while waiting
            for stream in left:
                stream.give_up()
            raise

    def _announce(self, left: list[Stream]) -> None:
        self._on_event(Phase("uploading", count=len(left), size=sum(stream.size for stream in left)))
        for stream in left:
            self._on_event(BlobStarted(str(stream.digest), stream.title, stream.size, done=stream.sent))
            stream.loud = self._on_event


def _join(stream: Stream) -> None:
    while stream.thread is not None and stream.thread.is_alive():
        stream.thread.join(_LOOK)
