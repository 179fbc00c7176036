"""``installml attest``."""

from __future__ import annotations

from ..context import Cli
from ..options import KeyOpt, PredicateOpt, RefArg, TypeOpt

__all__ = ["attest"]


def attest(cli: Cli, reference: RefArg, *, predicate: PredicateOpt, type_: TypeOpt, key: KeyOpt = "") -> None:
    """Sign a statement about a package, such as an evaluation or a scan, and attach it."""
    from ...api.attest import attest as run
    from ...attesting.predicate import MAX_PREDICATE, read_predicate

    said = read_predicate(cli.read(predicate, MAX_PREDICATE), predicate)
    with cli.session() as session:
        result = run(reference, predicate=said, type_=type_, key=key, session=session)
    cli.show(result)
