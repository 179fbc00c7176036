"""``installml serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import UsageError
from ..context import Cli
from ..options import (
    AllowUnsignedOpt,
    DetachOpt,
    HostOpt,
    PortOpt,
    ServedArg,
    TlsCertOpt,
    TlsKeyOpt,
    TokenFileOpt,
)
from ..screen import Ended

if TYPE_CHECKING:
    from ...api.results import RunningServer

__all__ = ["serve"]

_MAX_TOKEN = 4 << 10


def serve(
    cli: Cli,
    target: ServedArg,
    *,
    host: HostOpt = "127.0.0.1",
    port: PortOpt = 0,
    token_file: TokenFileOpt = "",
    tls_cert: TlsCertOpt = "",
    tls_key: TlsKeyOpt = "",
    detach: DetachOpt = False,
    allow_unsigned: AllowUnsignedOpt = False,
) -> None:
    """Serve a model by the Open Inference Protocol, here until Ctrl-C or in the background."""
    from ...api.serve import running, serve_foreground
    from ...api.serve import serve as start

    token = _token(cli, token_file) if token_file else ""
    with cli.status() as status:
        session = cli.settings().session(on_event=status)

        def ready(server: RunningServer) -> None:
            status.close()
            cli.show(server)
            if server.token and not token:  # made for this server, and nobody else knows it
                cli.screen.say(f"token: {server.token}")

        if detach:
            handle = start(
                target,
                host=host,
                port=port,
                token=token,
                tls_cert=tls_cert,
                tls_key=tls_key,
                allow_unsigned=allow_unsigned,
                session=session,
            )
            ready(running(handle.record))
            return
        code = serve_foreground(
            target,
            host=host,
            port=port,
            token=token,
            tls_cert=tls_cert,
            tls_key=tls_key,
            allow_unsigned=allow_unsigned,
            on_ready=ready,
            session=session,
        )
    raise Ended(code)


def _token(cli: Cli, path: str) -> str:
    token = cli.read(path, _MAX_TOKEN).decode("ascii", errors="replace").strip()
    if not token or not token.isprintable() or " " in token or not token.isascii():
        raise UsageError(f"{path} has no bearer token: one line of printable ASCII without spaces", subject=path)
    return token
