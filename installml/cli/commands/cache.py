"""``installml cache``: df, gc, verify, repair, path."""

from __future__ import annotations

from ..context import Cli
from ..options import DryRunOpt, OptionalRefArg

__all__ = ["df", "gc", "path", "repair", "verify"]


def df(cli: Cli) -> None:
    """Show how many bytes packages, installed models and runtimes take."""
    from ...api.cache import cache_df as run

    with cli.session() as session:
        result = run(session=session)
    cli.show(result)


def gc(cli: Cli, *, dry_run: DryRunOpt = False) -> None:
    """Remove what no reference, installed model or running work needs."""
    from ...api.cache import cache_gc as run

    with cli.session() as session:
        result = run(dry_run=dry_run, session=session)
    cli.show(result)


def verify(cli: Cli) -> None:
    """Hash every blob again; exit 3 when one is damaged."""
    from ...api.cache import cache_verify as run

    with cli.session() as session:
        result = run(session=session)
    cli.show(result)


def repair(cli: Cli, reference: OptionalRefArg = "") -> None:
    """Mend damaged blobs by fetching what is wrong with them; exit 3 when one cannot be mended."""
    from ...api.repair import cache_repair as run

    with cli.session() as session:
        result = run(reference, session=session)
    cli.show(result)


def path(cli: Cli) -> None:
    """Show where the store is."""
    from ...api.cache import cache_path as run
    from ..result import CachePath

    with cli.session() as session:
        result = CachePath(str(run(session=session)))
    cli.show(result)
