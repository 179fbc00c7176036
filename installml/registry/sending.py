"""Request bodies on their way out: pieces of files that the kernel sends, and connections that know what to do.

On plain http a piece goes with ``sendfile``: no byte of it enters this process. Elsewhere (TLS, file systems without
it) it is read into one buffer, again and again, and sent from there. Not here: who sends what (``http``, ``uploads``).
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..errors import SourceChanged
from .lines import waits_on

__all__ = ["FileBody", "FilePiece", "sends_files"]

_FIRST_SLICE = 1 << 20
_SMALLEST_SLICE = 64 << 10
_LARGEST_SLICE = 8 << 20
_SLOW, _FAST = 0.5, 0.05  # seconds for one slice: above, slices get smaller, below, larger
_BUFFER = 1 << 20
_PATIENCE = 60.0  # seconds that a server may leave our bytes waiting; urllib3 would give it the time for connecting
_NO_SENDFILE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True)
class FilePiece:
    """Consecutive bytes of an open file.

    Attributes:
        handle: The file's descriptor; its position is neither used nor moved.
        offset: First byte.
        size: Number of bytes.
        name: The file, for people.
    """

    handle: int
    offset: int
    size: int
    name: str = "the file"

    def __len__(self) -> int:
        return self.size


class FileBody:
    """The bytes of a file from ``start`` to ``stop`` as a request body (``http.Blocks``).

    Args:
        file: The file.
        start: First byte.
        stop: Behind the last byte.
        report: Told after each slice up to which offset the file has been sent; what it raises ends the request.
        gate: Called before the last slice goes; what it raises ends the request while the body is incomplete, so that
            no registry can take it for whole.
        clock: Seconds that never go back: slices are cut so that ``report`` hears something every half second.
    """

    def __init__(
        self,
        file: BinaryIO,
        start: int,
        stop: int,
        *,
        report: Callable[[int], None],
        gate: Callable[[], None] | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._file = file
        self._start = start
        self._stop = stop
        self._report = report
        self._gate = gate
        self._clock = clock

    def __len__(self) -> int:
        return self._stop - self._start

    def __iter__(self) -> Iterator[FilePiece]:
        handle, name = self._file.fileno(), str(getattr(self._file, "name", "the file"))
        at, size = self._start, _FIRST_SLICE
        while at < self._stop:
            stop = min(at + size, self._stop)
            if stop == self._stop and self._gate is not None:
                self._gate()
            begun = self._clock()
            yield FilePiece(handle, at, stop - at, name)
            self._report(stop)
            at, size = stop, _next_slice(size, self._clock() - begun)


def _next_slice(size: int, seconds: float) -> int:
    if seconds > _SLOW:
        return max(size // 2, _SMALLEST_SLICE)
    return min(size * 2, _LARGEST_SLICE) if seconds < _FAST else size


class _Answered(BrokenPipeError):
    """The server has answered before it has heard everything. urllib3 reads the answer after a broken pipe."""


def sends_files(manager: Any) -> Any:
    """Return urllib3's pool manager ``manager``, whose connections take file pieces from now on."""
    manager.pool_classes_by_scheme = {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": _connection_class(pool.ConnectionCls)})
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return manager


def _connection_class(base: type[Any]) -> type[Any]:
    import ssl

    class Connection(base):  # type: ignore[misc]
        """Sends pieces of files; stops when the server has answered before it has heard everything."""

        sock: Any
        _cut = False
        _kernel_sends = True

        def send(self, data: Any) -> None:
            if not isinstance(data, FilePiece):
                super().send(data)
                return
            self.sock.settimeout(max(self.sock.gettimeout() or _PATIENCE, _PATIENCE))
            # Only on plain http: what can be read over TLS may be a session ticket, and the kernel cannot encrypt.
            plain = isinstance(self.sock, socket.socket) and not isinstance(self.sock, ssl.SSLSocket)
            try:
                if plain and _readable(self.sock):
                    raise _Answered
                self._kernel_sends = plain and self._kernel_sends and _sendfile(self.sock, data)
            except _Answered:
                self._cut = True
                raise
            if not self._kernel_sends:
                _send_read(self.sock, data)

        def getresponse(self) -> Any:
            with waits_on(self.sock):
                response = super().getresponse()
            if self._cut:  # the rest of the body is owed: no other request may use this connection
                self._cut = False
                ours, self.sock = self.sock, None
                if ours is not None:
                    ours.close()  # the response keeps its own hold on it
            return response

    return Connection


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _sendfile(sock: socket.socket, piece: FilePiece) -> bool:
    """Send ``piece`` by the kernel; return False, with nothing sent, when it cannot.

    Raises:
        _Answered: The server takes no more and has said something.
    """
    at, stop = piece.offset, piece.offset + piece.size
    poll = select.poll()
    poll.register(sock, select.POLLOUT | select.POLLIN)
    timeout = sock.gettimeout()
    while at < stop:
        try:
            sent = os.sendfile(sock.fileno(), piece.handle, at, stop - at)
        except BlockingIOError:
            ready = poll.poll(None if timeout is None else timeout * 1000)
            if not ready:
                raise TimeoutError("timed out") from None
            if ready[0][1] & select.POLLIN:
                raise _Answered from None
        except OSError as error:
            if error.errno in _NO_SENDFILE and at == piece.offset:
                return False
            raise
        else:
            if sent == 0:
                raise SourceChanged(piece.name)  # it has become shorter
            at += sent
    return True


def _send_read(sock: Any, piece: FilePiece) -> None:
    buffer = memoryview(bytearray(min(_BUFFER, piece.size)))
    at, stop = piece.offset, piece.offset + piece.size
    while at < stop:
        count = os.preadv(piece.handle, [buffer[: stop - at]], at)
        if count == 0:
            raise SourceChanged(piece.name)
        sock.sendall(buffer[:count])
        at += count
