"""Which packages were built on this machine: nobody else needs to vouch for what somebody has made here themselves.

``state/made/<algorithm>-<hex>`` stands for one manifest. What came from elsewhere never has one, whatever it is called
and however it came into the store; what was built here keeps it when it goes and comes back, because the same digest is
the same bytes. A mark has no content, so a collection leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..digest import Digest

__all__ = ["Made"]


class Made:
    """The marks of one store.

    Args:
        folder: Where they lie.
        write: Makes a small file whole.
    """

    def __init__(self, folder: Path, write: Callable[[Path, bytes], None]) -> None:
        self._folder = folder
        self._write = write

    def _path(self, manifest: Digest) -> Path:
        return self._folder / f"{manifest.algorithm}-{manifest.hex}"

    def add(self, manifest: Digest) -> None:
        """Note that a manifest was built here.

        Raises:
            StoreError: It cannot be written down.
        """
        if not self.has(manifest):
            self._write(self._path(manifest), b"")

    def has(self, manifest: Digest) -> bool:
        """Return whether a manifest was built here."""
        return self._path(manifest).exists()
