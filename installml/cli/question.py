"""The question about a signer who is not known here: what a person needs to answer it, and no more."""

from __future__ import annotations

from collections.abc import Iterator

from ..trust.evidence import IdentitySigner, Signer
from ..trust.verdict import Verdict, signer_words

__all__ = ["trust_question"]


def trust_question(verdict: Verdict) -> Iterator[str]:
    """Yield the lines that stand before the question.

    Args:
        verdict: About a package that is signed by nobody who is known here.
    """
    one = len(verdict.unknown) == 1
    yield f"{verdict.request.name} is signed, by {'somebody' if one else 'people'} whom this machine does not know yet:"
    yield ""
    for signer in verdict.unknown:
        yield f"  {_who(signer)}"
    yield f"  package  {verdict.request.digest}"
    yield ""
    yield "The signature proves that the package is what they signed, not that they mean well. Compare the line above"
    yield "with what the publisher says of themselves elsewhere. If you trust them, nobody else can sign for this"
    yield "repository from now on."


def _who(signer: Signer) -> str:
    if isinstance(signer, IdentitySigner):
        return f"person   {signer_words(signer)}"
    return f"key      {signer_words(signer).removeprefix('key ')}"
