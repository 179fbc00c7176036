"""hashing: what it has done since the last look, and whether it waits for bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from installml.store.protocol import Assembly
from installml.transfer.download.hashing import Hashing
from installml.transfer.landing import Landing

from .test_landing import BLOB, DATA, opened, put


@pytest.fixture
def assembly(tmp_path: Path) -> Iterator[Assembly]:
    with opened(tmp_path) as found:
        yield found


def landing_of(assembly: Assembly) -> Landing:
    return Landing(BLOB, assembly, lambda count: None)


def hashing() -> Hashing:
    return Hashing(1, lambda: False, lambda event: None)


def test_a_blob_that_is_all_there_is_hashed_without_waiting(assembly: Assembly) -> None:
    landing, hashes = landing_of(assembly), hashing()
    put(landing, 0, len(DATA))
    assert hashes.follow(landing) == (BLOB.digest, len(DATA))
    assert hashes.look() == (len(DATA), False)


def test_what_was_looked_at_is_not_told_again(assembly: Assembly) -> None:
    landing, hashes = landing_of(assembly), hashing()
    put(landing, 0, len(DATA))
    hashes.follow(landing)
    hashes.look()
    assert hashes.look() == (0, False)


def test_a_blob_that_waits_for_bytes_says_so_at_each_look_until_they_come(assembly: Assembly) -> None:
    landing, hashes, waits = Waited(BLOB, assembly, lambda count: None), hashing(), threading.Event()
    landing.waits = waits
    thread = threading.Thread(target=hashes.follow, args=(landing,))
    thread.start()
    assert waits.wait(60)
    assert hashes.look() == (0, True)
    assert hashes.look() == (0, True)
    put(landing, 0, len(DATA))
    thread.join(60)
    assert hashes.look() == (len(DATA), True)
    assert hashes.look() == (0, False)


class Waited(Landing):
    """Says when somebody is about to wait."""

    waits: threading.Event

    def wait(self, position: int) -> int:
        self.waits.set()
        return super().wait(position)
