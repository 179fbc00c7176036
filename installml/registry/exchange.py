"""One request and the head of its answer, on a kept connection of urllib3's pools.

urllib3 makes the connections (addresses, TLS, trust) and keeps them; what it, ``requests`` and ``http.client`` do for
each request beyond that (preparing, copying and checking headers, encoding again what is encoded, retries that are
counted and never made) costs several times what the exchange itself does, and is left out here. Requests that go by a
proxy still take the long way (``http``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .heads import Answer, Fields
from .lines import waits_on
from .sending import FilePiece

__all__ = ["Received", "exchange"]

_JOINED = 256 << 10  # bytes of a block that goes in one write with the head before it
_NAME = re.compile(r"[A-Za-z0-9-]+")
_VALUE = re.compile(r"[^\r\n\0]*")


class Received:
    """An answer of which the head has been read: what ``http.Response`` uses of urllib3's, and no more.

    Args:
        pool: Where the connection goes when the body has been read to its end.
        connection: It; closed already if it serves no other request.
        answer: What came on it.

    Attributes:
        status: Of the answer.
        headers: Its fields.
    """

    def __init__(self, pool: Any, connection: Any, answer: Answer) -> None:
        self.status = answer.status
        self.headers: Fields = answer.fields
        self._fp = answer  # the name that urllib3 gives it
        self._pool = pool
        self._connection = connection
        self._told = 0

    @property
    def length_remaining(self) -> int | None:
        """Bytes of the body that are still to be read; None when only its end will tell."""
        return self._fp.length

    def tell(self) -> int:
        """Return how many bytes of the body were read."""
        return self._told

    def read(self, size: int | None = None, *, decode_content: bool = False) -> bytes:
        """Return at most ``size`` bytes of the body as they came; empty at the end.

        Raises:
            OSError, HTTPException: The connection failed, or ended too early.
        """
        del decode_content  # nothing is ever decoded
        try:
            block = self._fp.read() if size is None else self._fp.read(size)
            if size and not block and self._fp.length:
                raise ConnectionResetError("the body ended too early")
        except BaseException:
            self.close()
            raise
        self._told += len(block)
        if self._fp.isclosed():
            self.release_conn()
        return block

    def close(self) -> None:
        """Close the connection, unless it was given back."""
        self._fp.close()
        if self._connection is not None:
            self._connection.close()

    def release_conn(self) -> None:
        """Give the connection back, open or closed; whoever does so has read all or called ``close``."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool._put_conn(connection)


def exchange(
    pool: Any,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | Iterable[bytes | FilePiece] | None,
    timeout: tuple[float, float],
) -> Received:
    """Send one request and read the head of its answer.

    Args:
        pool: One of urllib3's, its connections made by ``sending.sends_files``.
        method: HTTP method.
        target: Path and query, encoded.
        headers: All that are sent, ``Host`` and ``Content-Length`` included.
        body: As many bytes as ``Content-Length`` says, or None.
        timeout: Seconds for making a connection, and between two packets.

    Raises:
        ValueError: A header cannot be sent.
        OSError, HTTPException, urllib3.exceptions.HTTPError: There was no answer.
    """
    head = _head(method, target, headers)
    connection = pool._get_conn()
    try:
        if connection.sock is None:
            connection.timeout = timeout[0]
            connection.connect()
        if connection.sock.gettimeout() != timeout[1]:
            connection.sock.settimeout(timeout[1])
        whole = True
        try:
            _send(connection, head, body)
        except BrokenPipeError:  # it has said what it has to say before it has heard everything
            whole = False
        answer = _answer(connection, method, timeout[1])
        if answer.will_close or not whole:
            connection.close()  # the answer keeps its own hold on the socket
    except BaseException:
        connection.close()
        pool._put_conn(None)
        raise
    return Received(pool, connection, answer)


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            raise ValueError(f"the header {name!r} cannot be sent")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _send(connection: Any, head: bytes, body: bytes | Iterable[bytes | FilePiece] | None) -> None:
    """Send everything; a first block that is small goes with the head, which spares the server a wakening."""
    waiting = head
    for block in (body,) if isinstance(body, bytes) else body or ():
        if waiting and isinstance(block, bytes) and len(block) <= _JOINED:
            connection.sock.sendall(waiting + block)
        else:
            if waiting:
                connection.sock.sendall(waiting)
            connection.send(block)
        waiting = b""
    if waiting:
        connection.sock.sendall(waiting)


def _answer(connection: Any, method: str, patience: float) -> Answer:
    sock = connection.sock
    if sock.gettimeout() != patience:  # sending a file may have taken more
        sock.settimeout(patience)
    with waits_on(sock):
        answer = Answer(sock, method=method)
        try:
            answer.begin()
        except BaseException:
            answer.close()
            raise
    return answer
