"""Running the registry on a socket: in a thread of this process, or blocking until somebody stops it.

Here: uvicorn, TLS, signals, ports, and what may be exposed to other machines. Not here: the protocol (application),
any printing (cli).
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import shutil
import signal
import socket
import ssl
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol, Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import InstallMLError, SettingInvalid, UsageError
from .application import RequestRecord, app, recorded
from .auth import Auth
from .storage import RegistryStorage
from .zerocopy import ZeroCopy

__all__ = [
    "Around",
    "Exposed",
    "PortUnavailable",
    "Running",
    "RunningRegistry",
    "check_exposure",
    "run",
    "serve",
    "start",
]


class PortUnavailable(InstallMLError):
    """The address cannot be listened on."""

    reference = "port-unavailable"
    default_hint = "Choose another port with --port; --port 0 takes a free one."


class Exposed(UsageError):
    """Anybody on the network could read and change the registry."""

    reference = "registry-exposed"
    default_hint = "Add --tls-cert and --tls-key, or --htpasswd FILE, or listen on 127.0.0.1, or say --insecure."


def check_exposure(host: str, *, tls: bool, auth: bool) -> None:
    """Raise Exposed when ``host`` is reachable from other machines and neither TLS nor a password guards it."""
    if not (tls or auth or is_loopback(host)):
        raise Exposed(f"{host} can be reached from other machines, without TLS and without passwords", subject=host)


def is_loopback(host: str) -> bool:
    """Say whether ``host`` names this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host`` and ``port`` (0 for a free one).

    Raises:
        PortUnavailable: It is taken, not ours to take, or not an address of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        reason = "it is in use" if getattr(error, "errno", 0) == errno.EADDRINUSE else str(error)
        raise PortUnavailable(f"cannot listen on {host}:{port}: {reason}", subject=f"{host}:{port}") from error


class Connection:
    """What is below ASGI, for faults and ``zerocopy``; handed to the application in the scope's state.

    Attributes:
        protocol: uvicorn's, with h11's connection.
    """

    def __init__(self, protocol: H11Protocol, transport: Any) -> None:
        self.protocol = protocol
        self._transport = transport

    def end_with_close(self) -> None:
        """Treat the client as one of HTTP/1.0: nothing is chunked, and the connection ends with the answer."""
        self.protocol.conn.their_http_version = b"1.0"

    def speak_http_1_0(self) -> None:
        """Call the next answer HTTP/1.0, which h11 by itself never does."""
        cycle: Any = self.protocol.cycle
        cycle.transport = _Old(self._transport)

    def close(self) -> None:
        """Send what is buffered, then end as if this were all."""
        self._transport.close()

    def reset(self) -> None:
        """Drop the connection as a crashed machine does: RST, nothing more is sent."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


class _Old:
    """A transport that dates the status lines back."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        self._transport.write(data.replace(b"HTTP/1.1 ", b"HTTP/1.0 ", 1) if data.startswith(b"HTTP/1.1 ") else data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(H11Protocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in {socket.AF_INET, socket.AF_INET6}:
            # asyncio does this only for sockets that name their protocol, which accepted ones do not; without it the
            # body of a small answer waits 40 ms for the acknowledgement of its head.
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "connection": Connection(self, transport)}


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(application: ASGIApp, tls: tuple[Path, Path] | None, grace: int) -> _Server:
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        ZeroCopy(application),
        lifespan="off",
        http=_Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=grace,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise SettingInvalid(
            f"the certificate {certificate} with the key {key} cannot be used: {error}",
            hint="Give a PEM certificate chain and its unencrypted PEM key.",
            subject=str(certificate),
        ) from error
    return _Server(config)


class Running:
    """An application in a thread of this process; also a context manager that stops it.

    Attributes:
        host: Address it listens on.
        port: Port it listens on.
        url: Such as ``http://127.0.0.1:5000``.
        address: Such as ``127.0.0.1:5000``: what stands before the first slash of a reference.
        requests: What was asked so far, oldest first.
    """

    def __init__(self, host: str, port: int, scheme: str) -> None:
        self.host = host
        self.port = port
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.url = f"{scheme}://{self.address}"
        self.requests: list[RequestRecord] = []
        self._exit = contextlib.ExitStack()

    def stop(self) -> None:
        """Finish the requests in flight (two seconds at most) and free the port; harmless when repeated."""
        self._exit.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class RunningRegistry(Running):
    """A registry in a thread of this process.

    Attributes:
        storage: What it keeps.
        root: Its folder.
    """

    def __init__(self, storage: RegistryStorage, host: str, port: int, scheme: str) -> None:
        super().__init__(host, port, scheme)
        self.storage = storage
        self.root = storage.root


class Around(Protocol):
    """Puts something in front of an application; ``Faults`` does."""

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Return ``inner`` with something in front of it."""
        ...


def run(application: ASGIApp, *, host: str = "127.0.0.1", tls: tuple[Path, Path] | None = None) -> Running:
    """Run any ASGI application in a thread, on a free port: a storage that a registry redirects to, for one.

    Args:
        application: What answers.
        host: Address to listen on.
        tls: Certificate chain and key, both PEM.

    Raises:
        PortUnavailable: The address cannot be listened on.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(contextlib.closing(listen(host, 0)))
        running = Running(host, listener.getsockname()[1], "https" if tls else "http")
        _begin(stack, recorded(application, running.requests.append), listener, tls)
        running._exit = stack.pop_all()
    return running


def _begin(
    stack: contextlib.ExitStack, application: ASGIApp, listener: socket.socket, tls: tuple[Path, Path] | None
) -> None:
    """Answer on ``listener`` until ``stack`` is closed."""
    server = _server(application, tls, grace=2)
    thread = threading.Thread(target=server.run, args=([listener],), name="registry", daemon=True)
    thread.start()
    stack.callback(_stop, server, thread)


def start(
    root: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    htpasswd: Path | None = None,
    tls: tuple[Path, Path] | None = None,
    token: bool = False,
    anonymous_pull: bool = False,
    faults: Around | None = None,
) -> RunningRegistry:
    """Run a registry in a thread, for tests, demonstrations and programs that need one for a while.

    Args:
        root: Its folder; None for a temporary one that goes when it stops.
        host: Address to listen on.
        port: Port, or 0 for a free one.
        htpasswd: Names and password hashes; without it everybody may do everything.
        tls: Certificate chain and key, both PEM.
        token: Answer with Bearer challenges and issue tokens at /token, instead of Basic.
        anonymous_pull: Let everybody read when there are passwords.
        faults: Ways to misbehave.

    Returns:
        The running registry; stop it, or use it as a context manager.

    Raises:
        PortUnavailable: The port is taken.
        StoreUnusable: The folder is not a registry's, or in use by another.
    """
    with contextlib.ExitStack() as stack:
        if root is None:
            folder = Path(tempfile.mkdtemp(prefix="installml-registry-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        storage = stack.enter_context(RegistryStorage(root or folder, durable=root is not None))
        auth = Auth.configured(htpasswd, token=token, anonymous_pull=anonymous_pull)
        listener = listen(host, port)
        stack.callback(listener.close)
        running = RunningRegistry(storage, host, listener.getsockname()[1], "https" if tls else "http")
        application = app(storage, auth=auth, faults=faults, on_request=running.requests.append)
        _begin(stack, application, listener, tls)
        running._exit = stack.pop_all()
    return running


def _stop(server: _Server, thread: threading.Thread) -> None:
    server.should_exit = True
    thread.join()


def serve(
    root: Path,
    host: str = "127.0.0.1",
    port: int = 5000,
    *,
    htpasswd: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    token: bool = False,
    anonymous_pull: bool = False,
    insecure: bool = False,
    grace: int = 10,
    on_ready: Callable[[str], None] = lambda url: None,
    on_request: Callable[[RequestRecord], None] | None = None,
) -> None:
    """Run a registry until SIGTERM or SIGINT, then finish the requests in flight and return.

    Args:
        root: Its folder.
        host: Address to listen on.
        port: Port, or 0 for a free one.
        htpasswd: Names and password hashes.
        tls_cert: Certificate chain, PEM.
        tls_key: Its key, PEM.
        token: Bearer instead of Basic.
        anonymous_pull: Let everybody read when there are passwords.
        insecure: Allow other machines to reach it without TLS and without passwords.
        grace: Seconds that requests in flight are given; a second signal gives none.
        on_ready: Told the URL once it answers.
        on_request: Told of every finished request.

    Raises:
        Exposed: Others could reach it unguarded, and ``insecure`` was not given.
        PortUnavailable: The port is taken.
        SettingInvalid: The certificate or its key cannot be used.
        StoreUnusable: The folder is not a registry's, or in use by another.
    """
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("a TLS certificate and its key belong together", hint="Give both --tls-cert and --tls-key.")
    tls = (tls_cert, tls_key) if tls_cert and tls_key else None
    if not insecure:
        check_exposure(host, tls=tls is not None, auth=htpasswd is not None)
    auth = Auth.configured(htpasswd, token=token, anonymous_pull=anonymous_pull)
    with RegistryStorage(root) as storage, contextlib.closing(listen(host, port)) as listener:
        server = _server(app(storage, auth=auth, on_request=on_request), tls, grace)
        shown = f"[{host}]" if ":" in host else host
        with _signals_stop(server):
            on_ready(f"{'https' if tls else 'http'}://{shown}:{listener.getsockname()[1]}")
            server.run([listener])


@contextlib.contextmanager
def _signals_stop(server: _Server) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
