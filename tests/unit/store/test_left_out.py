"""What was left out of a package: listed before it shows, forgotten when it is here, never lost between two pulls."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import NotFound
from installml.spec.descriptor import Descriptor
from installml.store.disk import DiskRepository, DiskStore
from installml.store.gc import Damage, collect, verify_store
from installml.store.left_out import LeftOut
from installml.testing import Packed, package_bytes

FILES = {"a.bin": b"a" * 10, "b.bin": b"b" * 20, "c.bin": b"c" * 30}
A, B, C = (Digest.of(data) for data in FILES.values())


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def place(store: DiskStore) -> DiskRepository:
    return store.repository("localhost:5000", "acme/it")


@pytest.fixture
def packed() -> Packed:
    return package_bytes(FILES)


def bring(place: DiskRepository, packed: Packed, *without: Digest) -> Descriptor:
    """Put the package into ``place`` without some of its blobs."""
    for descriptor, data in packed.content:
        if descriptor.digest not in without:
            place.push(descriptor, io.BytesIO(data))
    return packed.descriptor


def lists(store: DiskStore) -> list[Path]:
    return sorted((store.root / "state" / "partial").glob("*"))


def test_a_reference_to_a_package_with_a_hole_is_refused_unless_the_hole_is_listed(
    store: DiskStore, place: DiskRepository, packed: Packed
) -> None:
    root = bring(place, packed, B)
    with pytest.raises(NotFound, match=str(B)):
        place.tag(root, "1")
    store.left_out.add(root.digest, [B])
    place.tag(root, "1")
    assert place.resolve("1") == root.bare()


def test_what_is_here_is_not_listed(store: DiskStore, place: DiskRepository, packed: Packed) -> None:
    root = bring(place, packed, B)
    store.left_out.add(root.digest, [A, B])
    assert store.left_out.of(root.digest) == {B}


def test_a_blob_that_came_is_left_out_no_more(store: DiskStore, place: DiskRepository, packed: Packed) -> None:
    root = bring(place, packed, B)
    store.left_out.add(root.digest, [B])
    bring(place, packed)
    assert store.left_out.of(root.digest) == set()


def test_two_pulls_at_the_same_time_lose_nothing_of_each_other(
    store: DiskStore, place: DiskRepository, packed: Packed
) -> None:
    root = packed.descriptor
    store.left_out.add(root.digest, [B, C])  # one brings a
    store.left_out.add(root.digest, [A, C])  # the other brings b
    bring(place, packed, B, C)
    store.left_out.settle(root.digest, [A])
    assert store.left_out.of(root.digest) == {B, C}
    bring(place, packed, C)
    store.left_out.settle(root.digest, [B])
    assert store.left_out.of(root.digest) == {C}
    assert len(lists(store)) == 1


def test_lists_that_are_merged_are_never_seen_half(store: DiskStore, place: DiskRepository, packed: Packed) -> None:
    digest = bring(place, packed, B, C).digest
    store.left_out.add(digest, [B, C])
    done = threading.Event()

    def merge() -> None:
        for _ in range(100):
            store.left_out.add(digest, [B])
            store.left_out.add(digest, [C])
            store.left_out.settle(digest)
        done.set()

    merging = threading.Thread(target=merge)
    merging.start()
    seen = set()
    while not done.is_set():
        seen.add(store.left_out.of(digest))
    merging.join()
    assert seen <= {frozenset({B, C})}


def test_who_finishes_while_another_brings_the_rest_is_not_refused(
    store: DiskStore, place: DiskRepository, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = bring(place, packed, B)
    store.left_out.add(root.digest, [B])
    ask = LeftOut.of

    def meanwhile(lists: LeftOut, manifest: Digest) -> frozenset[Digest]:
        monkeypatch.undo()
        bring(place, packed)
        lists.settle(manifest)
        return ask(lists, manifest)

    monkeypatch.setattr(LeftOut, "of", meanwhile)
    place.tag(root, "1")
    assert place.resolve("1").digest == root.digest


def test_what_was_brought_and_went_missing_is_damage(store: DiskStore, place: DiskRepository, packed: Packed) -> None:
    root = bring(place, packed, B, C)
    store.left_out.add(root.digest, [A, B, C])
    store.left_out.settle(root.digest, [A])
    place.tag(root, "1")
    assert not any(isinstance(outcome, Damage) for outcome in verify_store(store))
    store.blobs.path(A).unlink()
    assert [d.digest for d in verify_store(store) if isinstance(d, Damage)] == [A]


def test_a_list_is_gone_when_the_package_is_whole(store: DiskStore, place: DiskRepository, packed: Packed) -> None:
    root = bring(place, packed, B)
    store.left_out.add(root.digest, [B])
    bring(place, packed)
    store.left_out.settle(root.digest)
    assert lists(store) == []


def test_a_list_that_cannot_be_read_excuses_nothing(store: DiskStore, place: DiskRepository, packed: Packed) -> None:
    root = bring(place, packed, B)
    path = store.left_out.add(root.digest, [B])
    assert path is not None
    path.write_bytes(b"{")
    with pytest.raises(NotFound):
        place.tag(root, "1")


def test_a_collection_keeps_the_lists_of_what_is_here(store: DiskStore, place: DiskRepository, packed: Packed) -> None:
    root = bring(place, packed, B)
    store.left_out.add(root.digest, [B])
    place.tag(root, "1")
    collect(store)
    assert store.left_out.of(root.digest) == {B}


def test_a_collection_forgets_the_lists_of_what_is_gone(
    store: DiskStore, place: DiskRepository, packed: Packed
) -> None:
    root = bring(place, packed, B)
    path = store.left_out.add(root.digest, [B])
    assert path is not None
    old = path.stat().st_mtime - 3600
    for file in (path, *(p for _, p in store.blobs.digests())):
        os.utime(file, (old, old))
    collect(store)
    assert lists(store) == []


def test_a_collection_keeps_the_list_of_a_pull_that_has_just_begun(store: DiskStore, packed: Packed) -> None:
    store.prepare()
    with store.lease():
        store.left_out.add(packed.descriptor.digest, [B])
        collect(store)
        assert store.left_out.of(packed.descriptor.digest) == {B}


def test_a_dry_collection_changes_no_list(store: DiskStore, place: DiskRepository, packed: Packed) -> None:
    root = bring(place, packed, B)
    store.left_out.add(root.digest, [B])
    bring(place, packed)
    before = lists(store)
    collect(store, dry_run=True)
    assert lists(store) == before != []
