"""``installml trust``: add, list, remove, rotate, policy, test."""

from __future__ import annotations

import typer

from ...errors import TrustError
from ..context import Cli
from ..options import (
    AllowDowngradeOpt,
    AllowUnsignedOpt,
    DecidedArg,
    IdentityGlobOpt,
    IdentityOpt,
    IssuerOpt,
    OptionalPrefixArg,
    PolicyVerb,
    PolicyVerbArg,
    PrefixArg,
    PublicKeyOpt,
    RefArg,
    StatementOpt,
    YesOpt,
)

__all__ = ["add", "list_", "policy", "remove", "rotate", "test"]


def add(
    cli: Cli,
    prefix: PrefixArg,
    *,
    key: PublicKeyOpt = "",
    identity: IdentityOpt = "",
    identity_glob: IdentityGlobOpt = "",
    issuer: IssuerOpt = "",
) -> None:
    """Trust a signer for every package under a prefix."""
    from ...api.trust import trust_add as run

    with cli.session() as session:
        result = run(prefix, key=key, identity=identity, identity_glob=identity_glob, issuer=issuer, session=session)
    cli.show(result)


def list_(cli: Cli, prefix: OptionalPrefixArg = "") -> None:
    """List who is trusted for what."""
    from ...api.trust import trust_list as run

    with cli.session() as session:
        result = run(prefix, session=session)
    cli.show(result)


def remove(
    cli: Cli,
    prefix: PrefixArg,
    *,
    key: PublicKeyOpt = "",
    identity: IdentityOpt = "",
    identity_glob: IdentityGlobOpt = "",
    issuer: IssuerOpt = "",
) -> None:
    """Trust a signer no longer; everybody under the prefix when none is named."""
    from ...api.trust import trust_remove as run

    with cli.session() as session:
        result = run(prefix, key=key, identity=identity, identity_glob=identity_glob, issuer=issuer, session=session)
    cli.show(result)


def rotate(
    cli: Cli,
    prefix: PrefixArg,
    *,
    key: PublicKeyOpt = "",
    identity: IdentityOpt = "",
    issuer: IssuerOpt = "",
    statement: StatementOpt = "",
    yes: YesOpt = False,
) -> None:
    """Put a new signer in the place of the one before; without one, forget who was trusted and what was seen."""
    from ...api.trust import trust_rotate as run

    if not (key or identity or issuer or statement or yes):
        cli.confirm(f"Forget who is trusted for {prefix} and what was seen there?")
    with cli.session() as session:
        result = run(prefix, key=key, identity=identity, issuer=issuer, statement=statement, session=session)
    cli.show(result)


def policy(cli: Cli, _what: PolicyVerbArg = PolicyVerb.SHOW, reference: DecidedArg = "") -> None:
    """Show the policy in force, and which of its rules decides about a package."""
    from ...api.trust import trust_policy as run

    with cli.session() as session:
        result = run(reference, session=session)
    cli.show(result)


def test(
    cli: Cli,
    reference: RefArg,
    *,
    allow_unsigned: AllowUnsignedOpt = False,
    allow_downgrade: AllowDowngradeOpt = False,
) -> None:
    """Say whether a package may be used and how that is decided, rule by rule; exit 4 when it may not."""
    from ...api.trust import trust_test as run

    with cli.session() as session:
        result = run(
            reference,
            interactive=cli.interactive,
            allow_unsigned=allow_unsigned,
            allow_downgrade=allow_downgrade,
            session=session,
        )
    cli.show(result)
    if not result.passes:
        raise typer.Exit(TrustError.exit_code)
