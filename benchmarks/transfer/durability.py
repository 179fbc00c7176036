"""What it costs to bring a blob to the disk for good, in several ways: the table of docs/adr/0005.

``durability.py FOLDER [MIB]`` writes a file of MIB MiB below FOLDER in blocks of 1 MiB, as fast as it can and at the
pace of a network of 1 Gbit/s, and says for each way how long writing took and how long was left to do at the end, which
is what a pull would wait for before it shows the blob. Run it with ``python -P``.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20
EVERY = 64 * MIB
GIGABIT = 125e6
RUNS = 3
WRITE = 2  # linux/fs.h: SYNC_FILE_RANGE_WRITE

Way = Callable[[int, int, bool], None]
"""Told the file, how many bytes there are, and whether that is all."""


def never(handle: int, position: int, last: bool) -> None:
    """Leave it to the kernel: the blob is listed instead."""


def at_the_end(handle: int, position: int, last: bool) -> None:
    """Wait once."""
    if last:
        os.fsync(handle)


def begun_early(handle: int, position: int, last: bool) -> None:
    """Tell the kernel to begin with what has come, and wait at the end."""
    if position % EVERY == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
        libc.sync_file_range(handle, position - EVERY, EVERY, WRITE)
    at_the_end(handle, position, last)


def aside(handle: int, position: int, last: bool) -> None:
    """Let another thread wait for what has come, and wait at the end for the rest."""
    if position % EVERY == 0 and not last and not any(thread.name == "sync" for thread in threading.enumerate()):
        threading.Thread(target=os.fdatasync, args=(handle,), name="sync", daemon=True).start()
    at_the_end(handle, position, last)


def measure(path: Path, size: int, way: Way, pace: float) -> tuple[float, float]:
    """Return the seconds that writing took, and those from the last byte until the file has its name."""
    block = os.urandom(MIB)
    handle = os.open(path.with_suffix(".new"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.posix_fallocate(handle, 0, size)
    began = time.perf_counter()
    for position in range(MIB, size + 1, MIB):
        os.pwrite(handle, block, position - MIB)
        if position < size:
            way(handle, position, False)
        ahead = position / pace - (time.perf_counter() - began)
        if ahead > 0:
            time.sleep(ahead)
    written = time.perf_counter()
    way(handle, size, True)
    path.with_suffix(".new").rename(path)
    done = time.perf_counter()
    for thread in threading.enumerate():
        if thread.name == "sync":
            thread.join()
    os.close(handle)
    path.unlink()
    os.sync()  # the next run begins with a quiet disk
    return written - began, done - written


def main(folder: str, mib: str = "1024") -> None:
    """Print the table."""
    print(f"{'pace':>10} {'way':<14} {'writing':>14} {'left at the end':>22}   (s, median and range of {RUNS})")
    for name, pace in (("full", float("inf")), ("1 Gbit/s", GIGABIT)):
        for way in (never, at_the_end, begun_early, aside):
            runs = [measure(Path(folder) / "blob", int(mib) * MIB, way, pace) for _ in range(RUNS)]
            writing, left = ([run[at] for run in runs] for at in (0, 1))
            shown = f"{statistics.median(left):.4f} ({min(left):.4f}-{max(left):.4f})"
            print(f"{name:>10} {way.__name__:<14} {statistics.median(writing):>14.2f} {shown:>28}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
