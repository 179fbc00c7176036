"""kill -9 in the middle of a push: what the registry has is not sent again, where it goes on with an upload.

The real command line pushes to real registries through a relay that counts every byte and kills the client at one.
distribution 2.8 throws an upload away whose connection was cut: there, only blobs that are whole are spared.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.registry.http import HttpClient, Network
from installml.registry.repository import Registry
from installml.spec.descriptor import Descriptor
from installml.testing import start
from tests.services.servers import SERVERS
from tests.unsigned import UNSIGNED

pytestmark = pytest.mark.integration

MIB = 1 << 20
SIZE = 20 * MIB + 4321
FILES = {f"weights-{number}.bin": random.Random(number).randbytes(SIZE) for number in range(2)}
SPARE = MIB  # heads of requests, small blobs, the manifest
RESUMES = ("embedded", "distribution3")
ALL = (*RESUMES, "distribution2")


class Wire:
    """A relay in front of a registry.

    Attributes:
        address: Where it listens.
        sent: Bytes that have gone to the registry.
        idle: Set while nobody is connected.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self.sent = 0
        self.idle = threading.Event()
        self._at = float("inf")
        self._then: Callable[[], None] = lambda: None
        self._open = 0
        self._lock = threading.Lock()
        wire = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                wire.entered(1)
                try:
                    with socket.create_connection((host, int(port))) as there:
                        back = threading.Thread(target=copy_all, args=(there, self.request, lambda _: None))
                        back.start()
                        copy_all(self.request, there, wire.count)
                        back.join()
                finally:
                    wire.entered(-1)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Wire:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def after(self, count: int, then: Callable[[], None]) -> None:
        """Call ``then`` once, when ``count`` more bytes have gone."""
        with self._lock:
            self._at, self._then = self.sent + count, then

    def entered(self, change: int) -> None:
        with self._lock:
            self._open += change
            (self.idle.clear if self._open else self.idle.set)()

    def count(self, size: int) -> None:
        with self._lock:
            self.sent += size
            reached = self.sent >= self._at
            if reached:
                self._at = float("inf")
        if reached:
            self._then()


def copy_all(source: socket.socket, target: socket.socket, count: Callable[[int], None]) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(64 << 10):
            target.sendall(block)
            count(len(block))
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Bench:
    """A registry behind a wire, and pushes to it by the command line."""

    def __init__(self, wire: Wire, folder: Path) -> None:
        self.wire = wire
        self.folder = folder
        self.model = folder / "model"
        self.home = folder / "home"
        self.reference = f"{wire.address}/acme/w:1.0.0"

    def command(self, *words: str | Path) -> subprocess.Popen[bytes]:
        environ = {
            **os.environ,
            "INSTALLML_POLICY": UNSIGNED,
            "INSTALLML_HOME": str(self.home),
            "HOME": str(self.folder),
        }
        program = [sys.executable, "-m", "installml", *map(str, words), "--format", "json", "--quiet"]
        return subprocess.Popen(program, env=environ, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def killed(self, count: int, *words: str | Path) -> None:
        """Run a command that is killed when so many bytes have gone; come back when the registry knows."""
        self.wire.idle.clear()
        child = self.command(*words, "--limit-rate", "24MiB", "--jobs", "1")
        self.wire.after(count, child.kill)
        said, complaint = child.communicate(timeout=60)
        assert child.returncode == -9, (said, complaint)
        assert self.wire.idle.wait(60)

    def run(self, *words: str | Path) -> tuple[int, int]:
        """Run a command to its end; return the bytes that went over the wire and those that it told."""
        before = self.wire.sent
        child = self.command(*words)
        out, complaint = child.communicate(timeout=60)
        assert child.returncode == 0, (out, complaint)
        return self.wire.sent - before, json.loads(out).get("moved", 0)

    def whole(self) -> bool:
        """Whether the registry has every file, byte by byte."""
        place = Registry(self.wire.address, HttpClient(Network())).repository("acme/w")
        for data in FILES.values():
            with place.fetch(Descriptor("application/octet-stream", Digest.of(data), len(data))) as stream:
                if b"".join(iter(lambda: stream.read(MIB), b"")) != data:
                    return False
        return bool(place.resolve("1.0.0"))


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        kind = request.param
        if kind == "embedded":
            address = stack.enter_context(start()).address
        else:
            address = stack.enter_context(SERVERS[kind]()).address
        wire = stack.enter_context(Wire(address))
        made = Bench(wire, tmp_path)
        made.model.mkdir()
        (made.model / "installml.yaml").write_text("name: acme/w\nversion: 1.0.0\n")
        for name, data in FILES.items():
            (made.model / name).write_bytes(data)
        yield made


@pytest.mark.parametrize("bench", RESUMES, indirect=True)
def test_a_folder_whose_push_was_killed_sends_the_rest_of_the_file(bench: Bench) -> None:
    bench.killed(SIZE + 12 * MIB, "push", bench.model, "-t", bench.reference)
    wire, told = bench.run("push", bench.model, "-t", bench.reference)
    assert bench.whole()
    assert wire < SIZE - 12 * MIB + SPARE
    assert told <= wire


@pytest.mark.parametrize("bench", RESUMES, indirect=True)
def test_a_file_that_was_cut_off_before_anybody_remembered_its_digest_goes_on(bench: Bench) -> None:
    """What the first process learnt is lost, but for the session: the next streams from where it stands."""
    bench.killed(12 * MIB, "push", bench.model, "-t", bench.reference)
    for path in (bench.home / "state" / "digests").glob("*"):
        path.unlink()
    wire, _ = bench.run("push", bench.model, "-t", bench.reference)
    assert bench.whole()
    assert wire < 2 * SIZE - 12 * MIB + SPARE


@pytest.mark.parametrize("bench", RESUMES, indirect=True)
def test_a_package_of_the_store_goes_on_too(bench: Bench) -> None:
    bench.run("build", bench.model, "-t", bench.reference)
    bench.killed(SIZE + 12 * MIB, "push", bench.reference)
    wire, told = bench.run("push", bench.reference)
    assert bench.whole()
    assert wire < SIZE - 12 * MIB + SPARE
    assert told <= wire


@pytest.mark.parametrize("bench", ALL, indirect=True)
def test_blobs_that_are_whole_are_not_sent_again(bench: Bench) -> None:
    bench.killed(SIZE + 12 * MIB, "push", bench.model, "-t", bench.reference)
    wire, told = bench.run("push", bench.model, "-t", bench.reference)
    assert bench.whole()
    assert wire < SIZE + SPARE
    assert told <= wire


@pytest.mark.parametrize("bench", RESUMES, indirect=True)
def test_nothing_is_remembered_once_all_is_there(bench: Bench) -> None:
    bench.killed(12 * MIB, "push", bench.model, "-t", bench.reference)
    assert list((bench.home / "state" / "uploads").glob("*.url"))
    bench.run("push", bench.model, "-t", bench.reference)
    assert list((bench.home / "state" / "uploads").glob("*.url")) == []
