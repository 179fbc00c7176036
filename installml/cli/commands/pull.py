"""``installml pull``."""

from __future__ import annotations

from ..context import Cli
from ..options import AllowUnsignedOpt, RefArg

__all__ = ["pull"]


def pull(cli: Cli, reference: RefArg, *, allow_unsigned: AllowUnsignedOpt = False) -> None:
    """Fetch a package into the local store."""
    from ...api.pull import pull as run

    with cli.session() as session:
        result = run(reference, allow_unsigned=allow_unsigned, session=session)
    cli.show(result)
