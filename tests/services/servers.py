"""Real registries of other people, started for one test on a free port of 127.0.0.1.

Here: configuration, start, readiness and stop of distribution 2 and 3, go-containerregistry's registry and zot.
Not here: bringing the programs (`provision.py`) and our own registry (`installml.testing`).

Each starts on an empty store in a temporary folder and leaves nothing. zot is served by no package source that
`provision.py` may use: it runs where it is found on PATH.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.services.certificates import TLS
from tests.services.programs import need, version
from tests.services.tokens import TokenAuth

HOST = "127.0.0.1"
START_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
LOG_TAIL = 4000

_COMBINED = re.compile(r'"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/[\d.]+" (?P<status>\d{3}) ')
_REQUEST_LINES: Mapping[str, re.Pattern[str]] = {
    "distribution2": _COMBINED,
    "distribution3": _COMBINED,
    # go-containerregistry names the status of failures only
    "ggcr": re.compile(r"^[\d/]+ [\d:]+ (?P<method>[A-Z]+) (?P<target>/\S*)(?: (?P<status>\d{3}) )?"),
    "zot": re.compile(r'"method":"(?P<method>[A-Z]+)","path":"(?P<target>[^"]+)","statusCode":(?P<status>\d+)'),
}
_DISTRIBUTION_LISTENS = re.compile(r"listening on \S*?:(\d+)")
_GGCR_LISTENS = re.compile(r"serving on port (\d+)")


@dataclass(frozen=True, slots=True)
class Logged:
    """One request as the server's own log tells it; the status is None where that log leaves it out."""

    method: str
    target: str
    status: int | None


@dataclass(frozen=True, slots=True)
class Server:
    """A running registry."""

    kind: str
    version: str
    host: str
    port: int
    scheme: str
    ca: Path | None
    log: Path
    pid: int
    storage: Path | None
    _quiet_until: int = field(default=0, repr=False)

    @property
    def name(self) -> str:
        """The name for a table of results."""
        return f"{self.kind} {self.version}"

    @property
    def address(self) -> str:
        """The registry part of a reference, `127.0.0.1:PORT`."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The root of the HTTP interface, without a slash at the end."""
        return f"{self.scheme}://{self.address}"

    def requests(self) -> tuple[Logged, ...]:
        """Return the requests in the log since the server was ready, oldest first."""
        pattern = _REQUEST_LINES[self.kind]
        lines = self.log.read_bytes()[self._quiet_until :].decode(errors="replace").splitlines()
        found = (pattern.search(line) for line in lines)
        return tuple(
            Logged(hit["method"], hit["target"], int(hit["status"]) if hit["status"] else None) for hit in found if hit
        )


class StartFailed(RuntimeError):
    """A registry ended or stayed silent instead of answering; the message has the end of its log."""


class Starter(Protocol):
    """What `distribution2`, `distribution3` and `zot` are."""

    def __call__(
        self, *, tls: TLS | None = None, auth: TokenAuth | None = None, htpasswd: Path | None = None
    ) -> AbstractContextManager[Server]:
        """Start a registry for the time of a `with` block."""


@contextmanager
def distribution2(
    *, tls: TLS | None = None, auth: TokenAuth | None = None, htpasswd: Path | None = None
) -> Iterator[Server]:
    """Run distribution 2.8: no referrers API, the tag fallback, wrong 416."""
    program = need("distribution2")
    with _distribution("distribution2", [str(program), "serve"], tls, auth, htpasswd) as server:
        yield server


@contextmanager
def distribution3(
    *, tls: TLS | None = None, auth: TokenAuth | None = None, htpasswd: Path | None = None
) -> Iterator[Server]:
    """Run distribution 3: still no referrers API."""
    program = need("distribution3")
    with _distribution("distribution3", [str(program), "serve"], tls, auth, htpasswd) as server:
        yield server


@contextmanager
def ggcr() -> Iterator[Server]:
    """Run go-containerregistry's registry, which `crane` carries: manifests in memory, no TLS, no authentication.

    The module's own `cmd/registry` is the same handler, but puts a `Warning` header on one answer in a hundred.
    """
    program = need("crane")
    with tempfile.TemporaryDirectory(prefix="installml-ggcr-") as folder:
        storage = Path(folder, "storage")
        storage.mkdir()
        command = [str(program), "registry", "serve", "--address", f"{HOST}:0", "--disk", str(storage)]
        plan = _Plan("ggcr", version("crane"), command, Path(folder), _GGCR_LISTENS, storage=storage)
        with _running(plan) as server:
            yield server


@contextmanager
def zot(*, tls: TLS | None = None, auth: TokenAuth | None = None, htpasswd: Path | None = None) -> Iterator[Server]:
    """Run zot from PATH: native referrers; one blob is stored once for all repositories."""
    program = need("zot")
    with tempfile.TemporaryDirectory(prefix="installml-zot-") as folder:
        port, storage = free_port(), Path(folder, "storage")
        http: dict[str, Any] = {"address": HOST, "port": str(port), "auth": {}}
        if tls is not None:
            http["tls"] = {"cert": str(tls.cert), "key": str(tls.key)}
        if auth is not None:
            bearer = {"realm": auth.realm, "service": auth.service, "cert": str(auth.root_certificate)}
            http["auth"]["bearer"] = bearer
        if htpasswd is not None:
            http["auth"]["htpasswd"] = {"path": str(htpasswd)}
        config = _config(
            folder,
            {
                "distSpecVersion": "1.1.0",
                "storage": {"rootDirectory": str(storage), "dedupe": True, "gc": False},
                "http": http,
                "log": {"level": "info"},
            },
        )
        command = [str(program), "serve", str(config)]
        plan = _Plan("zot", version("zot"), command, Path(folder), port, tls, storage, _host(auth))
        with _running(plan) as server:
            yield server


SERVERS: Mapping[str, Callable[[], AbstractContextManager[Server]]] = {
    "distribution2": distribution2,
    "distribution3": distribution3,
    "ggcr": ggcr,
    "zot": zot,
}
"""Every registry, started without TLS and without authentication."""

GUARDED: Mapping[str, Starter] = {"distribution2": distribution2, "distribution3": distribution3, "zot": zot}
"""The registries that can do TLS and authentication."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to run, and how to learn its port: from a line of its log, or known before."""

    kind: str
    version: str
    command: list[str]
    folder: Path
    port: re.Pattern[str] | int
    tls: TLS | None = None
    storage: Path | None = None
    host: str = HOST

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"


@contextmanager
def _distribution(
    kind: str, command: list[str], tls: TLS | None, auth: TokenAuth | None, htpasswd: Path | None
) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix=f"installml-{kind}-") as folder:
        storage = Path(folder, "storage")
        http: dict[str, Any] = {"addr": f"{HOST}:0", "secret": "of no use after the test"}
        if tls is not None:
            http["tls"] = {"certificate": str(tls.cert), "key": str(tls.key)}
        document: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
            "http": http,
        }
        if auth is not None:
            document["auth"] = {"token": _trust(auth)}
        if htpasswd is not None:
            document["auth"] = {"htpasswd": {"realm": "installml-tests", "path": str(htpasswd)}}
        config = _config(folder, document)
        command = [*command, str(config)]
        listens = _DISTRIBUTION_LISTENS
        plan = _Plan(kind, version(kind), command, Path(folder), listens, tls, storage, _host(auth))
        with _running(plan) as server:
            yield server


def _host(auth: TokenAuth | None) -> str:
    """Name a guarded registry as its realm is named: a careful client shows credentials to the same host only."""
    return auth.host if auth else HOST


def _trust(auth: TokenAuth) -> dict[str, str]:
    return {
        "realm": auth.realm,
        "service": auth.service,
        "issuer": auth.issuer,
        "rootcertbundle": str(auth.root_certificate),
    }


def _config(folder: str, document: Mapping[str, Any]) -> Path:
    """Write a configuration as JSON, which the YAML readers of these servers take as well."""
    path = Path(folder, "config.json")
    path.write_text(json.dumps(document))
    return path


@contextmanager
def _running(plan: _Plan) -> Iterator[Server]:
    # A bare environment: REGISTRY_* would override the configuration, and a proxy has no business on loopback.
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(plan.folder), "OTEL_TRACES_EXPORTER": "none"}
    if "GODEBUG" in os.environ:  # benchmarks switch instructions of the processor off for everybody
        environment["GODEBUG"] = os.environ["GODEBUG"]
    with plan.log.open("ab") as log:
        process = subprocess.Popen(
            plan.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=plan.folder,
            env=environment,
        )
    try:
        yield _ready(plan, process)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, kindly first."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ready(plan: _Plan, process: subprocess.Popen[bytes]) -> Server:
    """Wait until `/v2/` answers anything: 401 is an answer too."""
    deadline = time.monotonic() + START_SECONDS
    port: int | None = None
    while process.poll() is None and time.monotonic() < deadline:
        port = port or _port(plan)
        if port is not None and _answers(f"{plan.scheme}://{plan.host}:{port}/v2/", plan.tls):
            return Server(
                plan.kind,
                plan.version,
                plan.host,
                port,
                plan.scheme,
                plan.tls.ca if plan.tls else None,
                plan.log,
                process.pid,
                plan.storage,
                plan.log.stat().st_size,
            )
        time.sleep(POLL_SECONDS)
    ended = "is silent" if process.returncode is None else f"ended with {process.returncode}"
    tail = plan.log.read_text(errors="replace")[-LOG_TAIL:]
    raise StartFailed(f"{plan.kind} {ended}; the end of its log:\n{tail}")


def _port(plan: _Plan) -> int | None:
    if isinstance(plan.port, int):
        return plan.port
    said = plan.port.search(plan.log.read_text(errors="replace"))
    return int(said.group(1)) if said else None


def _answers(url: str, tls: TLS | None) -> bool:
    context = ssl.create_default_context(cafile=tls.ca) if tls else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        opener.open(url, timeout=5).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
