"""Random put, tag, untag, delete, collect and crash on two repositories of one store, against plain dicts."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from installml.digest import Digest, Readable
from installml.errors import NotFound, StoreUnusable
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Index
from installml.spec.media import IMAGE_INDEX
from installml.store.disk import DiskRepository, DiskStore
from installml.store.gc import collect, usage, verify_store
from installml.store.verified import read_manifest, read_verified
from installml.testing import MemoryStore, SettableClock, small_package
from installml.transfer.copy import copy

NAMES = ("acme/one", "acme/one/two")
TAGS = ("latest", "1.0.0", "two")
NOTE = "application/vnd.example.note.v1+json"


class Breaking(MemoryStore):
    """Everything that is put here can be read, until it breaks after some blobs or in the middle of one."""

    def __init__(self) -> None:
        super().__init__("source")
        self.left: float = float("inf")

    @contextlib.contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        self.left -= 1
        with super().fetch(descriptor) as stream:
            yield Half(stream.read(descriptor.size // 2)) if self.left < 0 else stream


class Half:
    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)

    def read(self, size: int = -1, /) -> bytes:
        block = self._stream.read(size)
        if not block:
            raise StoreUnusable("the line went dead")
        return block


def packages() -> tuple[Breaking, list[Descriptor]]:
    """Return packages that share files, an index over two of them, and one that refers to another."""
    source = Breaking()
    made = [
        small_package(source, files={"shared.bin": b"shared" * 50, "own.bin": bytes([i]) * 200}, version=f"{i}.0.0")
        for i in range(3)
    ]
    data = Index(tuple(made[:2])).to_bytes()
    index = Descriptor.of(data, IMAGE_INDEX)
    source.push(index, io.BytesIO(data))
    referrer = small_package(source, files={"note.txt": b"fine"}, subject=made[0], artifact_type=NOTE)
    nested = small_package(source, files={"note.txt": b"signed"}, subject=referrer, artifact_type=NOTE)
    return source, [*made, index, referrer, nested]


SOURCE, POOL = packages()
SUBJECTS = {d.digest: s.digest for d in POOL if (s := read_manifest(SOURCE, d).subject) is not None}
BY_DIGEST = {descriptor.digest: descriptor for descriptor in POOL}


def _below(root: Descriptor) -> set[Digest]:
    manifest = read_manifest(SOURCE, root)
    found = {root.digest, *(blob.digest for blob in manifest.blobs)}
    return found.union(*(_below(child) for child in manifest.manifests))


BELOW = {root.digest: _below(root) for root in POOL}


def below(root: Descriptor) -> set[Digest]:
    """Return all that ``root`` names, itself included."""
    return BELOW[root.digest]


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.clock = SettableClock(time.time())
        self.store = DiskStore(self.root, clock=self.clock)
        self.tags: dict[str, dict[str, Descriptor]] = {name: {} for name in NAMES}
        self.listed: dict[str, set[Digest]] = {name: set() for name in NAMES}
        self.lease: contextlib.AbstractContextManager[None] | None = None
        self.under_lease: set[Digest] = set()

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self.let_go()
            shutil.rmtree(self.root)

    def let_go(self) -> None:
        if self.lease is not None:
            self.lease.__exit__(None, None, None)
            self.lease = None
            self.under_lease.clear()

    def on_disk(self) -> set[Digest]:
        return {digest for digest, _ in self.store.blobs.digests()}

    def needed(self) -> set[Digest]:
        found: set[Digest] = set()
        for tags in self.tags.values():
            found = found.union(*(below(descriptor) for descriptor in tags.values()))
        listed = set().union(*self.listed.values())
        while more := {r for r in listed if SUBJECTS[r] in found and not below(BY_DIGEST[r]) <= found}:
            found = found.union(*(below(BY_DIGEST[r]) for r in more))
        return found

    def pushed(self, name: str, root: Descriptor) -> None:
        if root.digest in SUBJECTS:
            self.listed[name].add(root.digest)
        self.used(root)

    def used(self, root: Descriptor) -> None:
        if self.lease is not None:
            self.under_lease |= below(root)

    @rule(name=st.sampled_from(NAMES), root=st.sampled_from(POOL), tags=st.lists(st.sampled_from(TAGS), max_size=2))
    def put(self, name: str, root: Descriptor, tags: list[str]) -> None:
        copy(SOURCE, self.store.repository("localhost:5000", name), root, tags=tags, jobs=1)
        self.tags[name] |= dict.fromkeys(tags, root)
        self.pushed(name, root)

    @rule(name=st.sampled_from(NAMES), root=st.sampled_from(POOL), tag=st.sampled_from(TAGS), blobs=st.integers(0, 8))
    def crash(self, name: str, root: Descriptor, tag: str, blobs: int) -> None:
        SOURCE.left = blobs
        (self.root / "ingest").mkdir(parents=True, exist_ok=True)
        (self.root / "ingest" / f"left-{blobs}.host-1-abcdef").write_bytes(b"half")
        try:
            copy(SOURCE, self.store.repository("localhost:5000", name), root, tags=[tag], jobs=1)
        except StoreUnusable:
            return
        finally:
            SOURCE.left = float("inf")
        self.tags[name][tag] = root
        self.pushed(name, root)

    @rule(name=st.sampled_from(NAMES), root=st.sampled_from(POOL), tag=st.sampled_from(TAGS))
    def tag_what_is_there(self, name: str, root: Descriptor, tag: str) -> None:
        repository = self.store.repository("localhost:5000", name)
        if below(root) <= self.on_disk() and root.digest in {*self.listed[name], *(d.digest for d in POOL[:4])}:
            repository.tag(root, tag)
            self.tags[name][tag] = root
            self.used(root)
        else:
            with pytest.raises(NotFound):
                repository.tag(root, tag)

    @rule(name=st.sampled_from(NAMES), tag=st.sampled_from(TAGS))
    def untag(self, name: str, tag: str) -> None:
        repository = self.store.repository("localhost:5000", name)
        if tag in self.tags[name]:
            repository.untag(tag)
            del self.tags[name][tag]
        else:
            with pytest.raises(NotFound):
                repository.untag(tag)

    @rule(name=st.sampled_from(NAMES), root=st.sampled_from(POOL))
    def delete(self, name: str, root: Descriptor) -> None:
        repository = self.store.repository("localhost:5000", name)
        if root.digest not in self.on_disk():
            with pytest.raises(NotFound):
                repository.delete(root)
            return
        repository.delete(root)
        self.tags[name] = {tag: kept for tag, kept in self.tags[name].items() if kept != root}
        self.listed[name].discard(root.digest)

    @precondition(lambda self: self.lease is None)
    @rule()
    def begin_work(self) -> None:
        self.clock.now = time.time()
        self.lease = self.store.lease()
        self.lease.__enter__()

    @precondition(lambda self: self.lease is not None)
    @rule()
    def end_work(self) -> None:
        self.let_go()

    @rule(dry_run=st.booleans())
    def gc(self, dry_run: bool) -> None:
        self.clock.now = time.time() + 10
        before, needed = self.on_disk(), self.needed()
        done = collect(self.store, dry_run=dry_run)
        gone = set(done.blobs)
        assert gone & needed == set()
        assert gone & self.under_lease == set()
        assert self.on_disk() == before - (set() if dry_run else gone)
        if self.lease is None:
            assert gone == before - needed
        if dry_run:
            return
        left = self.on_disk()
        for name in NAMES:
            self.listed[name] &= left
        if self.lease is None:
            assert list((self.root / "ingest").glob("*")) == []
            assert usage(self.store).blobs == usage(self.store).reachable

    @invariant()
    def every_tag_names_what_the_model_says_and_it_is_whole(self) -> None:
        for name, tags in getattr(self, "tags", {}).items():
            repository = self.store.repository("localhost:5000", name)
            assert repository.tags() == sorted(tags)
            for tag, root in tags.items():
                assert repository.resolve(tag) == root
                self.is_whole(repository, root)

    def is_whole(self, place: DiskRepository, root: Descriptor) -> None:
        manifest = read_manifest(place, root)
        for blob in manifest.blobs:
            assert len(read_verified(place, blob)) == blob.size
        for child in manifest.manifests:
            self.is_whole(place, child)

    @invariant()
    def referrers_are_those_that_were_put(self) -> None:
        for name, listed in getattr(self, "listed", {}).items():
            repository = self.store.repository("localhost:5000", name)
            for subject in POOL:
                found = {entry.digest for entry in repository.referrers(subject, NOTE)}
                assert found == {r for r in listed if SUBJECTS[r] == subject.digest}

    @invariant()
    def nothing_is_damaged(self) -> None:
        if hasattr(self, "store"):
            assert all(isinstance(found, Digest) for found in verify_store(self.store))


StoreMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestStoreMachine = StoreMachine.TestCase


def test_the_pool_has_what_the_machine_needs() -> None:
    assert len(below(POOL[0]) & below(POOL[1])) == 1
    assert len(SUBJECTS) == 2
