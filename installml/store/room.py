"""Whether the disk has room for what is about to come: found before anything is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import DiskFull
from ..spec.descriptor import Descriptor
from .blobs import BlobFolder
from .files import free_space, shares_blocks

__all__ = ["Spared", "check_room", "nothing_spared", "room_needed"]

Spared = Callable[[Sequence[Descriptor]], int]
"""Told the blobs that lack; returns how many bytes of them lie in files of this machine already."""


def nothing_spared(blobs: Sequence[Descriptor]) -> int:
    """Return 0: everything must be fetched."""
    return 0


def room_needed(place: BlobFolder, blobs: Iterable[Descriptor], spared: Spared = nothing_spared) -> int:
    """Return how many bytes more the disk must take until ``blobs`` are there.

    What is half fetched has its room already. What similar files hold needs none where the file system lets files
    share blocks; that is looked at only when the disk is too small otherwise, because ``spared`` may cost requests.

    Args:
        place: Where they shall be.
        blobs: Those that are there already do not count.
        spared: See ``Spared``.
    """
    lacking = [blob for blob in {blob.digest: blob for blob in blobs}.values() if not place.exists(blob)]
    taken = place.partials.claims.room_taken
    need = sum(blob.size - min(blob.size, taken(blob.digest)) for blob in lacking)
    free = _free(place.root)
    if free is None or need <= free or not shares_blocks(place.ingest_folder):
        return need
    return max(0, need - spared(lacking))


def check_room(place: BlobFolder, blobs: Sequence[Descriptor], spared: Spared = nothing_spared) -> None:
    """Look whether the disk has room for those of ``blobs`` that are not there yet.

    Args:
        place: Where they shall be.
        blobs: The blobs.
        spared: See ``Spared``.

    Raises:
        DiskFull: It has not; says how much is needed and how much is free.
    """
    free = _free(place.root)
    if free is None or sum(blob.size for blob in blobs) <= free:  # one look at the disk is all that costs
        return
    need = room_needed(place, blobs, spared)
    if need > free:
        where = str(place.root)
        raise DiskFull(f"no room in {where}: {need:,} bytes more are needed, {free:,} are free", subject=where)


def _free(folder: Path) -> int | None:
    """Return how many bytes are free where ``folder`` lies or will lie."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return free_space(folder)
