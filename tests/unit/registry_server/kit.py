"""What these tests share: waiting for a fact, a raw connection, and a registry in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.contract.registry_protocol.place import Wire

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 60.0

_PROGRAM = """
import sys
from pathlib import Path
from installml.registry_server import serve
serve(Path(sys.argv[1]), port=0, on_ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


def until(fact: Callable[[], object]) -> None:
    """Wait for a fact that another thread or process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError("it never came about")
        time.sleep(0.01)


@dataclass
class Process:
    """A registry in a process of its own."""

    popen: subprocess.Popen[str]
    wire: Wire

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def terminate(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    def connect(self) -> socket.socket:
        return connect(self.wire.url)


@contextlib.contextmanager
def process(root: Path) -> Iterator[Process]:
    """Run ``serve`` on ``root`` until the block ends."""
    command = [sys.executable, "-c", _PROGRAM, str(root)]
    popen = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}
    )
    try:
        assert popen.stdout is not None
        url = popen.stdout.readline().strip()
        assert url.startswith("http://"), "the registry did not start"
        yield Process(popen, Wire(url))
    finally:
        popen.kill()
        popen.wait()
        if popen.stdout is not None:
            popen.stdout.close()


def connect(url: str) -> socket.socket:
    host, _, port = url.rpartition("/")[2].partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def head(method: str, path: str, length: int, *more: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: registry", f"Content-Length: {length}", *more, "", ""]
    return "\r\n".join(lines).encode()
