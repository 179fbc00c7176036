"""The one read of each file: its digest, and whatever else looks at the same bytes on their way.

Here: who may watch the read, and the digests that need no read because the file has not been touched since. Not here:
which files (``select``), what the digests become (``assemble``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..digest import Digest

__all__ = ["HEADER", "Observe", "Observer"]

HEADER = 16 << 20
"""Bytes from the front of a file that an ``Observe`` is shown at most: more than any format's table of tensors."""


class Observer(Protocol):
    """Looks at the bytes of one file while they are hashed. Used by one thread at a time."""

    def update(self, block: memoryview | bytes, /) -> None:
        """Take the next bytes; the buffer is used again afterwards, so what is to be kept must be copied."""
        ...

    def finish(self, digest: Digest, /) -> None:
        """Take note that all bytes have been seen and that their digest is ``digest``.

        Never called for a file that changed while it was read.
        """
        ...


Observe = Callable[[str, int, bytes], Observer | None]
"""Called with a file's path in the package, its size and its first bytes (``HEADER`` at most) before it is read;
returns who looks at the bytes, or None. Called from several threads."""
