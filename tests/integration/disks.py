"""File systems made for a test, in a file: XFS, Btrfs, ext2 and ext4, and tmpfs of any size."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.services.programs import need

MIB = 1 << 20
SHARING = ("xfs", "btrfs")
"""Those whose files can share blocks."""


class Mount(Protocol):
    """Makes and mounts a file system."""

    def __call__(self, kind: str, options: str = "") -> Path:
        """Return its folder.

        Args:
            kind: As ``mount -t`` knows it.
            options: More for ``mount -o``; without any a tmpfs has 8 MiB.
        """
        ...


@contextlib.contextmanager
def mounting(base: Path) -> Iterator[Mount]:
    """Yield a function that makes file systems below ``base``; whatever happens, they are unmounted."""
    with contextlib.ExitStack() as stack:

        def mount(kind: str, options: str = "") -> Path:
            folder, image = base / kind, base / f"{kind}.img"
            folder.mkdir()
            source = ["tmpfs"] if kind == "tmpfs" else [str(_make(kind, image))]
            given = options or "size=8m" if kind == "tmpfs" else ",".join(filter(None, ("loop", options)))
            attempt(["mount", "-t", kind, "-o", given, *source, str(folder)])
            stack.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
            return folder

        yield mount


def _make(kind: str, image: Path) -> Path:
    """Make a file system in the sparse file ``image``."""
    maker = need(kind) if kind in SHARING else shutil.which(f"mkfs.{kind}")
    if maker is None:
        pytest.skip(f"mkfs.{kind} is not here")
    with image.open("wb") as file:
        file.truncate((16 if kind == "ext2" else 320) * MIB)  # the smallest that XFS wants is 300 MiB
    attempt([str(maker), "-q", str(image)])
    return image


def attempt(command: list[str]) -> None:
    """Run a program; what it cannot do here is why the test is skipped."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{command[0]}: {done.stderr.strip() or done.returncode}")


def fill(folder: Path) -> None:
    """Take all the room that is left, with a file named ``filler``."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
