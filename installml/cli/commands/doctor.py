"""``installml doctor``."""

from __future__ import annotations

import typer

from ..context import Cli

__all__ = ["doctor"]


def doctor(cli: Cli) -> None:
    """Say what is wrong with this machine, and what to type; exit 1 when some verb will fail."""
    from ...api.doctor import doctor as run

    with cli.session() as session:
        result = run(session=session)
    cli.show(result)
    if any(finding.state == "problem" for finding in result.findings):
        raise typer.Exit(1)
