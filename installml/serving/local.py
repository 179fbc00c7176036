"""Serve a plan on this machine: in the foreground, or as a process of its own that outlives the caller."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import platform
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from ..errors import InstallMLError
from ..machines.processes import birth_of
from ..store.files import disk_errors, make_folder
from . import records
from .errors import ServerFailed, ServerNotFound
from .plan import ServePlan
from .records import Record

if TYPE_CHECKING:
    import numpy as np
    import uvicorn

__all__ = ["Server", "serve", "start"]

MAIN = Path(__file__).parent / "main.py"
_INTERRUPTED = 130


class _Log:
    """The server's own lines, between those of the worker, in one file."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        with disk_errors(path):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.file: BinaryIO = os.fdopen(handle, "ab", buffering=0)

    def __call__(self, line: str) -> None:
        with contextlib.suppress(OSError):  # a full disk must not take the server with it
            self.file.write(f"{_now()} {line}\n".encode())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def new_id(plan: ServePlan) -> str:
    """Return a name for a server that no other has."""
    return f"{plan.name}-{secrets.token_hex(4)}"


def serve(
    plan: ServePlan, *, state: Path, on_ready: Callable[[Record], None] = lambda _: None, identity: str = ""
) -> int:
    """Serve until SIGTERM or Ctrl-C; must be called in the main thread.

    Args:
        plan: What and where.
        state: Folder of the servers' records and logs.
        on_ready: Called once the model answers.
        identity: The server's id; a new one when empty.

    Returns:
        0 when it was told to stop, 130 when it was interrupted.

    Raises:
        ServerFailed: The address cannot be had.
        ModelError: The model does not load, or died too often.
    """
    identity = identity or new_id(plan)
    make_folder(state)
    records.clear_logs(state)
    log = _Log(records.log_path(state, identity))
    with log.file, bound(plan) as listener, _signals_noted() as caught:
        record = _record(plan, identity, listener, state)

        def ready() -> None:
            records.write(state, record)
            on_ready(record)

        try:
            failure = asyncio.run(_run(plan, listener, log, ready))
        finally:
            records.remove(state, identity)
            log("stopped")
    if failure is not None:
        raise failure
    return _INTERRUPTED if signal.SIGINT in caught else 0


@contextlib.contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Note SIGTERM and SIGINT: uvicorn drains on them and then raises them again, which must not end the process."""
    caught: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda got, _: caught.append(got)) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def bound(plan: ServePlan) -> socket.socket:
    """Return a socket bound to the plan's address, not yet listening."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            plan.host.strip("[]"), plan.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol named: asyncio sets TCP_NODELAY on no others, and an answer would wait 40 ms for an ACK.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ServerFailed(
            f"cannot listen on {plan.host} port {plan.port}: {error.strerror or error}",
            hint="Choose another port with --port N, or any free one with --port 0.",
            subject=f"{plan.host}:{plan.port}",
        ) from error
    return listener


def _record(plan: ServePlan, identity: str, listener: socket.socket, state: Path) -> Record:
    host = f"[{plan.host.strip('[]')}]" if ":" in plan.host else plan.host
    url = f"{'https' if plan.tls_cert else 'http'}://{host}:{listener.getsockname()[1]}"
    return Record(
        id=identity, name=plan.name, version=plan.version, digest=plan.digest, url=url, pid=os.getpid(),
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        log=str(records.log_path(state, identity)), machine=platform.node(), birth=birth_of(os.getpid()),
        token=plan.token, ca=plan.tls_cert,
    )  # fmt: skip


async def _run(plan: ServePlan, listener: socket.socket, log: _Log, ready: Callable[[], None]) -> InstallMLError | None:
    """Run the front until it is told to stop; returns why the model could not be had, if it could not."""
    import uvicorn

    from .front.app import build
    from .front.supervisor import Supervisor

    models = Supervisor(plan, log.file, log)

    def settled() -> None:
        try:
            if models.failure is not None:
                raise models.failure
            ready()
        except InstallMLError as error:
            failures.append(error)
            server.should_exit = True

    failures: list[InstallMLError] = []
    server = uvicorn.Server(_config(plan, build(models, settled, log)))
    await server.serve(sockets=[listener])
    return models.failure or next(iter(failures), None)


def _config(plan: ServePlan, app: Any) -> uvicorn.Config:
    import uvicorn

    return uvicorn.Config(
        app,
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=int(plan.limits.drain_timeout_s),
        ssl_certfile=plan.tls_cert or None,
        ssl_keyfile=plan.tls_key or None,
    )


class Server:
    """A server in a process of its own; leaving the ``with`` block stops it.

    Attributes:
        record: Where it runs.
    """

    def __init__(self, record: Record, state: Path, process: subprocess.Popen[bytes]) -> None:
        self.record, self._state, self._process = record, state, process

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.record.url

    @property
    def name(self) -> str:
        """The served model's name."""
        return self.record.name

    @property
    def pid(self) -> int:
        """Its process."""
        return self.record.pid

    def predict(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Return the outputs by name for inputs by name.

        Args:
            inputs: Arrays, or what numpy makes arrays of; cast to the datatypes that the model declares.

        Returns:
            Arrays; text as object arrays of ``str``.
        """
        return self.record.client.predict(self.name, inputs)

    def infer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to an inference request, both in the protocol's JSON."""
        return self.record.client.infer(self.name, request)

    def stop(self) -> None:
        """Let running requests finish and end the process; a stopped server is fine."""
        with contextlib.suppress(ServerNotFound):
            records.stop(self._state, self.record.id)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(plan: ServePlan, *, state: Path) -> Server:
    """Start a server that outlives the caller, and wait until its model answers.

    Args:
        plan: What and where.
        state: Folder of the servers' records and logs.

    Raises:
        ModelError: It did not come up; the message says why and ends with the log's last lines.
    """
    identity = new_id(plan)
    make_folder(state)
    with _Log(records.log_path(state, identity)).file as log:
        news, end = os.pipe()
        try:
            process = _spawn(plan, state, identity, end, log)
        finally:
            os.close(end)
        with os.fdopen(news, "rb", buffering=0) as pipe:
            try:
                answer = _first_line(pipe, plan.limits.load_timeout_s + 30)
            except BaseException:
                process.terminate()
                process.wait()
                raise
    if "record" in answer:
        return Server(Record(**answer["record"]), state, process)
    process.terminate()
    process.wait()
    raise _failure(plan, answer, records.log_path(state, identity))


def _spawn(plan: ServePlan, state: Path, identity: str, end: int, log: BinaryIO) -> subprocess.Popen[bytes]:
    # By file and with -P: nothing of the current folder is imported. The plan goes by a pipe: it holds the token.
    process = subprocess.Popen(
        [sys.executable, "-P", str(MAIN), str(state.absolute()), identity, str(end)],
        stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[end], start_new_session=True,
    )  # fmt: skip
    with contextlib.suppress(BrokenPipeError), process.stdin or contextlib.nullcontext() as pipe:
        if pipe is not None:  # a broken one: it died at once, and its log says why
            pipe.write(json.dumps(plan.to_json()).encode())
    return process


def _first_line(pipe: Any, patience_s: float) -> dict[str, Any]:
    """Return what the server says about its start; empty when it dies or keeps silent."""
    deadline, data = time.monotonic() + patience_s, b""
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            break
        part = pipe.read(1 << 16)
        if not part:
            break
        data += part
    try:
        value: dict[str, Any] = json.loads(data)
    except ValueError:
        return {}
    return value


def _failure(plan: ServePlan, answer: Mapping[str, Any], log: Path) -> ServerFailed:
    message = str(answer.get("message") or f"the server of {plan.name} did not come up")
    last = records.tail(log)
    return ServerFailed(f"{message}\n{last}" if last else message, hint=str(answer.get("hint") or ""), subject=str(log))
