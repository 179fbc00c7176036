"""What a copy may use besides its source: chunk indexes, and bytes that are on this machine already."""

from __future__ import annotations

from typing import Protocol

from ..digest import Digest
from ..spec.chunks import ChunkIndex
from ..spec.descriptor import Descriptor
from ..store.protocol import Assembly

__all__ = ["Delta"]


class Delta(Protocol):
    """Helps ``copy`` to fetch less. Nothing in it is trusted but what ``vouched`` says."""

    def index(self, blob: Digest) -> ChunkIndex | None:
        """Return the chunk index of a blob, if there is one."""
        ...

    def vouched(self, blob: Digest) -> bool:
        """Return whether a verified signature names that index: then its chunk digests prove as much as the blob's."""
        ...

    def fill(self, descriptor: Descriptor, assembly: Assembly) -> int:
        """Put into ``assembly`` what is on this machine already.

        Returns:
            How many bytes that gave.
        """
        ...
