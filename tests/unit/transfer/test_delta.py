"""The delta by itself: what is vouched for, what is asked, and what a damaged seed gives."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.packing.chunking import index_stream
from installml.spec.chunks import ChunkIndex
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.chunks import PATIENCE
from installml.store.disk import DiskRepository, DiskStore
from installml.store.host import Host
from installml.store.memory import MemoryStore
from installml.testing import Packed, SettableClock, package_bytes
from installml.transfer.delta import LocalDelta, Release, publish_indexes
from installml.transfer.seeds import Seeds
from tests.unit.transfer.weights import MIB, layers, safetensors

OLD = safetensors(layers(3))
NEW = safetensors(layers(3, {"1.q": 1}))


class Silent(MemoryStore):
    """A place that must not be asked about referrers."""

    def referrers(self, descriptor: Descriptor, artifact_type: str = "") -> list[Descriptor]:
        raise AssertionError("asked")


def index_of(data: bytes) -> ChunkIndex:
    return index_stream(io.BytesIO(data), Digest.of(data), len(data))


def release(packed: Packed) -> Release:
    return Release(packed.descriptor, packed.manifest)


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def local(store: DiskStore) -> DiskRepository:
    return store.repository("registry.example.com", "acme/large")


def seeds(store: DiskStore) -> Seeds:
    return Seeds(store, {}, lambda file, blob: index_stream(file, blob.digest, blob.size))


def filled(delta: LocalDelta, local: DiskRepository, data: bytes) -> int:
    blob = Descriptor.of(data, "application/octet-stream")
    with local.assemble(blob, stopped=lambda: False, on_wait=lambda _: None) as assembly:
        assert assembly is not None
        count = delta.fill(blob, assembly)
        assert sum(gap.size for gap in assembly.missing()) == len(data) - count
        return count


def test_an_empty_store_asks_for_nothing(store: DiskStore, local: DiskRepository) -> None:
    source, packed = Silent(), package_bytes({"m.safetensors": NEW})
    delta = LocalDelta(source, release(packed), seeds(store))
    assert filled(delta, local, NEW) == 0
    assert not delta.vouched(Digest.of(NEW))
    assert delta.needed([Descriptor.of(NEW, "x/y")]).size == len(NEW)


def test_what_a_seed_has_is_taken(store: DiskStore, local: DiskRepository) -> None:
    source, packed = MemoryStore(), package_bytes({"m.safetensors": NEW})
    packed.push(source)
    package_bytes({"m.safetensors": OLD}).push(local, "1.0.0")
    publish_indexes(source, release(packed), [index_of(NEW)])
    store.chunks.write(index_of(OLD))
    delta = LocalDelta(source, release(packed), seeds(store))
    assert filled(delta, local, NEW) == len(NEW) - MIB
    assert delta.taken == len(NEW) - MIB


def test_a_damaged_seed_gives_only_what_is_sound_of_it(store: DiskStore, local: DiskRepository) -> None:
    source, packed = MemoryStore(), package_bytes({"m.safetensors": NEW})
    packed.push(source)
    package_bytes({"m.safetensors": OLD}).push(local, "1.0.0")
    publish_indexes(source, release(packed), [index_of(NEW)])
    store.chunks.write(index_of(OLD))
    path = store.blobs.path(Digest.of(OLD))
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"damage")
    assert len(NEW) - 3 * MIB <= filled(LocalDelta(source, release(packed), seeds(store)), local, NEW) < len(NEW) - MIB


def test_a_relative_without_an_index_is_read_once(store: DiskStore, local: DiskRepository) -> None:
    source, packed = MemoryStore(), package_bytes({"m.safetensors": NEW})
    old = package_bytes({"m.safetensors": OLD})
    packed.push(source)
    old.push(local, "1.0.0")
    publish_indexes(source, release(packed), [index_of(NEW)])
    delta = LocalDelta(source, release(packed), seeds(store), relatives=[release(old)])
    assert filled(delta, local, NEW) == len(NEW) - MIB
    assert store.chunks.read(Digest.of(OLD), len(OLD)) == index_of(OLD)


@pytest.mark.parametrize("trusted", [True, False])
def test_an_index_is_vouched_for_by_its_own_digest_only(trusted: bool, store: DiskStore) -> None:
    source, packed = MemoryStore(), package_bytes({"m.safetensors": NEW})
    packed.push(source)
    publish_indexes(source, release(packed), [index_of(NEW)])
    named = Digest.of(index_of(NEW if trusted else OLD).to_bytes())
    delta = LocalDelta(source, release(packed), seeds(store), trusted=[named])
    assert delta.vouched(Digest.of(NEW)) is trusted


def resumed(local: DiskRepository, data: bytes, came: Extent) -> None:
    """Leave a blob of which ``came`` has arrived."""
    with local.assemble(Descriptor.of(data, "x/y"), stopped=lambda: False, on_wait=lambda _: None) as assembly:
        assert assembly is not None
        assembly.write(came.start, data[came.start : came.stop])


def test_a_seed_fills_only_what_an_earlier_attempt_has_not_brought(store: DiskStore, local: DiskRepository) -> None:
    source, packed = MemoryStore(), package_bytes({"m.safetensors": NEW})
    packed.push(source)
    package_bytes({"m.safetensors": OLD}).push(local, "1.0.0")
    publish_indexes(source, release(packed), [index_of(NEW)])
    store.chunks.write(index_of(OLD))
    came = Extent(2 * MIB + 12_345, 6 * MIB + 77)  # chunks are there in part
    resumed(local, NEW, came)
    delta = LocalDelta(source, release(packed), seeds(store))
    blob = Descriptor.of(NEW, "x/y")
    with local.assemble(blob, stopped=lambda: False, on_wait=lambda _: None) as assembly:
        assert assembly is not None
        count = delta.fill(blob, assembly)
        assert count == delta.taken == blob.size - came.size - sum(gap.size for gap in assembly.missing())
        for start, stop in assembly.missing():
            assembly.write(start, NEW[start:stop])
        assembly.publish()
    assert store.blobs.path(blob.digest).read_bytes() == NEW


def test_a_damaged_seed_does_not_spoil_what_came_before(store: DiskStore, local: DiskRepository) -> None:
    source, packed = MemoryStore(), package_bytes({"m.safetensors": NEW})
    packed.push(source)
    package_bytes({"m.safetensors": OLD}).push(local, "1.0.0")
    publish_indexes(source, release(packed), [index_of(NEW)])
    store.chunks.write(index_of(OLD))
    path = store.blobs.path(Digest.of(OLD))
    path.chmod(0o644)
    path.write_bytes(bytes(len(OLD)))
    came = Extent(MIB // 2, len(NEW) - MIB // 2)
    resumed(local, NEW, came)
    blob, buffer = Descriptor.of(NEW, "x/y"), bytearray(came.size)
    with local.assemble(blob, stopped=lambda: False, on_wait=lambda _: None) as assembly:
        assert assembly is not None
        LocalDelta(source, release(packed), seeds(store)).fill(blob, assembly)
        assert Extent(0, came.start) in assembly.missing()
        assert assembly.read(came.start, memoryview(buffer)) == came.size
    assert bytes(buffer) == NEW[came.start : came.stop]


def test_an_index_that_another_process_asks_for_is_waited_for(tmp_path: Path) -> None:
    data = {"m.safetensors": NEW}
    first = DiskStore(tmp_path / "store")
    package_bytes({"m.safetensors": OLD}).push(first.repository("localhost", "x"), "1.0.0")
    first.chunks.write(index_of(OLD))
    with ExitStack() as other:

        def brought(seconds: float) -> None:
            first.chunks.write(index_of(NEW))
            other.close()

        other.enter_context(first.chunks.alone())
        second = DiskStore(tmp_path / "store", host=Host(pause=brought))
        delta = LocalDelta(Silent(), release(package_bytes(data)), seeds(second))
        assert delta.index(Digest.of(NEW)) == index_of(NEW)  # nobody was asked


def test_who_asks_for_an_index_too_long_is_not_waited_for(tmp_path: Path) -> None:
    now = SettableClock(0.0)

    def pause(seconds: float) -> None:
        now.now += seconds

    first = DiskStore(tmp_path / "store")
    second = DiskStore(tmp_path / "store", host=Host(monotonic=now, pause=pause))
    with first.chunks.alone(), second.chunks.alone():
        assert now.now >= PATIENCE
