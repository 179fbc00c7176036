"""``installml build``."""

from __future__ import annotations

from ..context import Cli
from ..options import FolderArg, TagOpt, ToOpt

__all__ = ["build"]


def build(cli: Cli, folder: FolderArg, *, tag: TagOpt = "", to: ToOpt = "") -> None:
    """Make a package of a model folder, in the local store or straight in a registry."""
    from ...api.build import build as run

    with cli.session() as session:
        result = run(folder, tag=tag, to=to, session=session)
    cli.show(result)
