"""``installml push``."""

from __future__ import annotations

from ..context import Cli
from ..identity import login_of
from ..options import (
    IdentityTokenOpt,
    KeylessOpt,
    KeyOpt,
    OptionalDestinationArg,
    PatchFromOpt,
    SignOpt,
    SourceArg,
    TagOpt,
)

__all__ = ["push"]


def push(
    cli: Cli,
    source: SourceArg,
    destination: OptionalDestinationArg = "",
    *,
    tag: TagOpt = "",
    patch_from: PatchFromOpt = "",
    sign: SignOpt = False,
    key: KeyOpt = "",
    keyless: KeylessOpt = False,
    identity_token: IdentityTokenOpt = "",
) -> None:
    """Send a package, or a model folder with -t, to a registry."""
    from ...api.push import push as run

    login = login_of(cli, keyless, identity_token)
    with cli.session() as session:
        result = run(
            source, destination, tag=tag, patch_from=patch_from, sign=sign, key=key, login=login, session=session
        )
    cli.show(result)
