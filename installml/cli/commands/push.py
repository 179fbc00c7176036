"""``installml push``."""

from __future__ import annotations

from ..context import Cli
from ..options import KeyOpt, OptionalDestinationArg, PatchFromOpt, SignOpt, SourceArg, TagOpt

__all__ = ["push"]


def push(
    cli: Cli,
    source: SourceArg,
    destination: OptionalDestinationArg = "",
    *,
    tag: TagOpt = "",
    patch_from: PatchFromOpt = "",
    sign: SignOpt = False,
    key: KeyOpt = "",
) -> None:
    """Send a package, or a model folder with -t, to a registry."""
    from ...api.push import push as run

    with cli.session() as session:
        result = run(source, destination, tag=tag, patch_from=patch_from, sign=sign, key=key, session=session)
    cli.show(result)
