"""Memory that is really there when the clock starts.

A virtual machine hands its free pages back to its host, and pays a fault in the host for each that it takes again.
Where that is so, a write of 1 GiB into the page cache was seen to take 2.9 s of the processor, and 0.4 s when the
pages came from old cache instead: more than what is measured. So free memory is filled with cache before each command.
On a machine that keeps its pages it changes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from .folders import MIB

STEP = 256 * MIB
FULL = 32 * MIB
"""When a step leaves almost as much free as it found, the kernel reclaims as fast as we read."""
FRUITLESS = 3
"""So many such steps in a row end it: one may be a neighbour that gave memory back at that moment."""
_MEMINFO = Path("/proc/meminfo")


class Pages:
    """A file of nothing but a hole: each page of it that is read takes a page of memory, and none of the disk.

    Args:
        folder: Where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "pages"
        self._position = 0
        self._size = 4 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # what comes next is never cached

    def settle(self) -> None:
        """Read until no more memory becomes free cache; does nothing where the kernel does not tell."""
        left = _free()
        if left is None:
            return
        with self._file.open("ab", buffering=0) as grown:
            grown.truncate(self._size)
        with self._file.open("rb", buffering=0) as file:
            fruitless = 0
            while fruitless < FRUITLESS:
                before, self._position = left, self._read(file.fileno())
                left = _free() or 0
                fruitless = fruitless + 1 if left > before - FULL else 0

    def _read(self, file: int) -> int:
        for offset in range(self._position, self._position + STEP, MIB):
            os.pread(file, MIB, offset % self._size)
        return (self._position + STEP) % self._size


def _free() -> int | None:
    """Return the bytes of memory that nothing uses, not even as cache (proc_meminfo(5), MemFree)."""
    if not _MEMINFO.exists():
        return None
    lines = _MEMINFO.read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemFree:")), None)
