"""``installml doctor``."""

from __future__ import annotations

import typer

from ..context import Cli
from ..options import ExaminedArg, WriteOpt

__all__ = ["doctor"]


def doctor(cli: Cli, registry: ExaminedArg = "", *, write: WriteOpt = False) -> None:
    """Say what is wrong with this machine or with a registry, and what to type; exit 1 when some verb will fail."""
    from ...api.doctor import doctor as run

    with cli.session() as session:
        result = run(registry, write=write, session=session)
    cli.show(result)
    if any(finding.state == "problem" for finding in result.findings):
        raise typer.Exit(1)
