"""What a collection keeps, what it removes, and what a check of the store finds."""

from __future__ import annotations

import io
import os
import socket
import time
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import NotFound, StoreUnusable
from installml.spec.canonical import canonical
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Index, Manifest
from installml.spec.media import IMAGE_INDEX, IMAGE_MANIFEST, MODEL_CONFIG, Role, layer_media_type
from installml.store.disk import DiskRepository, DiskStore
from installml.store.gc import Damage, collect, usage, verify_store
from installml.store.host import process_alive
from installml.testing import SettableClock, package_bytes, small_package

NOTE = "application/vnd.example.note.v1+json"


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(time.time())


@pytest.fixture
def store(tmp_path: Path, clock: SettableClock) -> DiskStore:
    return DiskStore(tmp_path / "store", clock=clock)


@pytest.fixture
def place(store: DiskStore) -> DiskRepository:
    return store.repository("localhost:5000", "acme/sentiment")


def later(clock: SettableClock) -> None:
    clock.now = time.time() + 10


def held(store: DiskStore) -> set[Digest]:
    return {digest for digest, _ in store.blobs.digests()}


def test_what_no_tag_needs_goes_and_what_one_needs_stays(
    store: DiskStore, place: DiskRepository, clock: SettableClock
) -> None:
    kept = package_bytes(version="1.0.0")
    gone = package_bytes({"README.md": b"# sentiment\n", "other.bin": b"only here"}, version="2.0.0")
    kept.push(place, "1.0.0")
    gone.push(place)
    later(clock)
    collected = collect(store)
    only = {d.digest for d, _ in gone.content} - {d.digest for d, _ in kept.content}
    assert set(collected.blobs) == only
    assert collected.freed == sum(len(data) for d, data in gone.content if d.digest in only)
    assert held(store) == {d.digest for d, _ in kept.content}


def test_a_dry_run_names_what_would_go_and_removes_nothing(
    store: DiskStore, place: DiskRepository, clock: SettableClock
) -> None:
    package_bytes().push(place)
    (store.root / "ingest" / "left.host-1-abcd").write_bytes(b"half")
    later(clock)
    before = held(store)
    planned = collect(store, dry_run=True)
    assert held(store) == before
    done = collect(store)
    assert (planned.blobs, planned.staging, planned.freed) == (done.blobs, done.staging, done.freed)
    assert set(done.blobs) == before


def test_a_dry_run_under_a_lease_plans_nothing_that_the_lease_keeps(store: DiskStore, place: DiskRepository) -> None:
    with store.lease():
        package_bytes().push(place)
        assert collect(store, dry_run=True).blobs == ()


def test_an_index_keeps_its_children(store: DiskStore, place: DiskRepository, clock: SettableClock) -> None:
    child = package_bytes()
    child.push(place)
    data = Index((child.descriptor,)).to_bytes()
    index = Descriptor.of(data, IMAGE_INDEX)
    place.push(index, io.BytesIO(data))
    place.tag(index, "all")
    later(clock)
    assert collect(store).blobs == ()


def test_referrers_live_and_die_with_their_subject(
    store: DiskStore, place: DiskRepository, clock: SettableClock
) -> None:
    subject = small_package(place, "1.0.0")
    note = small_package(place, subject=subject, artifact_type=NOTE)
    note_on_note = small_package(place, subject=note, artifact_type=NOTE)
    later(clock)
    assert collect(store).blobs == ()
    place.untag("1.0.0")
    assert {subject.digest, note.digest, note_on_note.digest} <= set(collect(store).blobs)
    assert place.referrers(subject) == []
    assert list((store.root / "refs").rglob("*")) == []


def test_a_manifest_that_is_also_a_layer_elsewhere_keeps_what_it_names(
    store: DiskStore, place: DiskRepository, clock: SettableClock
) -> None:
    inner = package_bytes({"inner.bin": b"inner"}, name="inner")
    inner.push(place, "inner")
    data = inner.content[-1][1]
    layer = Descriptor.of(data, layer_media_type(Role.DOC))
    config = Descriptor.of(b"{}", MODEL_CONFIG)
    place.push(config, io.BytesIO(b"{}"))
    outer = Manifest(config, (layer,)).to_bytes()
    place.push(Descriptor.of(outer, IMAGE_MANIFEST), io.BytesIO(outer))
    index = Index((Descriptor.of(outer, IMAGE_MANIFEST), inner.descriptor)).to_bytes()
    place.push(Descriptor.of(index, IMAGE_INDEX), io.BytesIO(index))
    place.tag(Descriptor.of(index, IMAGE_INDEX), "both")
    place.untag("inner")
    later(clock)
    collect(store)
    assert {d.digest for d, _ in inner.content} <= held(store)


def test_installed_manifests_keep_their_content_without_any_tag(
    store: DiskStore, place: DiskRepository, clock: SettableClock
) -> None:
    installed = small_package(place)
    later(clock)
    assert collect(store, [installed]).blobs == ()
    assert collect(store).blobs != ()


def test_content_that_something_else_links_frees_nothing(
    store: DiskStore, place: DiskRepository, clock: SettableClock, tmp_path: Path
) -> None:
    packed = package_bytes({"model.bin": b"weights" * 100})
    packed.push(place)
    os.link(store.blobs.path(Digest.of(b"weights" * 100)), tmp_path / "installed")
    later(clock)
    assert collect(store).freed == sum(len(data) for _, data in packed.content) - 700


def test_unfinished_content_goes_unless_somebody_works(
    store: DiskStore, place: DiskRepository, clock: SettableClock
) -> None:
    with store.lease():
        left = store.root / "ingest" / "tree-abc.host-1-abcd" / "sub"
        left.mkdir(parents=True)
        (left / "file").write_bytes(b"12345")
        left.chmod(0o555)
        later(clock)
        assert collect(store).staging == 0
        assert usage(store).staging > 5
    done = collect(store)
    assert (done.staging, done.freed) == (1, 5)
    assert list((store.root / "ingest").iterdir()) == []


def test_names_that_are_no_digests_are_left_alone(store: DiskStore, clock: SettableClock) -> None:
    store.prepare()
    odd = [store.root / "blobs" / "sha256" / "notes.txt", store.root / "blobs" / "sha1" / ("0" * 64)]
    odd.append(store.root / "blobs" / "sha256" / ("0" * 128))
    for path in odd:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    later(clock)
    assert collect(store).blobs == ()
    assert all(path.exists() for path in odd)


def test_nothing_to_collect_in_a_store_that_does_not_exist(store: DiskStore) -> None:
    assert collect(store).blobs == ()
    assert list(verify_store(store)) == []
    assert usage(store).blobs == 0


def test_usage_tells_what_is_needed(store: DiskStore, place: DiskRepository) -> None:
    kept = package_bytes({"a.bin": b"a" * 100})
    kept.push(place, "1.0.0")
    stray = Descriptor.of(b"b" * 50, "x/y")
    place.push(stray, io.BytesIO(b"b" * 50))
    size = sum(len(data) for _, data in kept.content)
    assert (usage(store).blobs, usage(store).reachable, usage(store).staging) == (size + 50, size, 0)


# -- leases -------------------------------------------------------------------------------------------------------


def write_lease(store: DiskStore, **holder: object) -> Path:
    path = store.root / "ingest" / "lease.other"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(canonical(holder))
    return path


def dead_pid() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_a_lease_keeps_what_was_written_since_it_began(
    store: DiskStore, place: DiskRepository, clock: SettableClock
) -> None:
    stray = Descriptor.of(b"new", "x/y")
    with store.lease():
        place.push(stray, io.BytesIO(b"new"))
        later(clock)
        assert collect(store).blobs == ()
    assert collect(store).blobs == (stray.digest,)


def test_a_lease_keeps_old_content_that_is_wanted_again(
    store: DiskStore, place: DiskRepository, clock: SettableClock
) -> None:
    wanted, unwanted = Descriptor.of(b"wanted", "x/y"), Descriptor.of(b"unwanted", "x/y")
    for descriptor, data in ((wanted, b"wanted"), (unwanted, b"unwanted")):
        place.push(descriptor, io.BytesIO(data))
        os.utime(store.blobs.path(descriptor.digest), (1_000_000, 1_000_000))
    with store.lease():
        assert place.exists(wanted)
        later(clock)
        assert collect(store).blobs == (unwanted.digest,)
        assert place.exists(wanted)


def test_content_that_is_wanted_in_the_last_moment_comes_back(store: DiskStore, place: DiskRepository) -> None:
    """Between the look at its time and its removal somebody asks for it."""
    wanted = Descriptor.of(b"wanted", "x/y")
    place.push(wanted, io.BytesIO(b"wanted"))
    floor = time.time() - 100
    os.utime(store.blobs.path(wanted.digest), (floor - 1, floor - 1))
    looked = store.blobs.stale

    def look_and_lose(digest: Digest, older_than: float) -> bool:
        answer = looked(digest, older_than)
        assert place.exists(wanted)
        return answer

    store.blobs.stale = look_and_lose  # type: ignore[method-assign]
    assert not store.blobs.remove(wanted.digest, older_than=floor)
    assert place.exists(wanted)
    assert list((store.root / "ingest").iterdir()) == []


def test_the_oldest_lease_counts(store: DiskStore, clock: SettableClock) -> None:
    first = int(clock.now)
    with store.lease():
        clock.advance(1000)
        with store.lease():
            assert store.lease_floor() == first


def test_the_lease_of_a_process_that_is_gone_counts_no_more(store: DiskStore, clock: SettableClock) -> None:
    path = write_lease(store, host=socket.gethostname(), pid=dead_pid(), since=1)
    assert store.lease_floor() == clock.now
    assert not path.exists()


def test_the_lease_of_a_living_process_counts(store: DiskStore) -> None:
    path = write_lease(store, host=socket.gethostname(), pid=os.getppid(), since=1)
    assert store.lease_floor() == 1
    assert path.exists()


def test_the_lease_of_another_host_counts_for_a_day(store: DiskStore, clock: SettableClock) -> None:
    path = write_lease(store, host="elsewhere", pid=1, since=1)
    assert store.lease_floor() == 1
    clock.advance(24 * 3600 + 60)
    assert store.lease_floor() == clock.now
    assert not path.exists()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"host":1,"pid":"x"}', b"\xff", b'{"host":"h","pid":1,"since":1e9}']
)
def test_a_lease_that_cannot_be_read_keeps_everything_for_a_day(
    store: DiskStore, clock: SettableClock, data: bytes
) -> None:
    path = write_lease(store)
    path.write_bytes(data)
    assert store.lease_floor() == 0
    clock.advance(24 * 3600 + 60)
    assert store.lease_floor() == clock.now


def test_process_numbers() -> None:
    assert process_alive(os.getpid())
    assert process_alive(1)
    assert not process_alive(dead_pid())
    assert not process_alive(0)
    assert not process_alive(-1)


# -- verify -------------------------------------------------------------------------------------------------------


def test_a_sound_store_has_no_damage(store: DiskStore, place: DiskRepository) -> None:
    packed = package_bytes()
    packed.push(place, "1.0.0")
    assert set(verify_store(store)) == {d.digest for d, _ in packed.content}


def damage(store: DiskStore, digest: Digest, data: bytes | None) -> None:
    path = store.blobs.path(digest)
    path.unlink()
    if data is not None:
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"weightX", "gave sha256:"), (b"weigh", "gave sha256:"), (b"", "gave sha256:"), (None, "is missing")],
)
def test_damage_names_the_packages_that_need_it(
    store: DiskStore, place: DiskRepository, data: bytes | None, reason: str
) -> None:
    packed = package_bytes({"model.bin": b"weights"})
    packed.push(place, "1.0.0", "latest")
    weights = Digest.of(b"weights")
    damage(store, weights, data)
    found = [entry for entry in verify_store(store) if isinstance(entry, Damage)]
    assert [entry.digest for entry in found] == [weights]
    assert reason in found[0].reason
    assert found[0].needed_by == (
        "localhost:5000/acme/sentiment:1.0.0",
        "localhost:5000/acme/sentiment:latest",
    )


@pytest.mark.parametrize("cut", [0, 10])
def test_a_damaged_manifest_is_found_and_nothing_is_collected_meanwhile(
    store: DiskStore, place: DiskRepository, clock: SettableClock, cut: int
) -> None:
    packed = package_bytes()
    packed.push(place, "1.0.0")
    damage(store, packed.descriptor.digest, packed.content[-1][1][:cut])
    found = [entry for entry in verify_store(store) if isinstance(entry, Damage)]
    assert [entry.digest for entry in found] == [packed.descriptor.digest]
    assert found[0].needed_by == ("localhost:5000/acme/sentiment:1.0.0",)
    later(clock)
    with pytest.raises(Exception, match="bytes"):
        collect(store)
    assert len(held(store)) == len(packed.content)


def test_a_missing_manifest_is_damage(store: DiskStore, place: DiskRepository) -> None:
    packed = package_bytes()
    packed.push(place, "1.0.0")
    damage(store, packed.descriptor.digest, None)
    found = [entry for entry in verify_store(store) if isinstance(entry, Damage)]
    assert [(entry.digest, entry.reason) for entry in found] == [(packed.descriptor.digest, "is missing")]


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b'{"mediaType":"a/b","digest":"x","size":1}'])
def test_a_damaged_ref_is_named_and_nothing_is_collected(
    store: DiskStore, place: DiskRepository, clock: SettableClock, data: bytes
) -> None:
    package_bytes().push(place, "1.0.0")
    ref = place.folder / "@1.0.0"
    ref.write_bytes(data)
    later(clock)
    with pytest.raises(StoreUnusable, match=r"@1\.0\.0"):
        collect(store)
    with pytest.raises(StoreUnusable):
        place.resolve("1.0.0")
    place.untag("1.0.0")
    with pytest.raises(NotFound):
        place.resolve("1.0.0")
