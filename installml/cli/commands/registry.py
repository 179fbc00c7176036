"""``installml registry serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..context import Cli
from ..options import AnonymousPullOpt, HostOpt, HtpasswdOpt, PortOpt, RootOpt, TlsCertOpt, TlsKeyOpt, TokenOpt

if TYPE_CHECKING:
    from ...registry_server import RequestRecord

__all__ = ["line", "serve"]

_BREAKS = {ord(character): f"%{ord(character):02X}" for character in "\n\t\r "}


def serve(
    cli: Cli,
    *,
    root: RootOpt,
    host: HostOpt = "127.0.0.1",
    port: PortOpt = 5000,
    htpasswd: HtpasswdOpt = "",
    tls_cert: TlsCertOpt = "",
    tls_key: TlsKeyOpt = "",
    token: TokenOpt = False,
    anonymous_pull: AnonymousPullOpt = False,
) -> None:
    """Run an OCI registry on one folder until Ctrl-C; -v names every request."""
    from ...api.registry import registry_serve as run
    from ..result import Listening

    run(
        root=root,
        host=host,
        port=port,
        htpasswd=htpasswd,
        tls_cert=tls_cert,
        tls_key=tls_key,
        token=token,
        anonymous_pull=anonymous_pull,
        insecure=cli.common.insecure,
        on_ready=lambda url: cli.show(Listening(url, url.partition("//")[2], root)),
        on_request=(lambda record: cli.screen.say(line(record))) if cli.common.verbose else None,
    )


def line(record: RequestRecord) -> str:
    """Return what is logged of a request: nothing of its query and headers, where secrets and tokens are."""
    path = record.path.translate(_BREAKS)  # or somebody writes a line of his own
    return f"{record.method} {path} {record.status} {record.bytes_in + record.bytes_out} {record.seconds * 1000:.0f} ms"
