"""The registries that transfers are measured against, each on an empty folder, and what is asked of their storage."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services import programs, servers

from .measuring import end_group

START_SECONDS = 30.0
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
_LISTENS = re.compile(r"http://(127\.0\.0\.1:\d+)")
_SPLIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Running:
    """A registry that runs.

    Attributes:
        name: For the table.
        address: ``host:port``.
        storage: Folder of its bytes.
    """

    name: str
    address: str
    storage: Path

    @property
    def target(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.address.rpartition(":")
        return host, int(port)

    def flip(self, digest: str, size: int) -> int:
        """Flip one bit in the middle of a stored blob, in every file that holds it; return how many there were."""
        found = {
            (status.st_dev, status.st_ino): path
            for path in self.storage.rglob("*")
            if path.is_file() and digest in str(path) and (status := path.stat()).st_size == size
        }
        for path in found.values():
            mode = path.stat().st_mode
            path.chmod(0o600)
            with path.open("r+b") as file:
                file.seek(size // 2)
                (old,) = file.read(1)
                file.seek(size // 2)
                file.write(bytes([old ^ 1]))
            path.chmod(mode)
        return len(found)


@contextmanager
def distribution3(folder: Path) -> Iterator[Running]:
    """Run distribution 3; it takes a temporary folder of its own."""
    del folder
    with servers.distribution3() as server:
        assert server.storage is not None
        yield Running(f"distribution {server.version}", server.address, server.storage)


@contextmanager
def ours(folder: Path) -> Iterator[Running]:
    """Run ``installml registry serve`` as users run it."""
    with tempfile.TemporaryDirectory(prefix="installml-registry-", dir=folder) as root:
        log = Path(root, "log")
        command = [sys.executable, "-m", "installml", "registry", "serve", "--root", f"{root}/storage", "--port", "0"]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        try:
            yield Running("installml", _ready(process, log), Path(root, "storage"))
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            end_group(process)


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if said := _LISTENS.search(log.read_text(errors="replace")):
            return said[1]
        time.sleep(0.02)
    raise RuntimeError(f"installml registry serve did not start: {log.read_text(errors='replace')[-600:]}")


REGISTRIES: Mapping[str, Callable[[Path], AbstractContextManager[Running]]] = {
    "distribution3": distribution3,
    "installml": ours,
}


def missing(name: str) -> str:
    """Return why a registry cannot be run here; empty when it can."""
    return programs.why_missing(name) if name in programs.TOOLS and programs.tool(name) is None else ""


def manifest(address: str, repository: str, tag: str) -> dict[str, Any]:
    """Return a manifest as the registry has it; empty when it has none."""
    data = _manifest(address, repository, tag)
    found = json.loads(data) if data else {}
    return found if isinstance(found, dict) else {}


def manifest_size(address: str, repository: str, tag: str) -> int:
    """Return the bytes of a manifest and of the configuration that it names."""
    data = _manifest(address, repository, tag)
    return len(data) + int(json.loads(data)["config"]["size"]) if data else 0


def _manifest(address: str, repository: str, tag: str) -> bytes:
    url = f"http://{address}/v2/{repository}/manifests/{tag}"
    try:
        with _open(urllib.request.Request(url, headers={"Accept": MANIFESTS})) as answer:
            data: bytes = answer.read(8 << 20)
            return data
    except urllib.error.HTTPError as error:
        error.close()
        return b""


def blob_digest(address: str, repository: str, digest: str) -> str:
    """Return the sha256 of what the registry sends for a blob, in hex; empty when it has none."""
    total = hashlib.sha256()
    try:
        with _open(f"http://{address}/v2/{repository}/blobs/sha256:{digest}") as answer:
            while block := answer.read(_SPLIT):
                total.update(block)
    except urllib.error.HTTPError as error:
        error.close()
        return ""
    return total.hexdigest()


def session(address: str, repository: str) -> str:
    """Begin an upload; return the URL to send the bytes to, without the digest."""
    request = urllib.request.Request(f"http://{address}/v2/{repository}/blobs/uploads/", data=b"", method="POST")
    with _open(request) as answer:
        location = answer.headers["Location"]
    return location if location.startswith("http") else f"http://{address}{location}"


def _open(request: urllib.request.Request | str) -> Any:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=600)
