"""A TCP relay that makes a link slow on purpose: a rate, a rate a connection, a delay, a window, and refusals.

It stands in for ``netem`` where the kernel has none, and counts what passes. Unless it delays, the bytes towards the
client go through a pipe by ``splice`` and never enter this process, so that the relay is not what limits: the table
has its speed without any limit beside the limited ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

BLOCK = 256 * 1024
PIPE = 1 << 20
F_SETPIPE_SZ = 1031
HEAD_LIMIT = 64 * 1024
_REQUEST = re.compile(rb"(?:^|\r\n\r\n)(GET|HEAD|PUT|POST|PATCH|DELETE) [^\s]+ HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
REFUSAL = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Shape:
    """What the relay does to a connection.

    Attributes:
        each: Bytes a second towards the client on one connection; 0 for no limit.
        total: Bytes a second towards the client on all of them, as a function of the seconds since the first byte;
            None for no limit.
        delay: Seconds that every byte towards the client is held, and that the first request of a connection waits:
            the round trip.
        window: Most bytes of one connection that are held at a time: what a sender may send before it hears back.
        busy: Most requests being answered at a time; one more is answered 429. 0 for no limit.
    """

    each: float = 0.0
    total: Callable[[float], float] | None = None
    delay: float = 0.0
    window: int = 64 << 20
    busy: int = 0


class Relay:
    """Listens on a free port and passes everything on to ``target``; a context manager.

    Args:
        target: Host and port.
        shape: What is done to the bytes.
        host: Address to listen on.

    Attributes:
        address: ``host:port``.
        down: Bytes that went to clients.
        requests: Requests that were seen.
        refused: Requests that were answered 429.
        flow: Bytes that went to clients by tenth of a second since the first.
    """

    def __init__(self, target: tuple[str, int], shape: Shape | None = None, host: str = "127.0.0.1") -> None:
        self._target = target
        self._shape = shape or Shape()
        self._listener = socket.create_server((host, 0), backlog=512)
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._began = 0.0
        self._busy = 0
        self._shared = _Pace(self._allowed) if self._shape.total else None
        self.down = self.requests = self.refused = 0
        self.flow: dict[int, int] = {}

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="relay", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        with self._guard:
            for each in self._open:
                _shut(each)

    def reset(self) -> None:
        """Set all counts to nothing; the shape's clock starts again with the next byte."""
        with self._guard:
            self.down = self.requests = self.refused = 0
            self.flow = {}
            self._began = 0.0

    def _allowed(self) -> float:
        assert self._shape.total is not None
        return self._shape.total(time.monotonic() - self._began if self._began else 0.0)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target, 10)
            except OSError:
                return
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._guard:
                self._open |= {client, server}
            state = _Connection(client, server)
            threading.Thread(target=self._up, args=(state,), daemon=True).start()
            threading.Thread(target=self._down, args=(state,), daemon=True).start()

    def _up(self, link: _Connection) -> None:
        """Pass requests on."""
        if self._shape.delay:
            time.sleep(self._shape.delay)  # the handshake
        with contextlib.suppress(OSError), _ending(link.server, socket.SHUT_WR):
            while block := link.client.recv(BLOCK):
                heads = _REQUEST.findall(block)
                with self._guard:
                    self.requests += len(heads)
                if self._shape.busy and heads and not self._admit(link, heads[0]):
                    link.client.sendall(REFUSAL)
                    _shut(link.client)
                    return
                link.server.sendall(block)

    def _admit(self, link: _Connection, method: bytes) -> bool:
        with self._guard:
            if self._busy >= self._shape.busy:
                self.refused += 1
                return False
            self._busy += 1
            link.answers.append(method)
            return True

    def _down(self, link: _Connection) -> None:
        """Pass answers on."""
        own = _Pace(lambda: self._shape.each) if self._shape.each else None
        paces = [pace for pace in (own, self._shared) if pace]
        pass_on = self._held if self._shape.delay or self._shape.busy else self._spliced
        try:
            with contextlib.suppress(OSError), _ending(link.client, socket.SHUT_WR):
                pass_on(link, paces)
        finally:
            with self._guard:
                self._busy -= len(link.answers)
                link.answers.clear()
                self._open -= {link.client, link.server}
            link.server.close()
            _shut(link.client)

    def _spliced(self, link: _Connection, paces: list[_Pace]) -> None:
        with _pipe() as (out, into):
            block = 64 * 1024 if paces else PIPE
            while count := os.splice(link.server.fileno(), into, block):
                for pace in paces:
                    pace.wait(count)
                left = count
                while left:
                    left -= os.splice(out, link.client.fileno(), left)
                self._count(count)

    def _held(self, link: _Connection, paces: list[_Pace]) -> None:
        """Hold each block until it is due; read no more than a window ahead."""
        held = _Held(self._shape.delay, self._shape.window)
        thread = threading.Thread(target=held.fill, args=(link.server,), daemon=True)
        thread.start()
        try:
            for block in held:
                for pace in paces:
                    pace.wait(len(block))
                self._count(len(block))
                finished = link.follow(block) if self._shape.busy else 0
                with self._guard:
                    self._busy -= finished
                link.client.sendall(block)
        finally:
            held.stop()
            _shut(link.server)
            thread.join()

    def _count(self, count: int) -> None:
        now = time.monotonic()
        with self._guard:
            self._began = self._began or now
            tenth = int((now - self._began) * 10)
            self.flow[tenth] = self.flow.get(tenth, 0) + count
            self.down += count


@dataclass(slots=True)
class _Connection:
    client: socket.socket
    server: socket.socket
    answers: deque[bytes] = field(default_factory=deque)
    _head: bytes = b""
    _left: int = 0

    def follow(self, block: bytes) -> int:
        """Follow the answers in what passes; return how many end in ``block``."""
        finished = 0
        while block and self.answers:
            if self._left:
                took = min(self._left, len(block))
                self._left -= took
                block = block[took:]
            else:
                head, found, rest = (self._head + block).partition(b"\r\n\r\n")
                if not found:
                    self._head = head[-HEAD_LIMIT:]
                    return finished
                block, self._head = rest, b""
                self._left = self._length(head)
            if not self._left:
                self.answers.popleft()
                finished += 1
        return finished

    def _length(self, head: bytes) -> int:
        said = _LENGTH.search(head)
        return int(said[1]) if said and self.answers[0] != b"HEAD" else 0


class _Held:
    """Blocks that wait until they are due."""

    def __init__(self, delay: float, window: int) -> None:
        self._delay = delay
        self._window = window
        self._blocks: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._change = threading.Condition()
        self._stopped = False

    def fill(self, server: socket.socket) -> None:
        """Read until the other side ends; runs in a thread of its own."""
        try:
            while block := server.recv(min(BLOCK, self._window)):
                with self._change:
                    self._change.wait_for(lambda: self._size < self._window or self._stopped)
                    if self._stopped:
                        return
                    self._blocks.append((time.monotonic() + self._delay, block))
                    self._size += len(block)
                    self._change.notify_all()
        except OSError:
            pass
        finally:
            with self._change:
                self._blocks.append((0.0, b""))
                self._change.notify_all()

    def stop(self) -> None:
        """Read no more."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._change:
                self._change.wait_for(lambda: bool(self._blocks))
                due, block = self._blocks[0]
            if not block:
                return
            if (early := due - time.monotonic()) > 0:
                time.sleep(early)
            with self._change:
                self._blocks.popleft()
                self._size -= len(block)
                self._change.notify_all()
            yield block


class _Pace:
    """Lets bytes pass at a rate; several threads may share one."""

    BURST = 0.02
    """Seconds of unused rate that may be caught up: how long a sleep may be off."""

    def __init__(self, rate: Callable[[], float]) -> None:
        self._rate = rate
        self._next = 0.0
        self._guard = threading.Lock()

    def wait(self, count: int) -> None:
        """Sleep until ``count`` more bytes may pass."""
        with self._guard:
            now = time.monotonic()
            self._next = max(self._next, now - self.BURST) + count / self._rate()
            early = self._next - now
        if early > 0:
            time.sleep(early)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    import fcntl

    out, into = os.pipe()
    try:
        fcntl.fcntl(into, F_SETPIPE_SZ, PIPE)
        yield out, into
    finally:
        os.close(out)
        os.close(into)


@contextlib.contextmanager
def _ending(other: socket.socket, how: int) -> Iterator[None]:
    """Tell the other side at the end that no more comes."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            other.shutdown(how)


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
