"""``installml demo``."""

from __future__ import annotations

from ..context import Cli

__all__ = ["demo"]


def demo(cli: Cli) -> None:
    """Package, push, install and serve a digits classifier on this machine, in one go."""
    from ...api.demo import demo as run

    with cli.session() as session:
        result = run(session=session)
    cli.show(result)
