"""A web server of a few lines for one test, and a clock that only moves when somebody sleeps."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from installml.registry.http import HostSettings, HttpClient, Network


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


@dataclass(frozen=True)
class Answer:
    """What to say; ``cut`` hangs up after so many bytes of the body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    hang_up: bool = False


@dataclass
class Site:
    """A running server, what it was asked, and how often somebody connected."""

    address: str
    scheme: str
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.address}"


@contextmanager
def site(answer: Callable[[Asked], Answer], tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Serve on a free port of 127.0.0.1, each request in its thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def setup(self) -> None:
            here.connections += 1
            super().setup()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            here.asked.append(asked)
            said = answer(asked)
            if said.hang_up:
                self.close_connection = True
                return
            self.send_response(said.status)
            headers = {"Content-Length": str(len(said.body)), **said.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body if said.cut is None else said.body[: said.cut])
            if said.cut is not None:
                self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _serve

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients that hang up or distrust the certificate are what some tests are about

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    here = Site(f"127.0.0.1:{server.server_port}", "https" if tls else "http")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Time:
    """A clock that moves only when somebody sleeps on it, or when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def client(
    network: Network | None = None,
    settings: Mapping[str, HostSettings] | None = None,
    time: Time | None = None,
) -> HttpClient:
    """Return a client that never really waits."""
    time = time or Time()
    known = settings or {}
    return HttpClient(
        network or Network(timeout=(5.0, 5.0)),
        lambda host: known.get(host, HostSettings()),
        clock=time,
        sleep=time.sleep,
        random=lambda: 0.5,
    )


def name_everything(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Give every host name of this test one address: foreign names, local sockets."""
    real = socket.getaddrinfo

    def resolve(host: str, *more: Any, **named: Any) -> Any:
        return real(address if str(host).endswith(".example") else host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
