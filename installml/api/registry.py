"""``registry serve``: the embedded registry, for trying things and for small teams."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..registry_server import RequestRecord

__all__ = ["registry_serve"]


def registry_serve(
    *,
    root: str | Path,
    host: str = "127.0.0.1",
    port: int = 5000,
    htpasswd: str | Path | None = None,
    tls_cert: str | Path | None = None,
    tls_key: str | Path | None = None,
    token: bool = False,
    anonymous_pull: bool = False,
    insecure: bool = False,
    on_ready: Callable[[str], None] = lambda _: None,
    on_request: Callable[[RequestRecord], None] | None = None,
) -> None:
    """Run an OCI registry on one folder until SIGTERM or Ctrl-C; must be called in the main thread.

    Args:
        root: Its folder.
        host: Address to listen on.
        port: Port; 0 for any free one.
        htpasswd: File of names and password hashes; everybody may do everything without.
        tls_cert: Certificate chain, PEM.
        tls_key: Its key, PEM.
        token: Ask for Bearer tokens, which it issues itself, instead of Basic.
        anonymous_pull: Let everybody read although there are passwords.
        insecure: Allow others to reach it without TLS and passwords.
        on_ready: Told the URL once it answers.
        on_request: Told of every finished request.

    Raises:
        UsageError: Others could reach it unprotected, and ``insecure`` was not given.
    """
    from ..registry_server import serve

    def path(value: str | Path | None) -> Path | None:
        return Path(value) if value else None

    serve(
        Path(root),
        host,
        port,
        htpasswd=path(htpasswd),
        tls_cert=path(tls_cert),
        tls_key=path(tls_key),
        token=token,
        anonymous_pull=anonymous_pull,
        insecure=insecure,
        on_ready=on_ready,
        on_request=on_request,
    )
