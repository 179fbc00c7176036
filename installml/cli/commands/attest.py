"""``installml attest``."""

from __future__ import annotations

from ..context import Cli
from ..identity import login_of
from ..options import IdentityTokenOpt, KeylessOpt, KeyOpt, PredicateOpt, RefArg, TypeOpt

__all__ = ["attest"]


def attest(
    cli: Cli,
    reference: RefArg,
    *,
    predicate: PredicateOpt,
    type_: TypeOpt,
    key: KeyOpt = "",
    keyless: KeylessOpt = False,
    identity_token: IdentityTokenOpt = "",
) -> None:
    """Sign a statement about a package, such as an evaluation or a scan, and attach it."""
    from ...api.attest import attest as run
    from ...attesting.predicate import MAX_PREDICATE, read_predicate

    said = read_predicate(cli.read(predicate, MAX_PREDICATE), predicate)
    login = login_of(cli, keyless, identity_token)
    with cli.session() as session:
        result = run(reference, predicate=said, type_=type_, key=key, login=login, session=session)
    cli.show(result)
