"""copy: what moves, in which order, and what is left when something fails."""

from __future__ import annotations

import contextlib
import io
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installml.digest import Digest, Readable
from installml.errors import DigestMismatch, IntegrityError, Interrupted, NotFound, SizeMismatch, StoreUnusable
from installml.events import BlobDone, BlobProgress, BlobStarted, Event, Phase
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Index, ManifestInvalid
from installml.spec.media import IMAGE_INDEX
from installml.store.disk import DiskStore
from installml.store.verified import read_manifest, read_verified
from installml.testing import MemoryStore, Packed, package_bytes, small_package
from installml.transfer.copy import MAX_DEPTH, copy

FILES = {f"part-{i}.bin": bytes([i]) * (i * 1000 + 1) for i in range(6)}


class Recording(MemoryStore):
    """Remembers what was done to it, in order."""

    def __init__(self) -> None:
        super().__init__("recording")
        self.done: list[tuple[str, object]] = []

    def push(self, descriptor: Descriptor, content: Readable) -> None:
        super().push(descriptor, content)
        self.done.append(("push", descriptor.digest))

    def tag(self, descriptor: Descriptor, tag: str) -> None:
        super().tag(descriptor, tag)
        self.done.append(("tag", tag))


class Counting(MemoryStore):
    """Counts how often its content is opened."""

    def __init__(self) -> None:
        super().__init__("counting")
        self.opened: Counter[Digest] = Counter()

    @contextlib.contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        self.opened[descriptor.digest] += 1
        with super().fetch(descriptor) as stream:
            yield stream


class Lying(MemoryStore):
    """Gives other bytes than it was given, for one blob."""

    def __init__(self, about: Digest, instead: bytes) -> None:
        super().__init__("lying")
        self._about, self._instead = about, instead

    @contextlib.contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        with super().fetch(descriptor) as stream:
            yield io.BytesIO(self._instead) if descriptor.digest == self._about else stream


def with_package(source: MemoryStore, **how: Any) -> tuple[MemoryStore, Packed]:
    packed = package_bytes(**{"files": FILES, **how})
    packed.push(source)
    return source, packed


def index_of(source: MemoryStore, *children: Descriptor) -> Descriptor:
    data = Index(children).to_bytes()
    descriptor = Descriptor.of(data, IMAGE_INDEX)
    source.push(descriptor, io.BytesIO(data))
    return descriptor


def test_a_package_arrives_whole_and_tagged() -> None:
    source, packed = with_package(MemoryStore())
    destination = MemoryStore()
    copied = copy(source, destination, packed.descriptor, tags=["1.0.0", "latest"])
    assert copied.blobs == {"copied": len(packed.content)}
    assert copied.moved == sum(descriptor.size for descriptor, _ in packed.content)
    assert destination.tags() == ["1.0.0", "latest"]
    assert all(read_verified(destination, descriptor) == data for descriptor, data in packed.content)


def test_what_is_there_is_not_read_from_the_source() -> None:
    source, packed = with_package(Counting())
    destination = MemoryStore()
    copy(source, destination, packed.descriptor, tags=["v1"])
    source.opened.clear()  # type: ignore[attr-defined]
    copied = copy(source, destination, packed.descriptor, tags=["v2"])
    assert copied.blobs == {"exists": len(packed.content)}
    assert copied.moved == 0
    assert source.opened == {}  # type: ignore[attr-defined]
    assert destination.resolve("v2") == packed.descriptor


def test_only_what_is_missing_moves() -> None:
    source, old = with_package(MemoryStore())
    destination = MemoryStore()
    copy(source, destination, old.descriptor)
    new = small_package(source, files={**FILES, "part-0.bin": b"changed"}, version="2.0.0")
    copied = copy(source, destination, new)
    assert copied.blobs == {"exists": len(FILES) - 1, "copied": 3}  # one file, the config and the manifest


def test_every_blob_and_the_manifest_are_opened_once() -> None:
    source, packed = with_package(Counting())
    copy(source, MemoryStore(), packed.descriptor)
    assert source.opened == Counter(descriptor.digest for descriptor, _ in packed.content)  # type: ignore[attr-defined]


def test_blobs_come_before_their_manifest_and_tags_come_last() -> None:
    source, packed = with_package(MemoryStore())
    destination = Recording()
    copy(source, destination, packed.descriptor, tags=["b", "a"])
    assert destination.done[-3:] == [("push", packed.descriptor.digest), ("tag", "b"), ("tag", "a")]
    blobs = {("push", blob.digest) for blob in packed.manifest.blobs}
    assert set(destination.done[:-3]) == blobs


def test_an_index_comes_after_its_children() -> None:
    source, first = with_package(MemoryStore())
    _, second = with_package(source, version="2.0.0")
    index = index_of(source, first.descriptor, second.descriptor)
    destination = Recording()
    copied = copy(source, destination, index, tags=["all"])
    pushes = [digest for what, digest in destination.done if what == "push"]
    assert pushes[-1] == index.digest
    assert destination.done[-1] == ("tag", "all")
    for packed in (first, second):
        at = pushes.index(packed.descriptor.digest)
        assert {blob.digest for blob in packed.manifest.blobs} <= set(pushes[:at])
    assert copied.descriptor == index
    assert read_manifest(destination, destination.resolve("all")).manifests == (first.descriptor, second.descriptor)


def test_what_several_indexes_share_is_moved_once() -> None:
    source, packed = with_package(Counting())
    inner = [index_of(source, packed.descriptor), index_of(source, packed.descriptor, packed.descriptor)]
    root = index_of(source, *inner)
    copied = copy(source, MemoryStore(), root)
    assert copied.blobs == {"copied": len(packed.content) + 3}


def test_indexes_that_never_end_are_refused() -> None:
    source, packed = with_package(MemoryStore())
    root = packed.descriptor
    for _ in range(MAX_DEPTH + 1):
        root = index_of(source, root)
    with pytest.raises(ManifestInvalid, match="nested deeper"):
        copy(source, MemoryStore(), root)


@pytest.mark.parametrize(
    ("instead", "error"),
    [
        (FILES["part-3.bin"][:-1], SizeMismatch),
        (FILES["part-3.bin"] + b"+", SizeMismatch),
        (b"x" * len(FILES["part-3.bin"]), DigestMismatch),
        (b"", SizeMismatch),
    ],
)
def test_a_lying_source_is_caught_and_nothing_is_tagged(instead: bytes, error: type[IntegrityError]) -> None:
    source, packed = with_package(Lying(Digest.of(FILES["part-3.bin"]), instead))
    destination = MemoryStore()
    with pytest.raises(error):
        copy(source, destination, packed.descriptor, tags=["v1"])
    assert destination.tags() == []
    assert not destination.exists(packed.descriptor)
    assert not destination.exists(Descriptor.of(FILES["part-3.bin"], "x/y"))


def test_a_lying_manifest_is_caught_before_any_blob_moves() -> None:
    packed = package_bytes()
    forged = packed.content[-1][1].replace(b"sentiment", b"sentimenX")
    source, _ = with_package(Lying(packed.descriptor.digest, forged), files={})
    packed.push(source)
    destination = Recording()
    with pytest.raises(DigestMismatch):
        copy(source, destination, packed.descriptor)
    assert destination.done == []


def test_a_blob_that_the_source_lacks_is_not_found() -> None:
    source, packed = with_package(MemoryStore())
    source._content.pop(Digest.of(FILES["part-2.bin"]))
    destination = MemoryStore()
    with pytest.raises(NotFound):
        copy(source, destination, packed.descriptor, tags=["v1"])
    assert destination.tags() == []


class OneFails(MemoryStore):
    """One blob cannot be read; another goes on for ever unless somebody stops it."""

    def __init__(self, broken: Digest, endless: Digest | None = None) -> None:
        super().__init__("one fails")
        self._broken, self._endless = broken, endless
        self.failing = threading.Event()
        self.opened: list[Digest] = []

    @contextlib.contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        self.opened.append(descriptor.digest)
        if descriptor.digest == self._broken:
            self.failing.set()
            raise StoreUnusable("the disk is gone")
        if descriptor.digest == self._endless:
            yield Endless(self.failing)
            return
        with super().fetch(descriptor) as stream:
            yield stream


class Endless:
    def __init__(self, other_failed: threading.Event) -> None:
        self._other_failed = other_failed

    def read(self, size: int = -1, /) -> bytes:
        self._other_failed.wait()
        return b"x"


def test_when_one_blob_fails_the_others_stop_and_its_error_is_the_one_that_is_raised() -> None:
    endless = Descriptor("application/octet-stream", Digest.of(b"never arrives"), 1 << 40)
    packed = package_bytes({"a": b"a", "b": b"bb"})
    manifest = packed.manifest
    data = type(manifest)(manifest.config, (*manifest.layers, endless), manifest.artifact_type).to_bytes()
    root = Descriptor.of(data, packed.descriptor.media_type)
    source = OneFails(Digest.of(b"bb"), endless.digest)
    packed.push(source)
    source.push(root, io.BytesIO(data))
    destination = MemoryStore()
    with pytest.raises(StoreUnusable, match="the disk is gone"):
        copy(source, destination, root, tags=["v1"], jobs=2)
    assert destination.tags() == []
    assert not destination.exists(root)


def test_after_a_failure_no_further_blob_is_begun() -> None:
    largest = max(FILES.values(), key=len)
    source, packed = with_package(OneFails(Digest.of(largest)))
    with pytest.raises(StoreUnusable):
        copy(source, MemoryStore(), packed.descriptor, jobs=1)
    assert source.opened == [packed.descriptor.digest, Digest.of(largest)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [Interrupted("stop"), KeyboardInterrupt()])
def test_an_interrupted_copy_leaves_no_tag_and_no_staging(error: BaseException, tmp_path: Path) -> None:
    source, packed = with_package(MemoryStore())
    store = DiskStore(tmp_path)
    destination = store.repository("localhost:5000", "acme/sentiment")

    def interrupt(event: Event) -> None:
        if isinstance(event, BlobProgress):
            raise error

    with pytest.raises(type(error)):
        copy(source, destination, packed.descriptor, tags=["v1"], on_event=interrupt)
    assert destination.tags() == []
    assert list((tmp_path / "ingest").iterdir()) == []
    copy(source, destination, packed.descriptor, tags=["v1"])
    assert destination.resolve("v1") == packed.descriptor


def test_events_tell_every_byte_of_what_moves_and_nothing_of_what_is_there() -> None:
    source, packed = with_package(MemoryStore())
    destination = MemoryStore()
    there = Descriptor.of(FILES["part-1.bin"], "x/y")
    destination.push(there, io.BytesIO(FILES["part-1.bin"]))
    events: list[Event] = []
    copy(source, destination, packed.descriptor, on_event=events.append, phase="pulling")
    moved: Counter[str] = Counter()
    for event in events:
        if isinstance(event, BlobProgress):
            moved[event.digest] += event.advance
    expected = {str(d.digest): d.size for d, _ in packed.content if d.digest != there.digest}
    assert moved == expected
    assert {e.digest for e in events if isinstance(e, BlobStarted)} == set(expected)
    done = {e.digest: e.outcome for e in events if isinstance(e, BlobDone)}
    assert done == dict.fromkeys(expected, "copied") | {str(there.digest): "exists"}
    blobs = packed.manifest.blobs
    assert events[0] == Phase("pulling", count=len(blobs), size=sum(blob.size for blob in blobs))
    assert {e.title for e in events if isinstance(e, BlobDone)} >= set(FILES)


@pytest.mark.parametrize("jobs", [-1, 1, 8])
def test_the_number_of_jobs_changes_nothing_but_the_speed(jobs: int) -> None:
    source, packed = with_package(MemoryStore())
    destination = MemoryStore()
    copied = copy(source, destination, packed.descriptor, tags=["v1"], jobs=jobs)
    assert copied.blobs == {"copied": len(packed.content)}
    assert destination._content == source._content


class Hasher:
    """A hash object that counts what it was given, by the digest that it is to prove."""

    def __init__(self, digest: Digest, counts: Counter[Digest]) -> None:
        self._digest, self._counts = digest, counts
        self._state = _HASHER(digest)

    def update(self, block: bytes) -> None:
        self._counts[self._digest] += len(block)
        self._state.update(block)

    def hexdigest(self) -> str:
        return self._state.hexdigest()


_HASHER = Digest.hasher


def test_no_blob_is_hashed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, packed = with_package(MemoryStore())
    counts: Counter[Digest] = Counter()
    monkeypatch.setattr(Digest, "hasher", lambda digest: Hasher(digest, counts))
    copy(source, DiskStore(tmp_path).repository("localhost:5000", "acme/sentiment"), packed.descriptor, tags=["v1"])
    assert {blob.digest: counts[blob.digest] for blob in packed.manifest.blobs} == {
        blob.digest: blob.size for blob in packed.manifest.blobs
    }


class Mounting(MemoryStore):
    """Can link what a neighbour has."""

    def __init__(self, neighbour: MemoryStore, willing: bool) -> None:
        super().__init__("mounting")
        self._neighbour, self._willing = neighbour, willing
        self.asked: list[Descriptor] = []

    def mount(self, descriptor: Descriptor, origin: object) -> bool:
        self.asked.append(descriptor)
        if self._willing and origin is self._neighbour:
            self._content[descriptor.digest] = self._neighbour._content[descriptor.digest]
            return True
        return False


def test_blobs_of_a_neighbour_are_mounted_and_the_manifest_is_sent() -> None:
    source, packed = with_package(Counting())
    destination = Mounting(source, willing=True)
    copied = copy(source, destination, packed.descriptor, tags=["v1"])
    assert copied.blobs == {"mounted": len(packed.content) - 1, "copied": 1}
    assert source.opened == {packed.descriptor.digest: 1}  # type: ignore[attr-defined]
    assert packed.descriptor not in destination.asked
    assert destination.resolve("v1") == packed.descriptor


def test_what_cannot_be_mounted_is_sent() -> None:
    source, packed = with_package(MemoryStore())
    copied = copy(source, Mounting(source, willing=False), packed.descriptor)
    assert copied.blobs == {"copied": len(packed.content)}


class WriteOnly:
    """A destination that nothing can be read from."""

    def __init__(self) -> None:
        self.inside = MemoryStore()
        self.exists, self.push, self.tag = self.inside.exists, self.inside.push, self.inside.tag


def test_a_destination_that_cannot_be_read_is_written_and_completed() -> None:
    source, packed = with_package(MemoryStore())
    destination = WriteOnly()
    for _ in range(2):
        copy(source, destination, packed.descriptor, tags=["v1"])
    assert destination.inside.resolve("v1") == packed.descriptor


def test_a_referrer_that_another_repository_has_is_listed_in_this_one_too(tmp_path: Path) -> None:
    source = MemoryStore()
    subject = small_package(source)
    referrer = small_package(source, subject=subject, artifact_type="application/vnd.example.note.v1+json")
    store = DiskStore(tmp_path)
    for name in ("one", "two"):
        place = store.repository("localhost:5000", name)
        copy(source, place, subject, tags=["v1"])
        copy(source, place, referrer)
        assert [entry.digest for entry in place.referrers(subject)] == [referrer.digest]
