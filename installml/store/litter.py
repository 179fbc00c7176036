"""What killed processes and time leave below ``state/``: found by its name, its owner and its age alone.

The rooms above keep small files there, each in a folder of its own, and look after them while they work. A collection
takes away what nobody looks after any more. What is listed of blobs (``unsynced``, ``owed``, ``partial``) is not
litter: those modules know what it means.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import StoreError
from .files import remove_tree
from .host import Host, process_alive

__all__ = ["LIVES", "litter", "sweep"]

_DAY = 24 * 3600.0

LIVES: Mapping[str, tuple[str, float]] = {
    "uploads": ("*.url", _DAY),
    "digests": ("*.json", 90 * _DAY),
    "transfers": ("*.tmp", _DAY),
    "unsynced": ("notice.*", 90 * _DAY),
}
"""By folder: which files have a life, and how many seconds after their last change it ends. Addresses of uploads that
were cut off are worth nothing after a day (``registry.leftovers``), digests of a model folder are read again when they
lack (``packing.memory``), and no record of a transfer takes that long to write (``api.background``).
What nobody was there to hear in three months (``store.recovery``) is of no use."""

_UNFINISHED = re.compile(r"\..*\.([A-Za-z0-9]{1,20})-(\d{1,10})-[0-9a-f]{8}")
"""Names that ``files.unique_suffix`` makes, of what is not whole yet."""


def litter(root: Path, host: Host) -> Iterator[Path]:
    """Yield what may go.

    Args:
        root: The store's folder.
        host: The machine; its clock counts.
    """
    now = host.clock()
    for pattern in (".doctor.*", "state/.*", "state/*/.*"):
        yield from (path for path in sorted(root.glob(pattern)) if _abandoned(path, host, now))
    for name, (pattern, life) in LIVES.items():
        yield from (path for path in sorted((root / "state" / name).glob(pattern)) if _age(path, now) > life)


def _abandoned(path: Path, host: Host, now: float) -> bool:
    """Return whether nobody finishes ``path``: its process is gone, or is on another machine and slow beyond belief."""
    match = _UNFINISHED.fullmatch(path.name)
    if match is None:
        return False
    here = match[1] == host.name
    return not process_alive(int(match[2])) if here else _age(path, now) > _DAY


def _age(path: Path, now: float) -> float:
    """Return the seconds since the last change; 0 for what is gone."""
    try:
        return now - path.lstat().st_mtime
    except OSError:
        return 0.0


def sweep(root: Path, host: Host, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove what may go.

    Args:
        root: The store's folder.
        host: The machine.
        dry_run: Only say what would go.

    Returns:
        How many things, and their bytes.
    """
    count = freed = 0
    for path in litter(root, host):
        with contextlib.suppress(
            FileNotFoundError, StoreError
        ):  # gone meanwhile; another user's, and not ours to remove
            size = path.lstat().st_size
            if not dry_run:
                remove_tree(path)
            count, freed = count + 1, freed + size
    return count, freed
