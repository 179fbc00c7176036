"""``installml registry serve``."""

from __future__ import annotations

from ..context import Cli
from ..options import AnonymousPullOpt, HostOpt, HtpasswdOpt, PortOpt, RootOpt, TlsCertOpt, TlsKeyOpt, TokenOpt

__all__ = ["serve"]


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
    """Run an OCI registry on one folder until Ctrl-C."""
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
    )
