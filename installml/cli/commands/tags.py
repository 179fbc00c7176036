"""``installml tags`` and ``installml tag``."""

from __future__ import annotations

from ..context import Cli
from ..options import LocalOpt, NewTagArg, RefArg

__all__ = ["tag", "tags"]


def tags(cli: Cli, reference: RefArg, *, local: LocalOpt = False) -> None:
    """List the tags of a repository."""
    from ...api.tags import tags as run

    with cli.session() as session:
        result = run(reference, local=local, session=session)
    cli.show(result)


def tag(cli: Cli, reference: RefArg, new_tag: NewTagArg) -> None:
    """Give a package another tag."""
    from ...api.tags import tag as run

    with cli.session() as session:
        result = run(reference, new_tag, session=session)
    cli.show(result)
