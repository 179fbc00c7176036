"""``installml scan``."""

from __future__ import annotations

import json

import typer

from ...errors import TrustError
from ..context import Cli
from ..options import (
    AdvisoriesOpt,
    BlockFrom,
    BlockOpt,
    Common,
    Format,
    OpinionsOpt,
    ScanFormat,
    ScanFormatOpt,
    ScannedArg,
    SuppressionsOpt,
)

__all__ = ["scan"]


def scan(
    cli: Cli,
    target: ScannedArg,
    *,
    block: BlockOpt = BlockFrom.HIGH,
    suppressions: SuppressionsOpt = "",
    advisories: AdvisoriesOpt = "",
    opinions: OpinionsOpt = None,
    format: ScanFormatOpt = None,  # noqa: A002  # the flag of every verb, with one value more
) -> None:
    """Look for danger in a package, a folder or a file; exit 4 when the gate blocks."""
    from ...api.scan import scan as run
    from ...scanning.sarif import sarif
    from ...version import __version__

    if format is ScanFormat.JSON:
        cli = cli.under(Common(format=Format.JSON))
    with cli.session() as session:
        result = run(
            target,
            block=block.value,
            suppressions=suppressions,
            advisories=advisories,
            opinions=opinions or (),
            session=session,
        )
    if format is ScanFormat.SARIF:
        cli.screen.print(json.dumps(sarif(result.outcome, version=__version__), indent=2))
    else:
        cli.show(result)
    if result.blocked:
        raise typer.Exit(TrustError.exit_code)
