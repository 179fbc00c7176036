"""Blobs on their way up: POST for a session, then one PUT with Content-Length (distribution-spec, "POST then PUT").

That way is the one that every registry takes (docs/registries.md). Chunks (PATCH) are sent only where a limit on
bodies or a cut connection asks for them. Nothing is held in memory but the block that is being sent.

What is proved, and when: the bytes of a file are compared with its digest while they go, and the last of them goes only
when they have proved right, so no registry ever holds a wrong blob that we called by that name. A file that was
compared before and has not been touched since (``proved``) is not hashed again: the registry computes the digest as
well, and if it disagrees the file is hashed after all, to tell whose fault it is.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO
from urllib.parse import quote

from ..digest import CHUNK, Digest, Readable, VerifyingReader
from ..errors import IntegrityError, StoreError
from ..spec.descriptor import Descriptor
from ..store.protocol import Unwanted
from .endpoint import RepositoryEndpoint
from .errors import (
    ConnectionLost,
    Denied,
    DigestRefused,
    NotFoundInRegistry,
    RateLimited,
    Refused,
    RegistryError,
    ServerFailed,
    TimedOut,
    TooLarge,
    TransportError,
    Unauthorized,
    UnexpectedAnswer,
    Unsupported,
)
from .leftovers import Leftovers, Trace, identity
from .proving import Proof
from .sending import FileBody
from .upload_session import PUSH_HINTS, UploadSession, open_session

__all__ = ["PUSH_HINTS", "Uploads"]

_PASSING = (ConnectionLost, TimedOut, DigestRefused, ServerFailed, RateLimited, Unauthorized, NotFoundInRegistry)
"""After these a blob that can be read again is sent again, or from where it was cut off."""

_NOT_TAKEN = (RegistryError, TransportError)

_FOR_GOOD = (TooLarge, Refused, Unsupported, Denied, UnexpectedAnswer, IntegrityError, StoreError, Unwanted)
"""After these an upload is given up; after any other, it may be gone on with some day."""

_ATTEMPTS = 3
"""Times that one blob is begun without getting any further."""

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0  # seconds
_SMALL = 1 << 20  # bytes that are sent from memory, in one block
_CHUNKS = (64 << 20, 16 << 20, 5 << 20, (4 << 20) - 1, 1 << 20)
"""Sizes to try when a registry, or a proxy before it, takes no larger bodies: object stores want 5 MiB at least, GHCR
takes less than 4."""

_WORTH_RESUMING = 16 << 20  # bytes; smaller blobs are sent anew
_ELSEWHERE = {409, 416}  # the registry stands elsewhere in an upload than we thought, or still reads what was sent


class Uploads:
    """The upload side of one repository; shared by threads.

    Attributes:
        leftovers: Where uploads that were cut off are remembered for another process; None forgets them.
    """

    def __init__(self, at: RepositoryEndpoint) -> None:
        self.leftovers: Leftovers | None = None
        self._at = at
        self._sessions: dict[Digest, UploadSession] = {}
        self._spare: list[UploadSession] = []
        self._lock = threading.Lock()
        self._streams = True

    def push(self, descriptor: Descriptor, content: Readable) -> None:
        """Send a blob.

        Raises:
            IntegrityError: ``content`` is not what ``descriptor`` names; the registry got no complete blob.
            RegistryError: The registry does not take it.
        """
        start = _position(content)
        session = self._offered(descriptor.digest) or self.open()
        try:
            self._put(session, descriptor, content)
        except _PASSING as error:
            if start is None:
                raise
            self.pause(error, 1)
            content.seek(start)  # type: ignore[attr-defined]  # _position has tried it
            self._put(open_session(self._at), descriptor, content)

    def _put(self, session: UploadSession, descriptor: Descriptor, content: Readable) -> None:
        try:
            session.put(descriptor.digest, _Body(descriptor, content))
        except BaseException as error:
            self.leave(session, error, self.trace(0))
            raise

    def push_file(
        self,
        descriptor: Descriptor,
        file: BinaryIO,
        report: Callable[[int], None],
        *,
        proved: bool = False,
        already: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Send a blob that lies in a file of its own.

        Args:
            descriptor: The blob.
            file: Holds exactly its bytes, unbuffered.
            report: As ``store.protocol.FilePusher.push_file``.
            proved: The bytes were compared with the digest before, and the file has not been touched since.
            already: As ``store.protocol.FilePusher.push_file``.

        Raises:
            IntegrityError: They are other bytes; the registry got no complete blob.
            RegistryError: The registry does not take it.
        """
        if descriptor.size <= _SMALL:
            self.push(descriptor, _reported(file, descriptor.size, report))
            return
        with Proof(descriptor, file, proved) as proof:
            _FileUpload(self, self._at, descriptor, file, report, proof).run(self._offered(descriptor.digest), already)

    def stream_file(
        self,
        file: BinaryIO,
        size: int,
        digest: Callable[[Callable[[], None]], Digest],
        report: Callable[[int], None],
        already: Callable[[int], None] = lambda _: None,
    ) -> bool:
        """Send a file whose digest is not known yet: one PATCH of its bytes, and the digest when it is known.

        Args:
            file: The file.
            size: Its bytes.
            digest: Returns the digest as soon as the bytes have been hashed, or raises; given what to call meanwhile.
            report: Told of bytes sent; what it raises ends the upload.
            already: As ``push_file``.

        Returns:
            Whether the blob is in the registry. When not (the registry takes no streams, the connection was cut), it
            is to be pushed as any other, and goes on where this attempt ended.

        Raises:
            InstallMLError: What ``digest`` or ``report`` raised. After ``Unwanted`` the upload is given up.
        """
        trace = self.trace(size, identity(file))
        begun = self._streaming(trace, size)
        if begun is None:
            return False
        session, start = begun
        if self.resumable:
            trace.keep(session.url)
        sent = _HighWater(report, start)
        if start:
            already(start)
        try:
            session.patch(file, start, size, sent.reach, ranged=start > 0)
            session.put(digest(sent.look))
        except (*_NOT_TAKEN, OSError) as error:
            return self._cut(session, error, trace, lambda: digest(sent.look))
        except BaseException as error:
            self.leave(session, error, trace)
            raise
        trace.drop()
        return True

    def _streaming(self, trace: Trace, size: int) -> tuple[UploadSession, int] | None:
        """Return a session that takes a stream and where it stands, or None.

        None too for a session of an earlier process that is over: the blob may be there, which its digest will tell.
        """
        if not self._streams:
            return None
        if url := trace.find():
            left = UploadSession(self._at, url, fresh=False)
            offset = left.offset()
            if offset is None or offset > size:
                trace.drop()
                return None
            return left, offset
        try:
            session = self.open()
        except _NOT_TAKEN:  # the push of the blob says why
            return None
        if self._at.registry.quirks.streaming:  # known only after an answer
            return session, 0
        with self._lock:
            self._streams = False
            self._spare.append(session)
        return None

    def _cut(self, session: UploadSession, error: Exception, trace: Trace, digest: Callable[[], Digest]) -> bool:
        """Keep a stream that has failed for the push of the blob, if that can go on with it; return False."""
        told = error.status if isinstance(error, RegistryError) else 0
        if isinstance(error, Refused | Unsupported | TooLarge) and told not in _ELSEWHERE:
            self._streams = self._streams and isinstance(error, DigestRefused)
        elif self.resumable:
            try:
                self._keep_for_later(session, digest())
            except BaseException as other:
                self.leave(session, other, trace)
                raise
            return False
        trace.drop()
        session.cancel()
        return False

    @property
    def resumable(self) -> bool:
        """Whether this registry may go on with an upload after a cut."""
        quirks = self._at.registry.quirks
        return quirks.resume is not False and not quirks.monolithic

    def trace(self, size: int, *blobs: Digest | str) -> Trace:
        """Return what is written down of the upload of a blob; a small one is not worth it."""
        return Trace(self.leftovers if size >= _WORTH_RESUMING else None, str(self._at), *blobs)

    def leave(self, session: UploadSession | None, error: BaseException, trace: Trace) -> None:
        """End an upload that has failed: so that it is gone on with where that may be, so that nothing is left else."""
        if trace.kept and not isinstance(error, _FOR_GOOD):
            return
        trace.drop()
        if session is not None and not isinstance(error, TimedOut):
            session.cancel()

    def open(self) -> UploadSession:
        """Return a session with nothing in it."""
        with self._lock:
            if self._spare:
                return self._spare.pop()
        return open_session(self._at)

    def _keep_for_later(self, session: UploadSession, digest: Digest) -> None:
        with self._lock:
            self._sessions[digest] = session

    def _offered(self, digest: Digest) -> UploadSession | None:
        with self._lock:
            return self._sessions.pop(digest, None)

    def mount(self, descriptor: Descriptor, origin_name: str) -> bool:
        """Ask for a blob of another repository; keep the session that may be offered instead.

        A registry that will not mount is no failure: the blob is then sent as any other.
        """
        path = f"blobs/uploads/?mount={quote(str(descriptor.digest))}&from={quote(origin_name, safe='')}"
        try:
            with self._at.send("POST", path, "pull", "push", origin_name=origin_name, body=b"") as response:
                response.drain()
                if response.status == 202:
                    self._keep_for_later(UploadSession.begun(self._at, response), descriptor.digest)
                return response.status == 201
        except (RegistryError, TransportError):
            return False

    def arrived(self, descriptor: Descriptor) -> bool:
        """Return whether the registry has the blob, when it did not say so at the end of the upload."""
        try:
            with self._at.send("HEAD", f"blobs/{descriptor.digest}", "pull", follow=False) as response:
                return response.status in {200, 307, 302}
        except (RegistryError, TransportError):
            return False

    def pause(self, error: Exception, attempt: int) -> None:
        """Wait as long as the registry asks for, or a little longer at each attempt."""
        client = self._at.registry.client
        own = _FIRST_WAIT * 2 ** (attempt - 1) * (0.5 + client.random())
        client.sleep(min(max(own, getattr(error, "retry_after", None) or 0.0), _LONGEST_WAIT))


class _FileUpload:
    """One blob on its way from a file, through as many sessions and requests as it takes."""

    def __init__(
        self,
        uploads: Uploads,
        at: RepositoryEndpoint,
        descriptor: Descriptor,
        file: BinaryIO,
        report: Callable[[int], None],
        proof: Proof,
    ) -> None:
        self._uploads = uploads
        self._at = at
        self._descriptor = descriptor
        self._file = file
        self._sent = _HighWater(report)
        self._proof = proof
        self._trace = uploads.trace(descriptor.size, descriptor.digest, identity(file))
        self._chunk = 0  # most bytes of one body; 0: no limit is known
        self._start = 0
        self._session: UploadSession | None = None

    def run(self, session: UploadSession | None, already: Callable[[int], None]) -> None:
        """Send it; ``session`` is one that was offered, or left by an earlier attempt."""
        self._session = self._left_over(session)
        if self._start:
            already(self._start)
        try:
            self._deliver()
        except BaseException as error:
            self._uploads.leave(self._session, error, self._trace)
            raise
        self._trace.drop()

    def _deliver(self) -> None:
        tries = _ATTEMPTS
        while True:
            self._session = session = self._session or self._uploads.open()
            begun = self._start
            try:
                self._send(session)
            except TooLarge as error:
                self._smaller(session, error)
                self._session, self._start = None, 0
            except (*_PASSING, Refused) as error:
                if self._sent.top == self._descriptor.size and self._uploads.arrived(self._descriptor):
                    return
                self._session = self._next(session, error)
                tries = _ATTEMPTS if self._start > begun else tries - 1
                if tries == 0:
                    raise
                self._uploads.pause(error, 1 + _ATTEMPTS - tries)
            else:
                return

    def _send(self, session: UploadSession) -> None:
        size, digest = self._descriptor.size, self._descriptor.digest
        self._remember(session)
        if self._start == 0 and not self._chunk:
            clock = self._at.registry.client.clock
            report, gate = self._sent.reach, lambda: self._proof.wait(self._sent.look)
            session.put(digest, FileBody(self._file, 0, size, report=report, gate=gate, clock=clock))
            return
        most = max(self._chunk or self._at.registry.quirks.chunk_max or size, session.least)
        while self._start < size:
            stop = min(self._start + most, size)
            self._start = session.patch(self._file, self._start, stop, self._sent.reach, ranged=True)
            self._remember(session)
        self._proof.wait(self._sent.look)
        session.put(digest)

    def _next(self, session: UploadSession, error: Exception) -> UploadSession | None:
        """Return the session to go on with, and see to it that ``_start`` is where it stands; None for a fresh one.

        Raises:
            RegistryError: ``error`` again, when nothing can be mended by sending.
            DigestMismatch: The registry computed another digest, and it is right.
        """
        if isinstance(error, DigestRefused):
            self._proof.insist()
            self._proof.wait(self._sent.look)
        elif isinstance(error, Refused) and error.status not in _ELSEWHERE:
            raise error
        elif (offset := self._offset(session) or 0) > 0:
            self._start = offset
            return session
        session.cancel()
        self._start = 0
        return None

    def _offset(self, session: UploadSession) -> int | None:
        """Return how far a session is, None when it cannot be gone on with."""
        offset = session.offset() if self._uploads.resumable else None
        return offset if offset is not None and offset <= self._descriptor.size else None

    def _smaller(self, session: UploadSession, error: TooLarge) -> None:
        """Choose a smaller size of chunks than the one that was just too large."""
        session.cancel()
        quirks = self._at.registry.quirks
        cap = min(filter(None, (quirks.chunk_max, self._descriptor.size - 1)))
        cap = min(cap, self._chunk - 1) if self._chunk else cap
        fitting = [size for size in (quirks.chunk_max, *_CHUNKS) if 0 < size <= cap]
        if not fitting or quirks.monolithic or max(fitting) < max(quirks.chunk_min, session.least):
            raise  # the refusal that is being handled
        self._chunk = max(fitting)

    def _left_over(self, session: UploadSession | None) -> UploadSession | None:
        """Return a session that stands somewhere, with ``_start`` there; or a fresh one that was offered; or None."""
        if session is None and (url := self._trace.find()):
            session = UploadSession(self._at, url, fresh=False)
        if session is None or session.fresh:
            return session
        offset = session.offset()
        if offset is None or offset > self._descriptor.size:
            self._trace.drop()
            return None
        self._start = self._sent.top = offset
        return session

    def _remember(self, session: UploadSession) -> None:
        if self._uploads.resumable:
            self._trace.keep(session.url)


class _HighWater:
    """Turns offsets, which may go back when a part is sent again, into counts of new bytes."""

    def __init__(self, report: Callable[[int], None], top: int = 0) -> None:
        self._report = report
        self.top = top

    def reach(self, offset: int) -> None:
        """Take note that the bytes up to ``offset`` have been sent."""
        new = max(0, offset - self.top)
        self.top += new
        self._report(new)

    def look(self) -> None:
        """Give the listener the occasion to end the upload."""
        self._report(0)


class _Body:
    """Exactly the named bytes, in blocks; the last one is held back until all of them have proved right."""

    def __init__(self, descriptor: Descriptor, content: Readable) -> None:
        self._size = descriptor.size
        self._reader = VerifyingReader.over(content, descriptor.digest, descriptor.size, "the source")

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        held = b""
        while block := self._reader.read(CHUNK):
            if held:
                yield held
            held = block
        if held:
            yield held


def _reported(file: BinaryIO, size: int, report: Callable[[int], None]) -> io.BytesIO:
    """Return a small file's bytes, and one more if there are more, so that it is seen."""
    file.seek(0)
    data = file.read(size + 1)
    report(min(len(data), size))
    return io.BytesIO(data)


def _position(content: Readable) -> int | None:
    """Return where a stream stands, if it can be brought back there."""
    tell, seek = getattr(content, "tell", None), getattr(content, "seek", None)
    if tell is None or seek is None:
        return None
    try:
        position = int(tell())
        seek(position)
    except OSError:
        return None
    return position
