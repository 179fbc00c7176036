"""Fixtures of the store's tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NOBODY = 65534


@pytest.fixture
def as_nobody() -> Callable[[Callable[[], None]], None]:
    """Return a function that runs another without root's rights to ignore permissions."""

    def run(function: Callable[[], None]) -> None:
        if os.geteuid() != 0:
            function()
            return
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setegid(NOBODY)
                os.seteuid(NOBODY)
                function()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    return run


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder that any user may write to."""
    folder = Path(tempfile.mkdtemp(prefix="store-"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        folder.chmod(0o777)
        shutil.rmtree(folder)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a file system of 256 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs: " + mounted.stderr.decode(errors="replace").strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
