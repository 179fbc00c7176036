"""Fixtures that several integration tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.disks import Mount, mounting


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """Return a function that makes and mounts a file system of the named kind."""
    with mounting(tmp_path) as mount:
        yield mount
