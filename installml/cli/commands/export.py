"""``installml export``."""

from __future__ import annotations

from ..context import Cli
from ..options import PathArg, RefArg

__all__ = ["export"]


def export(cli: Cli, reference: RefArg, destination: PathArg) -> None:
    """Write a package to an OCI layout folder that other tools read."""
    from ...api.copy import export as run

    with cli.session() as session:
        result = run(reference, destination, session=session)
    cli.show(result)
