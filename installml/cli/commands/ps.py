"""``installml ps``, ``logs`` and ``stop``: the servers of this machine and its transfers in the background."""

from __future__ import annotations

from ..context import Cli
from ..options import AllOpt, EndedOpt, FollowOpt, OptionalServerArg, ServerArg

__all__ = ["logs", "ps", "stop"]


def ps(cli: Cli, *, all: EndedOpt = False) -> None:  # noqa: A002
    """List the servers that run on this machine, and its transfers in the background."""
    from ...api.serve import ps as run

    with cli.session() as session:
        result = run(all=all, session=session)
    cli.show(result)


def logs(cli: Cli, target: ServerArg, *, follow: FollowOpt = False) -> None:
    """Show what a server or a transfer has written."""
    from ...api.serve import logs as run
    from ..result import LogChunk

    text = run(target, follow=follow, session=cli.settings().session())
    for chunk in text if follow else ["".join(text)]:
        cli.show(LogChunk(chunk))


def stop(cli: Cli, target: OptionalServerArg = "", *, all: AllOpt = False) -> None:  # noqa: A002
    """Stop a server after its running requests, or a transfer so that it can go on later."""
    from ...api.serve import stop as run

    with cli.session() as session:
        result = run(target, all=all, session=session)
    cli.show(result)
