"""``installml index``."""

from __future__ import annotations

from ..context import Cli
from ..options import RefArg

__all__ = ["index"]


def index(cli: Cli, reference: RefArg) -> None:
    """Make chunk indexes for a package, so that updates fetch only what differs."""
    from ...api.index import index as run

    with cli.session() as session:
        result = run(reference, session=session)
    cli.show(result)
