"""How somebody shows who they are, for the verbs that sign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .context import Cli

if TYPE_CHECKING:
    from ..api.vouchers import Login

__all__ = ["login_of"]


def login_of(cli: Cli, keyless: bool, identity_token: str) -> Login | None:
    """Return how somebody logs in to sign as who they are; None to sign with a key.

    Args:
        cli: What the command works with.
        keyless: Whether to sign as somebody.
        identity_token: File with an identity token, ``-`` for standard input; it says to sign as somebody, too. A token
            is never an argument: everybody on a machine can read those.

    Raises:
        IdentityMissing: The file holds none.
        UsageError: It cannot be read.
    """
    if not keyless and not identity_token:
        return None
    from ..api.vouchers import Login

    if not identity_token:
        return Login(browser=cli.interactive)
    from ..signing.keyless import MAX_TOKEN, parse_token

    return Login(parse_token(cli.read(identity_token, MAX_TOKEN), identity_token))
