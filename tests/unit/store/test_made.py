from __future__ import annotations

from pathlib import Path

import pytest

from installml.digest import Digest
from installml.store.disk import DiskStore
from installml.store.gc import collect
from installml.testing import package_bytes

PACKED = package_bytes()
ONE = PACKED.descriptor.digest


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    made = DiskStore(tmp_path / "store")
    made.prepare()
    return made


def test_what_came_from_elsewhere_was_not_made_here(store: DiskStore) -> None:
    PACKED.push(store.repository("local", "acme/sentiment"), "1.0.0")
    assert not store.made.has(ONE)


def test_what_was_noted_is_remembered_by_every_process(store: DiskStore) -> None:
    store.made.add(ONE)
    store.made.add(ONE)
    again = DiskStore(store.root)
    assert again.made.has(ONE)
    assert not again.made.has(Digest.of(b"something else"))


def test_a_collection_takes_the_package_and_leaves_the_mark(store: DiskStore) -> None:
    PACKED.push(store.repository("local", "acme/sentiment"), "1.0.0")
    store.made.add(ONE)
    store.repository("local", "acme/sentiment").delete(PACKED.descriptor)
    collect(store)
    assert store.made.has(ONE)
