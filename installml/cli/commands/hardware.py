"""``installml hardware``, and ``hardware check``."""

from __future__ import annotations

import typer

from ...errors import HardwareError
from ..context import Cli
from ..options import RefArg

__all__ = ["alone", "check"]


def alone(cli: Cli) -> None:
    """Show what this machine has."""
    if not cli.subcommand:
        _show(cli, "")


def check(cli: Cli, reference: RefArg) -> None:
    """Say whether a package fits this machine; exit 5 when it does not."""
    _show(cli, reference)


def _show(cli: Cli, reference: str) -> None:
    from ...api.hardware import hardware as run

    with cli.session() as session:
        result = run(check=reference, session=session)
    cli.show(result)
    if result.fits is False:
        raise typer.Exit(HardwareError.exit_code)
