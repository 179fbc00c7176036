"""Installed models: the record is the one step, and no order of two processes leaves half a model."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import NotFound, StoreUnusable
from installml.reference import LOCAL, Reference
from installml.spec.descriptor import Descriptor
from installml.spec.media import IMAGE_MANIFEST
from installml.store.installed import InstalledStore, Record

ONE = Descriptor(IMAGE_MANIFEST, Digest.of(b"one"), 3)
TWO = Descriptor(IMAGE_MANIFEST, Digest.of(b"two"), 3)
REFERENCE = Reference("registry.example:5000", "acme/sentiment", "1.0.0")


def adopt(store: InstalledStore, descriptor: Descriptor, reference: Reference = REFERENCE) -> Record:
    """Lay out a tree and bring it to its place, as an installation does before its last step."""
    with store.staging(descriptor) as staging:
        (staging / "sub").mkdir(parents=True)
        (staging / "sub" / "file").write_bytes(descriptor.digest.hex.encode())
        (staging / "sub").chmod(0o555)
        staging.chmod(0o555)
        tree = store.adopt(staging, store.place(reference, "1.0.0"), descriptor)
    return Record(reference, "sentiment", "1.0.0", descriptor, tree, 64, "test")


def install(store: InstalledStore, descriptor: Descriptor, reference: Reference = REFERENCE) -> Record:
    record = adopt(store, descriptor, reference)
    store.record(record)
    return record


@pytest.fixture
def store(tmp_path: Path) -> InstalledStore:
    return InstalledStore(tmp_path)


@pytest.mark.parametrize(
    "reference",
    [
        REFERENCE,
        Reference(LOCAL, "sentiment", "1.0.0"),
        Reference("[::1]:5000", "a/b/c", "1.0.0", Digest.of(b"one")),
        Reference("registry.example", "acme/sentiment"),
    ],
    ids=str,
)
def test_a_record_comes_back_as_it_was_written(store: InstalledStore, reference: Reference) -> None:
    record = replace(
        adopt(store, ONE, reference),
        variant="gpu", signers=("alice", "bob"), linked="hardlink", installed_at=1_700_000_000, runtime="ab" * 32,
        python="/somewhere/python", allow_unsigned=True,
    )  # fmt: skip
    store.record(record)
    assert list(store.records()) == [record]
    assert store.find(reference) == [record]


def test_an_upgrade_takes_the_place_of_what_it_replaces(store: InstalledStore) -> None:
    old, new = install(store, ONE), install(store, TWO)
    assert list(store.records()) == [new]
    assert not old.path.exists()
    assert (new.path / "sub" / "file").read_bytes() == TWO.digest.hex.encode()


def test_until_the_record_is_written_the_old_version_is_in_use(store: InstalledStore) -> None:
    old = install(store, ONE)
    adopt(store, TWO)
    assert list(store.records()) == [old]
    assert (old.path / "sub" / "file").exists()


def test_installing_the_same_again_changes_nothing(store: InstalledStore) -> None:
    first = install(store, ONE)
    inode = first.path.stat().st_ino
    assert install(store, ONE) == first
    assert first.path.stat().st_ino == inode
    assert list((store.root / "ingest").iterdir()) == []


@pytest.mark.parametrize("order", ["one first", "two first"])
def test_two_installations_of_different_content_leave_the_last_one_whole(store: InstalledStore, order: str) -> None:
    """Both have their tree in place before either has written its record."""
    records = [adopt(store, ONE), adopt(store, TWO)]
    if order == "two first":
        records.reverse()
    for record in records:
        store.record(record)
    (used,) = store.records()
    assert used == records[-1]
    assert (used.path / "sub" / "file").read_bytes() == used.descriptor.digest.hex.encode()
    assert not records[0].path.exists()


def test_eight_threads_install_one_model(store: InstalledStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(lambda _: install(store, ONE), range(8)))
    assert list(store.records()) == records[:1]
    assert (records[0].path / "sub" / "file").read_bytes() == ONE.digest.hex.encode()
    assert list((store.root / "ingest").iterdir()) == []


def test_trees_that_no_record_names_are_swept_when_they_are_old(store: InstalledStore) -> None:
    kept, stray = install(store, ONE), adopt(store, TWO)
    os.utime(stray.path, (1000, 1000))
    os.utime(kept.path, (1000, 1000))
    assert store.sweep(older_than=1000) == 0
    assert store.sweep(older_than=1001) == 1
    assert not stray.path.exists()
    assert list(store.records()) == [kept]


def test_a_stray_tree_that_is_wanted_again_is_not_swept(store: InstalledStore) -> None:
    stray = adopt(store, ONE)
    os.utime(stray.path, (1000, 1000))
    record = adopt(store, ONE)
    assert store.sweep(older_than=2000) == 0
    store.record(record)
    assert list(store.records()) == [record]


def test_a_place_without_a_record_goes_with_its_stray_tree(store: InstalledStore) -> None:
    stray = adopt(store, ONE)
    os.utime(stray.path, (1000, 1000))
    assert store.sweep(older_than=2000) == 1
    assert list(store.folder.rglob("*")) == []


def test_removing_leaves_nothing_and_says_not_found_afterwards(store: InstalledStore) -> None:
    record = install(store, ONE)
    store.remove(record)
    assert list(store.records()) == []
    assert list(store.folder.iterdir()) == []
    with pytest.raises(NotFound):
        store.read(record.path.parent)
    store.remove(record)


def test_removing_one_version_keeps_the_others(store: InstalledStore) -> None:
    install(store, ONE)
    other = Reference("registry.example:5000", "acme/sentiment/large", "1.0.0")
    kept = install(store, TWO, other)
    store.remove(store.find(REFERENCE)[0])
    assert list(store.records()) == [kept]


def test_its_owner_may_upgrade_and_remove_a_read_only_tree(open_folder: Path, as_nobody: Callable[..., None]) -> None:
    def work() -> None:
        store = InstalledStore(open_folder)
        install(store, ONE)
        record = install(store, TWO)
        assert (record.path / "sub" / "file").exists()
        assert record.path.stat().st_mode & 0o777 == 0o555
        store.remove(record)
        assert list(open_folder.rglob("sha256-*")) == []

    as_nobody(work)


def test_a_record_whose_tree_is_gone_is_not_installed(store: InstalledStore) -> None:
    record = install(store, ONE)
    record.path.rename(store.root / "elsewhere")
    assert list(store.records()) == []
    with pytest.raises(NotFound):
        store.read(record.path.parent)


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b"{}", b'{"tree":"../../../etc"}'])
def test_a_damaged_record_is_named(store: InstalledStore, data: bytes) -> None:
    record = install(store, ONE)
    path = record.path.parent / "record.json"
    path.write_bytes(data)
    with pytest.raises(StoreUnusable, match=r"record\.json is damaged"):
        store.read(record.path.parent)
    store.record(record)
    assert list(store.records()) == [record]


def test_a_tree_that_leaves_its_place_is_refused(store: InstalledStore) -> None:
    record = install(store, ONE)
    path = record.path.parent / "record.json"
    path.write_bytes(path.read_bytes().replace(record.path.name.encode(), b"../../../../../etc"))
    with pytest.raises(StoreUnusable, match="tree"):
        store.read(record.path.parent)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("acme/sentiment", True),
        ("acme/sentiment:1.0.0", True),
        ("acme/sentiment:latest", True),
        ("acme/sentiment:2.0.0", False),
        ("registry.example:5000/acme/sentiment", True),
        ("other.example/acme/sentiment", False),
        (f"acme/sentiment@{ONE.digest}", True),
        (f"acme/sentiment@{TWO.digest}", False),
        ("sentiment", False),
    ],
)
def test_what_a_reference_may_mean(store: InstalledStore, wanted: str, found: bool) -> None:
    install(store, ONE, REFERENCE.with_tag("latest"))
    assert bool(store.find(Reference.parse(wanted))) is found


def test_the_newest_installation_is_found_first(store: InstalledStore) -> None:
    for number, name in enumerate(("one.example", "two.example", "three.example")):
        reference = Reference(name, "sentiment", "1.0.0")
        store.record(replace(adopt(store, ONE, reference), installed_at=number))
    found = store.find(Reference.parse("sentiment"))
    assert [record.reference.registry for record in found] == ["three.example", "two.example", "one.example"]


def test_a_staging_folder_goes_when_the_work_fails(store: InstalledStore) -> None:
    def fail_half_way() -> None:
        with store.staging(ONE) as staging:
            staging.mkdir()
            (staging / "half").write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert list((store.root / "ingest").iterdir()) == []
