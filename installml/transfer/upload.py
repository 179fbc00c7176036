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
from ..store.protocol import FilePusher, FileSource, Unwanted

__all__ = ["Proved", "StreamPusher", "Streams", "file_sender"]

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
        self,
        file: BinaryIO,
        size: int,
        digest: Callable[[Callable[[], None]], Digest],
        report: Callable[[int], None],
        already: Callable[[int], None],
    ) -> bool:
        """Take the bytes of ``file`` now and their digest when it is known; return whether the blob is there.

        Args:
            file: The file.
            size: Its bytes.
            digest: Waits for the digest, calling its argument now and then; raises when there will be none.
            report: Told of bytes sent; what it raises ends the upload, ``Unwanted`` for good.
            already: Told how many bytes an earlier attempt has brought, if it has.
        """
        ...


@runtime_checkable
class Proved(Protocol):
    """It remembers which of its files have been compared with their digests."""

    def proved(self, descriptor: Descriptor, file: BinaryIO) -> bool:
        """Return whether ``file`` has been compared with ``descriptor`` and not been touched since."""
        ...


FileSender = Callable[[Descriptor, Callable[[int], None], Callable[[int], None]], bool]
"""Sends a blob from its file. Given the blob, and ``report`` and ``already`` of ``FilePusher.push_file``; returns
whether it was sent: a blob that has no file goes as a stream. Raises SourceChanged when the file changed meanwhile, and
what the destination's ``push`` raises."""


def file_sender(source: object, destination: object) -> FileSender | None:
    """Return what sends blobs of ``source`` from their files; None when one of the two has nothing to do with files.

    Args:
        source: Where they are.
        destination: Where they shall be.
    """
    if not isinstance(source, FileSource) or not isinstance(destination, FilePusher):
        return None
    memory = source if isinstance(source, Proved) else None

    def send(descriptor: Descriptor, report: Callable[[int], None], already: Callable[[int], None]) -> bool:
        with source.open_file(descriptor) as file:
            if file is None:
                return False
            proved = memory is not None and memory.proved(descriptor, file)
            destination.push_file(descriptor, file, report, proved=proved, already=already)
        return True

    return send


class _Stopped(Exception):
    """The push has failed elsewhere, or was interrupted: what this upload has brought is good for the next one."""


class Stream:
    """One file on its way up while it is hashed.

    Attributes:
        title: The file, for people.
        size: Its bytes.
        before: Bytes that an earlier attempt has brought.
        sent: Bytes that this one has.
        digest: Of the file, once it is known.
        taken: Whether the destination has the blob.
        loud: Who is told of progress.
        thread: Sends it; None when it is only hashed.
    """

    def __init__(self, title: str, size: int) -> None:
        self.title = title
        self.size = size
        self.before = 0
        self.sent = 0
        self.digest: Digest | None = None
        self.taken = False
        self.loud: Listener = ignore
        self.thread: threading.Thread | None = None
        self._known = threading.Event()
        self._end: Exception | None = None

    @property
    def running(self) -> bool:
        """Whether it is being sent."""
        return self.thread is not None and self.thread.is_alive()

    def hashed(self, digest: Digest) -> None:
        """Take note of the digest."""
        self.digest = digest
        self._known.set()

    def end(self, why: Exception) -> None:
        """End the upload, soon; the first reason counts."""
        self._end = self._end or why
        self._known.set()

    def await_digest(self, look: Callable[[], None]) -> Digest:
        """Return the digest as soon as it is known, calling ``look`` now and then."""
        while not self._known.wait(_LOOK):
            look()
        if self._end is not None or self.digest is None:
            raise self._end or _Stopped()
        return self.digest

    def resumed(self, count: int) -> None:
        """Take note of what an earlier attempt has brought."""
        self.before = count

    def report(self, count: int) -> None:
        """Take note of bytes sent; raises what ``end`` was told."""
        if self._end is not None:
            raise self._end
        self.sent += count
        if count and self.digest is not None:
            self.loud(BlobProgress(str(self.digest), count))


class Streams:
    """Files that are sent while they are hashed. Use it as a context manager around the hashing; leaving it waits for
    what is still on its way, or ends it when something has failed.

    Args:
        destination: Where they go.
        jobs: Most files at the same time; the others are only hashed, and sent afterwards.
        on_event: Told of the uploads from ``announce`` on; before that, the hashing is what is shown.
        limit: Called with the number of bytes that are about to be counted as sent; may wait.

    Attributes:
        taken: Digests of the blobs that the destination has taken.
    """

    def __init__(
        self,
        destination: StreamPusher,
        jobs: int,
        on_event: Listener = ignore,
        limit: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.taken: set[Digest] = set()
        self._destination = destination
        self._on_event = on_event
        self._limit = limit
        self._free = threading.Semaphore(max(1, jobs))
        self._begun: list[Stream] = []
        self._announced = False
        self._lock = threading.Lock()

    @property
    def sent(self) -> int:
        """Bytes that have gone."""
        return sum(stream.sent for stream in self._begun)

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
        except InstallMLError:  # the file has changed or cannot be read: what went up is worth nothing
            stream.end(Unwanted())
            raise
        except BaseException:
            stream.end(_Stopped())
            raise
        if stream.running and self._is_there(stream):
            stream.end(Unwanted())

    def _start(self, stream: Stream, file: BinaryIO) -> None:
        own = os.fdopen(os.dup(file.fileno()), "rb", buffering=0)
        stream.thread = threading.Thread(target=self._send, args=(stream, own), name="stream", daemon=True)
        with self._lock:
            self._begun.append(stream)
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
            # Whatever fails here: copy sends the blob, and says why it cannot.
            with file, suppress(_Stopped, Unwanted, InstallMLError):
                stream.taken = self._destination.stream_file(
                    file, stream.size, stream.await_digest, report, stream.resumed
                )
        finally:
            self._free.release()
        if stream.taken and stream.digest is not None:
            with self._lock:
                self.taken.add(stream.digest)
                if self._announced:
                    self._done(stream)

    def _done(self, stream: Stream) -> None:
        self._on_event(BlobDone(str(stream.digest), stream.title, stream.size, "copied"))

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._end_all()
        try:
            for stream in self._begun:
                _join(stream)
        except BaseException:  # Ctrl-C while waiting
            self._end_all()
            raise

    def _end_all(self) -> None:
        for stream in self._begun:
            stream.end(_Stopped())

    def announce(self, phase: str, count: int, size: int) -> bool:
        """Tell of the uploads from now on, those that are over first; the hashing must be over.

        Args:
            phase: What the whole upload is called.
            count: Number of all blobs, sent in this way or not.
            size: Their bytes.

        Returns:
            Whether there was anything to tell.
        """
        with self._lock:
            told = [stream for stream in self._begun if stream.taken or stream.running]
            if not told:
                return False
            self._announced = True
            self._on_event(Phase(phase, count=count, size=size))
            for stream in told:
                if stream.digest in self.taken:
                    self._done(stream)
                else:
                    done = stream.before + stream.sent
                    self._on_event(BlobStarted(str(stream.digest), stream.title, stream.size, done=done))
                    stream.loud = self._on_event
        return True


def _join(stream: Stream) -> None:
    while stream.thread is not None and stream.thread.is_alive():
        stream.thread.join(_LOOK)
