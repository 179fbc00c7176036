"""Real proxies, written out: HTTP (forwarding and CONNECT, with or without TLS) and SOCKS5, each in threads.

Every name is reached at one address that the test gives, so that a registry with a foreign name can live on loopback.
Here is what they were asked and whether credentials came along; nothing else of the credentials is kept.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HOST = "127.0.0.1"
_READ = 64 << 10


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        address: Host and port.
        asked: What it was asked for: ``CONNECT name:port``, ``GET http://name/...``, ``name name:port`` or
            ``address 127.0.0.1:port`` for SOCKS.
        refused: How many were turned away for want of the right credentials.
    """

    address: str
    asked: list[str] = field(default_factory=list)
    refused: int = 0


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(_READ):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _tunnel(here: socket.socket, there: socket.socket) -> None:
    back = threading.Thread(target=_copy, args=(there, here), daemon=True)
    back.start()
    _copy(here, there)
    back.join()


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler], tls: ssl.SSLContext | None) -> Iterator[str]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients that hang up are what some tests are about

    server = Server((HOST, 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def http_proxy(
    target: tuple[str, int], *, login: tuple[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Proxy]:
    """Run an HTTP proxy that reaches every name at ``target``.

    Args:
        target: Address and port.
        login: Name and password that it wants (RFC 7617).
        tls: How it is spoken to by https itself.
    """
    expected = "Basic " + base64.b64encode(":".join(login).encode()).decode() if login else ""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            stream = self.request.makefile("rb", buffering=0)  # what follows the head must stay in the socket
            while line := stream.readline():
                method, url, _ = line.decode("latin-1").split(" ", 2)
                headers = list(iter(lambda: stream.readline(), b"\r\n"))
                given = next((h.split(b":", 1)[1].strip().decode() for h in headers if _is(h, b"proxy-auth")), "")
                if expected and given != expected:
                    proxy.refused += 1
                    self.request.sendall(
                        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=p\r\n"
                        b"Content-Length: 0\r\n\r\n"
                    )
                    return
                proxy.asked.append(f"{method} {url}")
                with socket.create_connection(target) as there:
                    if method == "CONNECT":
                        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    else:
                        path = "/" + url.split("/", 3)[3]
                        kept = b"".join(h for h in headers if not _is(h, b"proxy-") and not _is(h, b"connection"))
                        there.sendall(f"{method} {path} HTTP/1.1\r\n".encode() + kept + b"Connection: close\r\n\r\n")
                    _tunnel(self.request, there)
                    return

    with _serving(Handler, tls) as address:
        proxy = Proxy(address)
        yield proxy


def _is(header: bytes, name: bytes) -> bool:
    return header.lower().startswith(name)


@contextmanager
def socks_proxy(target: tuple[str, int], *, login: tuple[str, str] | None = None) -> Iterator[Proxy]:
    """Run a SOCKS5 proxy (RFC 1928, RFC 1929) that reaches everything at ``target``.

    Args:
        target: Address and port.
        login: Name and password that it wants.
    """

    class Handler(socketserver.BaseRequestHandler):
        def _take(self, size: int) -> bytes:
            data = b""
            while len(data) < size and (block := self.request.recv(size - len(data))):
                data += block
            if len(data) < size:
                raise ConnectionError
            return data

        def _let_in(self) -> bool:
            _, count = self._take(2)
            offered = self._take(count)
            wanted = 2 if login else 0
            if wanted not in offered:
                proxy.refused += 1
                self.request.sendall(b"\x05\xff")
                return False
            self.request.sendall(bytes([5, wanted]))
            if login is None:
                return True
            _, length = self._take(2)
            name = self._take(length).decode()
            password = self._take(self._take(1)[0]).decode()
            right = (name, password) == login
            proxy.refused += not right  # before anybody can know
            self.request.sendall(bytes([1, 0 if right else 1]))
            return right

        def handle(self) -> None:
            if not self._let_in():
                return
            _, _, _, kind = self._take(4)
            named = kind == 3
            size = self._take(1)[0] if named else 4 if kind == 1 else 16
            host = self._take(size)
            (port,) = struct.unpack(">H", self._take(2))
            shown = host.decode() if named else socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, host)
            proxy.asked.append(f"{'name' if named else 'address'} {shown}:{port}")
            with socket.create_connection(target) as there:
                self.request.sendall(b"\x05\x00\x00\x01" + socket.inet_aton(HOST) + struct.pack(">H", port))
                _tunnel(self.request, there)

    with _serving(Handler, None) as address:
        proxy = Proxy(address)
        yield proxy
