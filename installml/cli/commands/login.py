"""``installml login`` and ``installml logout``. A password is never an argument: everybody can read those."""

from __future__ import annotations

import typer

from ...errors import UsageError
from ..context import Cli
from ..options import PasswordStdinOpt, RegistryArg, UsernameOpt

__all__ = ["login", "logout"]

_MAX_SECRET = 64 << 10
"""Bytes; tokens of cloud registries have a few thousand."""


def login(
    cli: Cli, registry: RegistryArg, *, username: UsernameOpt = "", password_stdin: PasswordStdinOpt = False
) -> None:
    """Prove credentials to a registry and keep them where docker and podman keep theirs."""
    from ...api.login import login as run

    name = username or _asked(cli, registry, "User name", hide=False)
    password = _piped(cli) if password_stdin else _asked(cli, registry, "Password", hide=True)
    with cli.session() as session:
        result = run(registry, username=name, password=password, session=session)
    cli.show(result)


def logout(cli: Cli, registry: RegistryArg) -> None:
    """Forget a registry's credentials."""
    from ...api.login import logout as run

    with cli.session() as session:
        result = run(registry, session=session)
    cli.show(result)


def _piped(cli: Cli) -> str:
    return cli.read("-", _MAX_SECRET).decode("utf-8", errors="replace").rstrip("\r\n")


def _asked(cli: Cli, registry: str, question: str, *, hide: bool) -> str:
    if not cli.interactive:
        raise UsageError(
            f"there is nobody to ask for the {question.lower()}",
            hint=f"installml login {registry} --username NAME --password-stdin < FILE",
        )
    answer: str = typer.prompt(question, hide_input=hide, err=True)
    return answer
