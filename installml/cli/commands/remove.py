"""``installml remove``."""

from __future__ import annotations

from ..context import Cli
from ..options import DryRunOpt, LocalOpt, RefArg, YesOpt

__all__ = ["remove"]


def remove(
    cli: Cli, reference: RefArg, *, local: LocalOpt = False, dry_run: DryRunOpt = False, yes: YesOpt = False
) -> None:
    """Remove a tag or manifest from its registry, or from the local store."""
    from ...api.tags import remove as run

    if not (yes or dry_run):
        cli.confirm(f"Remove {reference} from {'the local store' if local else 'its registry'}?")
    with cli.session() as session:
        result = run(reference, local=local, dry_run=dry_run, session=session)
    cli.show(result)
