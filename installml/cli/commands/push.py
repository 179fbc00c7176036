"""``installml push``."""

from __future__ import annotations

from ..context import Cli
from ..options import OptionalDestinationArg, PatchFromOpt, SourceArg, TagOpt

__all__ = ["push"]


def push(
    cli: Cli,
    source: SourceArg,
    destination: OptionalDestinationArg = "",
    *,
    tag: TagOpt = "",
    patch_from: PatchFromOpt = "",
) -> None:
    """Send a package, or a model folder with -t, to a registry."""
    from ...api.push import push as run

    with cli.session() as session:
        result = run(source, destination, tag=tag, patch_from=patch_from, session=session)
    cli.show(result)
