"""``installml verify``."""

from __future__ import annotations

import typer

from ...errors import TrustError
from ..context import Cli
from ..options import IdentityOpt, IssuerOpt, PublicKeyOpt, VerifiedArg

__all__ = ["verify"]


def verify(
    cli: Cli, target: VerifiedArg, *, key: PublicKeyOpt = "", identity: IdentityOpt = "", issuer: IssuerOpt = ""
) -> None:
    """Say who signed a package or a model's folder, when, and what was not proved; exit 4 when it is not trusted."""
    from ...api.verify import verify as run

    with cli.session() as session:
        result = run(target, key=key, identity=identity, issuer=issuer, session=session)
    cli.show(result)
    if not result.trusted:
        raise typer.Exit(TrustError.exit_code)
