"""A blob of 4 GiB and a byte: no count on its way has 32 bits. The other side only counts."""

from __future__ import annotations

import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest

from installml.digest import Digest
from installml.registry.http import HttpClient, Network
from installml.registry.leftovers import Leftovers
from installml.registry.repository import Registry, Repository
from installml.spec.descriptor import Descriptor
from tests.services.certificates import TLS, issue, make_ca

pytestmark = pytest.mark.integration

SIZE = (4 << 30) + 1
ZEROS = "fbb82f7b353676bb562eb82157fcf0ea42c36492ca13ee56dbf82c08b6802c5c"  # the sha256 of so many
BLOB = Descriptor("application/octet-stream", Digest("sha256", ZEROS), SIZE)


@dataclass
class Sink:
    """A registry that takes everything and keeps nothing.

    Attributes:
        address: Host and port.
        taken: Method, Content-Range and bytes of each body.
        offset: How far an upload is said to be.
    """

    address: str = ""
    taken: list[tuple[str, str, int]] = field(default_factory=list)
    offset: int = 0


@contextmanager
def sink(tls: TLS | None = None) -> Iterator[Sink]:
    """Run one."""
    here = Sink()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    if context and tls:
        context.load_cert_chain(tls.cert, tls.key)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection = context.wrap_socket(self.request, server_side=True) if context else self.request
            buffer, pending = memoryview(bytearray(1 << 20)), b""
            unseen = 0 if context else socket.MSG_TRUNC  # tcp(7): thrown away, not copied
            while True:
                while b"\r\n\r\n" not in pending:
                    block = connection.recv(1 << 16)
                    if not block:
                        return
                    pending += block
                head, _, pending = pending.partition(b"\r\n\r\n")
                method = head.split(b" ", 1)[0].decode()
                length = int((re.search(rb"(?i)content-length: (\d+)", head) or [b"", b"0"])[1])
                span = (re.search(rb"(?i)content-range: (\S+)", head) or [b"", b""])[1].decode()
                got, pending = len(pending[:length]), pending[length:]
                while got < length:
                    got += (count := connection.recv_into(buffer[: length - got], 0, unseen))
                    if not count:
                        return
                if length:
                    here.taken.append((method, span, got))
                status = {"HEAD": 404, "POST": 202, "PATCH": 202, "PUT": 201}.get(method, 204)
                state = "Location: /v2/acme/w/blobs/uploads/1\r\n" + f"Range: 0-{max(0, here.offset - 1)}\r\n"
                length_line = "" if status == 204 else "Content-Length: 0\r\n"
                connection.sendall(f"HTTP/1.1 {status} x\r\n{state}{length_line}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that asks in plain http where https is spoken

    server = Server(("127.0.0.1", 0), Handler)
    here.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def place(here: Sink, tls: TLS | None = None) -> Repository:
    network = Network(ca_file=str(tls.ca)) if tls else Network()
    return Registry(here.address, HttpClient(network)).repository("acme/w")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "blob"
    with path.open("wb") as made:
        made.truncate(SIZE)
    if path.stat().st_blocks:
        pytest.skip("this file system has no sparse files")
    with path.open("rb", buffering=0) as opened:
        yield opened


def test_it_goes_in_one_put_while_it_is_compared_with_its_digest(file: BinaryIO) -> None:
    counts: list[int] = []
    with sink() as here:
        place(here).push_file(BLOB, file, counts.append)
    assert here.taken == [("PUT", "", SIZE)]
    assert sum(counts) == SIZE


def test_it_goes_over_tls(tmp_path: Path, file: BinaryIO) -> None:
    made = issue(make_ca(tmp_path), "127.0.0.1", tmp_path)
    with sink(made) as here:
        place(here, made).push_file(BLOB, file, lambda _: None, proved=True)
    assert here.taken == [("PUT", "", SIZE)]


def test_an_upload_goes_on_beyond_4_gib(tmp_path: Path, file: BinaryIO) -> None:
    with sink() as here:
        here.offset = SIZE - 1
        there = place(here)
        there.resume_from(tmp_path / "state")
        Leftovers(tmp_path / "state").keep(str(there), BLOB.digest, f"http://{here.address}/v2/acme/w/blobs/uploads/1")
        there.push_file(BLOB, file, lambda _: None, proved=True)
    assert here.taken == [("PATCH", f"{SIZE - 1}-{SIZE - 1}", 1)]
