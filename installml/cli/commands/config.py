"""``installml config show``."""

from __future__ import annotations

from ..context import Cli

__all__ = ["show"]


def show(cli: Cli) -> None:
    """Show every setting and where its value came from."""
    from ...config import config_show as run

    cli.show(run(settings=cli.settings()))
