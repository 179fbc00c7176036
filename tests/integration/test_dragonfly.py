"""Many machines install through Dragonfly: a server that answers as `dfdaemon` does stands before the registry.

The daemon itself needs a scheduler, and nothing here can bring that. What it answers is taken from the source of its
client 1.5 (`dragonfly-client/src/proxy`): which registry it means, what goes from machine to machine, status and
headers of whole blobs, parts and failures. `OLD` is how it answered a range before 2026-06-10: 200 with a part.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import io
import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from installml.api.pull import pull
from installml.api.session import Session
from installml.config import load
from installml.reference import Reference
from installml.registry_server.running import run
from installml.testing import RunningRegistry, package_bytes, start
from tests.unsigned import UNSIGNED

NAME = "acme/sentiment"
CURRENT, OLD = 206, 200
PACKAGE = package_bytes({"model.bin": bytes(range(256)) * (40 << 12), "notes.txt": b"small"})
BLOBS = {str(descriptor.digest) for descriptor, _ in PACKAGE.content if descriptor != PACKAGE.descriptor}


@dataclass
class Swarm:
    """What the machines have between them: each blob leaves the registry once."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    guard: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class Daemon:
    """One machine's daemon, as an application."""

    registry: str
    swarm: Swarm
    partial: int = CURRENT
    broken: bool = False
    rule: re.Pattern[str] = re.compile(r"blobs/sha256.*")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await (await self.answer(request))(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        named = request.headers.get("x-dragonfly-registry") or request.query_params.get("ns") or self.registry
        if request.method != "GET" or not self.rule.search(request.url.path):
            return await asyncio.to_thread(self.straight, request, named)
        if self.broken:
            return Response(status_code=500, headers={"X-Dragonfly-Error-Type": "dfdaemon"})
        async with self.swarm.guard:
            if request.url.path not in self.swarm.blobs:
                found = await asyncio.to_thread(self.straight, request, named)
                if found.status_code != 200:
                    return Response(status_code=found.status_code, headers={"X-Dragonfly-Error-Type": "backend"})
                self.swarm.blobs[request.url.path] = bytes(found.body)
        return self.pieces(request)

    def pieces(self, request: Request) -> Response:
        data = self.swarm.blobs[request.url.path]
        headers = {
            "X-Dragonfly-Task-Download-Finished": "true",
            "X-Dragonfly-Task-ID": hashlib.sha256(request.url.path.encode()).hexdigest(),
            "X-Dragonfly-Server-IP": "127.0.0.1",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if asked is None:
            return Response(data, 200, headers, "application/octet-stream")
        first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return Response(data[first : last + 1], self.partial, headers, "application/octet-stream")

    def straight(self, request: Request, registry: str) -> Response:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(registry).netloc, timeout=30)
        kept = {name: request.headers[name] for name in ("accept", "authorization") if name in request.headers}
        connection.request(request.method, request.url.path, headers=kept)
        found = connection.getresponse()
        body = found.read()
        connection.close()
        dropped = {"transfer-encoding", "connection", "date"}
        headers = {name: value for name, value in found.getheaders() if name.lower() not in dropped}
        return Response(body, found.status, headers)


def filled() -> RunningRegistry:
    """Run a registry that has the package."""
    registry = start()
    target = load({}, {"HOME": "/nonexistent"}).session().remote(Reference.parse(f"{registry.address}/{NAME}"))
    for descriptor, data in PACKAGE.content:
        target.push(descriptor, io.BytesIO(data))
    target.tag(PACKAGE.descriptor, "1.0.0")
    registry.requests.clear()
    return registry


def machine(folder: Path, registry: RunningRegistry, daemon: str, told: list[str] | None = None) -> Session:
    """Return the session of a machine that has a daemon."""
    folder.mkdir()
    config = folder / "config.toml"
    config.write_text(f'[registries."{registry.address}"]\nmirrors = ["{daemon}"]\n')
    environ = {"INSTALLML_CONFIG": str(config), "HOME": str(folder)}
    hear = (lambda event: told.append(getattr(event, "message", ""))) if told is not None else (lambda event: None)
    return load({"home": str(folder / "home"), "policy": UNSIGNED}, environ).session(hear)


def whole(session: Session) -> bool:
    """Return whether every blob of the package is in the store, byte for byte."""
    paths = [session.home / "blobs" / digest.replace(":", "/") for digest in BLOBS]
    return all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in paths)


def left(registry: RunningRegistry) -> list[str]:
    """Return the blobs that the registry sent, one entry each time."""
    return [r.path.rpartition("/")[2] for r in registry.requests if r.method == "GET" and "/blobs/" in r.path]


def test_ten_machines_take_each_blob_from_the_registry_once(tmp_path: Path) -> None:
    swarm = Swarm()
    with filled() as registry:
        for number in range(10):
            with run(Daemon(registry.url, swarm)) as daemon:
                here = machine(tmp_path / str(number), registry, daemon.url)
                pull(f"{registry.address}/{NAME}:1.0.0", session=here)
                assert whole(here)
        assert sorted(left(registry)) == sorted(BLOBS)


def test_a_wrong_byte_from_a_peer_is_fetched_from_the_registry(tmp_path: Path) -> None:
    with filled() as registry:
        swarm = Swarm()
        largest = max((layer for layer in PACKAGE.manifest.layers), key=lambda layer: layer.size)
        swarm.blobs[f"/v2/{NAME}/blobs/{largest.digest}"] = bytes(largest.size)
        with run(Daemon(registry.url, swarm)) as daemon:
            here = machine(tmp_path / "machine", registry, daemon.url)
            pull(f"{registry.address}/{NAME}:1.0.0", session=here)
        assert whole(here)
        assert str(largest.digest) in left(registry)


def test_a_daemon_that_answers_a_range_with_200_does_no_harm(tmp_path: Path) -> None:
    with filled() as registry, run(Daemon(registry.url, Swarm(), partial=OLD)) as daemon:
        here = machine(tmp_path / "machine", registry, daemon.url)
        pull(f"{registry.address}/{NAME}:1.0.0", session=here)
        assert whole(here)


def test_a_daemon_that_fails_leaves_the_registry(tmp_path: Path) -> None:
    told: list[str] = []
    with filled() as registry, run(Daemon(registry.url, Swarm(), broken=True)) as daemon:
        here = machine(tmp_path / "machine", registry, daemon.url, told)
        pull(f"{registry.address}/{NAME}:1.0.0", session=here)
        assert whole(here)
        assert sum(daemon.address in message for message in told) == 1
