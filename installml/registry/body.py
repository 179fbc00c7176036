"""The body of an answer, straight from the socket into the reader's buffer, and cut off from any thread.

``urllib3`` hands out copies: ``readinto`` there is ``read`` and a ``memcpy``. Reading 1 GiB from loopback took 0.6 s of
processor time with it and 0.44 s with what is here (medians of ten, in turn), so the plain case (a body of known
length, or one that ends with the connection) is read here from the buffered socket below ``http.client``, and chunked
bodies by ``http.client`` itself. Nothing is ever decoded. The connection goes back to its pool when the body was read
exactly to its end, and is closed otherwise.
"""

from __future__ import annotations

import http.client
import io
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .errors import TransportError
from .lines import shut_down

__all__ = ["Body"]

_LINGER = 0.25  # seconds that a read goes on collecting when bytes come slowly


class Body:
    """Bytes on their way; one thread reads, any thread may ``abort``.

    Args:
        raw: ``urllib3``'s response, nothing read of it yet.
        lower: Our error for one of the lower libraries' or the system's.
        clock: Monotonic seconds.
    """

    def __init__(self, raw: Any, lower: Callable[[BaseException], TransportError], clock: Callable[[], float]) -> None:
        self._raw = raw
        self._lower = lower
        self._clock = clock
        self._answer: Any = raw._fp
        self._guard = threading.Lock()
        self._failure: BaseException | None = None
        self._aborted = False
        stream = getattr(self._answer, "fp", None)
        plain = isinstance(self._answer, http.client.HTTPResponse) and not self._answer.chunked
        self._stream = stream if plain and isinstance(stream, io.BufferedReader) else None
        self._socket: Any = getattr(getattr(stream, "raw", None), "_sock", None)
        self._ahead: int = getattr(self._answer, "ahead", 0)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its front; return how many bytes came, 0 only at the end of the body.

        It returns early, with what is there, when bytes come slowly: progress and limits need to see them.

        Raises:
            ConnectionLost: The body ended before its announced length.
            TimedOut: Nothing came for too long.
        """
        if self._failure is not None:
            raise self._lowered(self._failure)
        try:
            count = self._other(buffer) if self._stream is None else self._collect(self._stream, buffer)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._lowered(error) from None
        if self._answer.isclosed():
            self._finish()
        return count

    def _collect(self, stream: io.BufferedReader, buffer: memoryview) -> int:
        """Read from the socket's own buffer, then from the socket; what came before a failure is handed out first."""
        left: int | None = self._answer.length
        wanted = len(buffer) if left is None else min(len(buffer), left)
        filled, until = 0, self._clock() + _LINGER
        try:
            while filled < wanted:
                # readinto1: one read of the socket, straight into the buffer once what came with the head is used up;
                # that is taken by itself, because a failure of the read behind it would lose it
                stop = min(wanted, filled + self._ahead) if self._ahead else wanted
                count = stream.readinto1(buffer[filled:stop])
                self._ahead = max(0, self._ahead - count)
                if not count:
                    self._ended(left)
                    break
                filled += count
                if left is not None:
                    self._answer.length = left = left - count
                if self._clock() >= until:
                    break
        except (OSError, ValueError) as error:
            if not filled:
                raise
            self._failure = error
        if left == 0:
            self._answer.close()
        return filled

    def _ended(self, left: int | None) -> None:
        """The other side has closed: the end of a body without a length, too early for one with."""
        if left or self._aborted:
            raise ConnectionResetError
        self._answer.close()

    def _other(self, buffer: memoryview) -> int:
        """Read a chunked body; the bytes before a break are in the buffer already."""
        try:
            count: int = self._answer.readinto(buffer)
        except http.client.IncompleteRead as error:
            if not error.partial:
                raise
            self._failure = error
            return len(error.partial)
        return count

    def _lowered(self, error: BaseException) -> TransportError:
        if self._aborted or isinstance(error, (ValueError, http.client.HTTPException)):
            error = ConnectionResetError()  # a ValueError means: closed under our hands
        return self._lower(error)

    def _finish(self) -> None:
        """Give the connection back for the next request; from here on it is not ours to cut."""
        with self._guard:
            self._socket = None
            if not self._aborted:
                self._raw.release_conn()

    def abort(self) -> None:
        """Cut the connection, from any thread: a read that waits ends with ConnectionLost. Harmless when repeated."""
        with self._guard:
            self._aborted = True
            if self._socket is None:
                return
            with suppress(OSError):
                shut_down(self._socket)

    def leave(self) -> None:
        """The reader is done: from here on the connection is not ours to cut."""
        with self._guard:
            self._socket = None
