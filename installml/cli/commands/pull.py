"""``installml pull``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..context import Cli
from ..options import AllowDowngradeOpt, AllowUnsignedOpt, CheckpointOpt, DetachOpt, OnlyOpt, RefArg

if TYPE_CHECKING:
    from ...api.results import Transfer

__all__ = ["pull"]


def pull(
    cli: Cli,
    reference: RefArg,
    *,
    only: OnlyOpt = None,
    checkpoint: CheckpointOpt = None,
    allow_unsigned: AllowUnsignedOpt = False,
    allow_downgrade: AllowDowngradeOpt = False,
    detach: DetachOpt = False,
) -> None:
    """Fetch a package into the local store."""
    from ...api.pull import pull as run

    if detach and not cli.detached:
        cli.show(_in_background(cli, reference))
        return

    with cli.session() as session:
        result = run(
            reference,
            only=only or (),
            checkpoint=checkpoint,
            allow_unsigned=allow_unsigned,
            allow_downgrade=allow_downgrade,
            session=session,
        )
    cli.show(result)


def _in_background(cli: Cli, reference: str) -> Transfer:
    from ...api.places import full
    from ..background import start

    session = cli.settings().session()
    session.remote(full(reference, session))  # what cannot be meant is told here and not in a log
    session.store.prepare()
    return start(cli.words, reference, session.transfers).result()
