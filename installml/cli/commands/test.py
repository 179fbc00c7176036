"""``installml test``."""

from __future__ import annotations

import typer

from ...errors import ModelError
from ..context import Cli
from ..options import AllowUnsignedOpt, RecordOpt, ServedArg, ToleranceOpt

__all__ = ["test"]


def test(
    cli: Cli,
    target: ServedArg,
    *,
    record: RecordOpt = False,
    tolerance: ToleranceOpt = None,
    allow_unsigned: AllowUnsignedOpt = False,
) -> None:
    """Run the packaged example and compare with the recorded answer; exit 7 when they differ."""
    from ...api.serve import test as run

    with cli.session() as session:
        result = run(target, record=record, tolerance=tolerance, allow_unsigned=allow_unsigned, session=session)
    cli.show(result)
    if not result.passed:
        raise typer.Exit(ModelError.exit_code)
