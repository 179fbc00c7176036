"""``installml info`` and ``installml list``."""

from __future__ import annotations

from ..context import Cli
from ..options import AttestationsOpt, FromOpt, RefArg

__all__ = ["info", "list_"]


def info(cli: Cli, reference: RefArg, *, from_: FromOpt = "", attestations: AttestationsOpt = False) -> None:
    """Show what a package says about itself; only its manifest is read."""
    from ...api.info import info as run

    with cli.session() as session:
        result = run(reference, from_=from_, attestations=attestations, session=session)
    cli.show(result)


def list_(cli: Cli) -> None:
    """List the packages on this machine."""
    from ...api.info import list_ as run

    with cli.session() as session:
        result = run(session=session)
    cli.show(result)
