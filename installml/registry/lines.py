"""Requests that another thread can end before their answer begins.

A body on its way is cut by its span (``body``). Before that there is nothing to hold: the thread that asked sits in a
read of its socket until the head of the answer comes, or the timeout. So whoever may have to be stopped asks with a
line in hand: the connection on which its thread waits hangs itself in there, and ``cut`` shuts it down.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

__all__ = ["Line", "is_cut", "is_unwanted", "shut_down", "waits_on"]


class Line:
    """What one thread asks, as far as another may end it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._socket: Any = None
        self._cut = self._late = False

    @property
    def cut_off(self) -> bool:
        """Whether it was cut: nothing more is asked on it."""
        return self._cut

    @property
    def unwanted(self) -> bool:
        """Whether it was cut for no fault of whoever should have answered."""
        return self._cut and not self._late

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let everything that this thread asks within the block be on this line."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def cut(self, *, late: bool = False) -> None:
        """End the wait for an answer's head, from any thread, and ask nothing more. Harmless when repeated.

        Args:
            late: Because the answer is late, not because nobody wants it any more.
        """
        with self._guard:
            self._late = self._late or (late and not self._cut)
            self._cut = True
            if self._socket is not None:
                with suppress(OSError):
                    shut_down(self._socket)

    def hang(self, sock: Any) -> None:
        """Hold on to the connection that is waited for, or to none.

        Raises:
            ConnectionResetError: The line was cut before.
        """
        with self._guard:
            self._socket = sock
            if self._cut and sock is not None:
                raise ConnectionResetError


_current: ContextVar[Line | None] = ContextVar("line", default=None)


def is_cut() -> bool:
    """Return whether this thread should ask nothing more."""
    line = _current.get()
    return line is not None and line.cut_off


def is_unwanted() -> bool:
    """Return whether what this thread asked for was given up for no fault of whoever was asked."""
    line = _current.get()
    return line is not None and line.unwanted


@contextmanager
def waits_on(sock: Any) -> Iterator[None]:
    """Let the wait for an answer on ``sock`` be ended, if this thread has a line.

    Raises:
        ConnectionResetError: It was ended before.
    """
    line = _current.get()
    if line is None:
        yield
        return
    try:
        line.hang(sock)
        yield
    finally:
        line.hang(None)


def shut_down(sock: Any) -> None:
    """Shut both directions down, which wakes whoever waits; closing the descriptor would not."""
    if isinstance(sock, socket.socket):
        # Not SSLSocket.shutdown, which drops the TLS state first: the reader would then take ciphertext for content.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    else:  # urllib3's TLS within TLS
        sock.socket.shutdown(socket.SHUT_RDWR)
