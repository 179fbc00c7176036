"""``installml install`` and ``installml uninstall``."""

from __future__ import annotations

from ..context import Cli
from ..options import (
    AllowDowngradeOpt,
    AllowUnsignedOpt,
    BlockFrom,
    BlockOpt,
    CheckpointOpt,
    DryRunOpt,
    InstalledArg,
    OnlyOpt,
    RefArg,
    RuntimeOpt,
    SuppressionsOpt,
)

__all__ = ["install", "uninstall"]


def install(
    cli: Cli,
    reference: RefArg,
    *,
    only: OnlyOpt = None,
    checkpoint: CheckpointOpt = None,
    runtime: RuntimeOpt = True,
    allow_unsigned: AllowUnsignedOpt = False,
    allow_downgrade: AllowDowngradeOpt = False,
    block: BlockOpt = BlockFrom.HIGH,
    suppressions: SuppressionsOpt = "",
    dry_run: DryRunOpt = False,
) -> None:
    """Install a model, all or nothing, so that it can be served."""
    from ...api.install import install as run

    with cli.session() as session:
        result = run(
            reference,
            only=only or (),
            checkpoint=checkpoint,
            runtime=runtime,
            allow_unsigned=allow_unsigned,
            allow_downgrade=allow_downgrade,
            block=block.value,
            suppressions=suppressions,
            dry_run=dry_run,
            session=session,
        )
    cli.show(result)


def uninstall(cli: Cli, reference: InstalledArg) -> None:
    """Remove an installed model."""
    from ...api.install import uninstall as run

    with cli.session() as session:
        result = run(reference, session=session)
    cli.show(result)
