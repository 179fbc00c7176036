"""What is particular to the disk store: its files, names, several repositories, and other people's manifests."""

from __future__ import annotations

import io
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import DigestMismatch, NotFound, ReferenceInvalid, SizeMismatch, StoreUnusable
from installml.reference import LOCAL, Reference
from installml.spec.canonical import canonical
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Index, ManifestInvalid
from installml.spec.media import DOCKER_MANIFEST, IMAGE_INDEX, IMAGE_MANIFEST
from installml.store.disk import DiskRepository, DiskStore
from installml.store.verified import MAX_SMALL, read_manifest, read_verified
from installml.testing import package_bytes, small_package


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def place(store: DiskStore) -> DiskRepository:
    return store.repository("localhost:5000", "acme/sentiment")


def put(place: DiskRepository, data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
    descriptor = Descriptor.of(data, media_type)
    place.push(descriptor, io.BytesIO(data))
    return descriptor


def test_nothing_is_made_before_something_is_pushed(store: DiskStore, place: DiskRepository) -> None:
    assert place.tags() == []
    assert not place.exists(package_bytes().descriptor)
    assert list(store.refs()) == []
    with pytest.raises(NotFound):
        place.resolve("1.0.0")
    assert not store.root.exists()


def test_content_is_named_by_its_digest_and_read_only(store: DiskStore, place: DiskRepository) -> None:
    put(place, b"weights")
    path = store.root / "blobs" / "sha256" / Digest.of(b"weights").hex
    assert path.read_bytes() == b"weights"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert (store.root / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    assert list((store.root / "ingest").iterdir()) == []


def test_content_cut_short_on_disk_is_not_there_and_is_brought_again(store: DiskStore, place: DiskRepository) -> None:
    descriptor = put(place, b"weights")
    path = store.blobs.path(descriptor.digest)
    path.unlink()
    path.write_bytes(b"weig")
    assert not place.exists(descriptor)
    with pytest.raises(SizeMismatch):
        read_verified(place, descriptor)
    put(place, b"weights")
    assert read_verified(place, descriptor) == b"weights"


def test_content_changed_on_disk_is_never_believed(store: DiskStore, place: DiskRepository) -> None:
    packed = package_bytes()
    packed.push(place, "1.0.0")
    path = store.blobs.path(packed.descriptor.digest)
    data = path.read_bytes().replace(b"sentiment", b"sentimenX")
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(DigestMismatch):
        place.manifest(place.resolve("1.0.0"))


def test_a_blob_that_claims_to_be_large_is_not_read_into_memory(place: DiskRepository) -> None:
    with pytest.raises(SizeMismatch):
        read_verified(place, Descriptor("x/y", Digest.of(b""), MAX_SMALL + 1))


def test_repositories_share_content_but_not_names(store: DiskStore, place: DiskRepository) -> None:
    packed = package_bytes()
    packed.push(place, "1.0.0")
    other = store.repository("localhost:5001", "acme/sentiment")
    assert other.exists(packed.content[0][0])
    assert other.tags() == []
    with pytest.raises(NotFound):
        other.resolve("1.0.0")
    other.tag(packed.descriptor, "mine")
    place.untag("1.0.0")
    assert other.resolve("mine") == packed.descriptor


def test_a_tag_is_never_in_the_way_of_a_repository_of_its_name(store: DiskStore) -> None:
    outer, inner = store.repository("localhost:5000", "acme"), store.repository("localhost:5000", "acme/v1")
    one, two = small_package(outer, "v1"), small_package(inner, "v1", version="2.0.0")
    assert (outer.resolve("v1"), inner.resolve("v1")) == (one, two)
    assert (outer.tags(), inner.tags()) == (["v1"], ["v1"])
    outer.untag("v1")
    assert inner.resolve("v1") == two


def test_all_refs_are_listed_with_their_references(store: DiskStore) -> None:
    wanted = {
        Reference(registry, repository, tag)
        for registry in ("localhost:5000", "[::1]:5000", "Registry.Example", LOCAL)
        for repository, tag in (("acme/sentiment", "1.0.0"), ("acme", "Latest"), ("a__b/c---d", "_"))
    }
    for reference in wanted:
        small_package(store.repository(reference.registry, reference.repository), reference.tag)
    assert {ref.reference for ref in store.refs()} == wanted


def test_a_digest_keeps_a_manifest_without_a_tag(store: DiskStore, place: DiskRepository) -> None:
    descriptor = small_package(place)
    place.tag(descriptor, str(descriptor.digest))
    assert place.tags() == []
    (ref,) = store.refs()
    assert ref.reference == Reference("localhost:5000", "acme/sentiment", digest=descriptor.digest)
    place.delete(descriptor)
    assert list(store.refs()) == []


def test_an_emptied_repository_leaves_no_folder(store: DiskStore, place: DiskRepository) -> None:
    small_package(place, "1.0.0")
    place.untag("1.0.0")
    assert list((store.root / "refs").iterdir()) == []


@pytest.mark.parametrize("name", ["../up", "/abs", "UPPER", "a//b", "", ".hidden", "a/../b", "@x"])
def test_a_repository_name_cannot_leave_the_store(store: DiskStore, name: str) -> None:
    with pytest.raises(ReferenceInvalid):
        store.repository("localhost:5000", name)


@pytest.mark.parametrize("missing", ["config", "layer"])
def test_a_manifest_whose_content_is_missing_cannot_be_tagged(place: DiskRepository, missing: str) -> None:
    packed = package_bytes()
    left_out = packed.manifest.config if missing == "config" else packed.manifest.layers[0]
    for descriptor, data in packed.content:
        if descriptor != left_out:
            place.push(descriptor, io.BytesIO(data))
    with pytest.raises(NotFound, match=str(left_out.digest)):
        place.tag(packed.descriptor, "1.0.0")
    assert place.tags() == []


def test_an_index_whose_child_is_missing_cannot_be_tagged(place: DiskRepository) -> None:
    absent = package_bytes().descriptor
    index = put(place, Index((absent,)).to_bytes(), IMAGE_INDEX)
    with pytest.raises(NotFound, match=str(absent.digest)):
        place.tag(index, "all")


def test_what_is_no_manifest_cannot_be_pushed_as_one(place: DiskRepository) -> None:
    with pytest.raises(ManifestInvalid):
        put(place, b'{"schemaVersion":2}', IMAGE_MANIFEST)


@pytest.mark.parametrize("data", [b"{not json", b"{}", b'{"mediaType":[]}', b"[1]", b"", b'{"schemaVersion":1}'])
def test_a_blob_is_not_resolved_as_a_manifest(place: DiskRepository, data: bytes) -> None:
    blob = put(place, data)
    with pytest.raises(NotFound):
        place.resolve(str(blob.digest))


@pytest.mark.parametrize("media_type", [IMAGE_MANIFEST, IMAGE_INDEX, DOCKER_MANIFEST])
def test_a_manifest_that_does_not_say_what_it_is_is_resolved_by_digest(place: DiskRepository, media_type: str) -> None:
    """mediaType is a SHOULD of image-spec; without it the fields tell, docker's always say."""
    packed = package_bytes()
    packed.push(place)
    manifest = Index((packed.descriptor,)) if media_type == IMAGE_INDEX else packed.manifest
    value = manifest.to_json() | {"mediaType": media_type}
    if media_type != DOCKER_MANIFEST:
        del value["mediaType"]
    descriptor = put(place, canonical(value), media_type)
    assert place.resolve(str(descriptor.digest)) == descriptor


def test_a_file_in_the_place_of_the_store_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreUnusable, match="store"):
        small_package(DiskStore(tmp_path / "store").repository("localhost:5000", "x"))


def test_a_repository_that_is_emptied_while_another_thread_tags_it_loses_nothing(place: DiskRepository) -> None:
    """Removing the last tag removes the folder that the other thread is about to write to."""
    descriptor = small_package(place)

    def tag_and_untag(name: str) -> None:
        for _ in range(40):
            place.tag(descriptor, name)
            place.untag(name)
        place.tag(descriptor, name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tag_and_untag, ["a", "b", "c", "d"]))
    assert place.tags() == ["a", "b", "c", "d"]


def test_readers_of_a_moving_tag_see_one_package_or_the_other(place: DiskRepository) -> None:
    both = [small_package(place, "latest", version=f"{i}.0.0") for i in range(2)]
    stop = threading.Event()

    def move() -> None:
        while not stop.is_set():
            for descriptor in both:
                place.tag(descriptor, "latest")

    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(move)
        try:
            seen = {place.resolve("latest") for _ in range(300)}
        finally:
            stop.set()
        moving.result()
    assert seen <= set(both)
    assert read_manifest(place, place.resolve("latest")).kind


def test_a_referrer_is_listed_when_a_crash_came_between_its_content_and_its_entry(
    store: DiskStore, place: DiskRepository
) -> None:
    subject = small_package(place, "1.0.0")
    note = package_bytes(subject=subject, artifact_type="application/vnd.example.note.v1+json")
    for descriptor, data in note.content:
        store.blobs.write(descriptor, io.BytesIO(data))
    assert not place.exists(note.descriptor)
    note.push(place)
    assert place.exists(note.descriptor)
    assert [entry.digest for entry in place.referrers(subject)] == [note.descriptor.digest]
