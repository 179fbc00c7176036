"""What became of chunk indexes; apart from others, because whoever pulls looks for indexes as well."""

from __future__ import annotations

from dataclasses import dataclass

from ...digest import Digest
from ...reference import Reference
from .form import Result

__all__ = ["IndexResult"]


@dataclass(frozen=True, slots=True)
class IndexResult(Result):
    """Chunk indexes were attached to a package.

    Attributes:
        digest: The package.
        place: Where it is.
        files: Large files that have an index.
        chunks: Chunks of all of them.
        size: Bytes of the indexes.
        chunks_digest: One digest for all of them, for a signature to name; None when there is none.
        unchanged: They were there already, the same bytes.
    """

    reference: Reference
    digest: Digest
    place: str
    files: int
    chunks: int
    size: int
    chunks_digest: Digest | None
    unchanged: bool = False
