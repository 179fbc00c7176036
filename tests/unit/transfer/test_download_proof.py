"""download: no byte is used that was not compared, and what is wrong is fetched once more or refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import DigestMismatch, SizeMismatch
from installml.events import BlobChecked, BlobProgress, BlobStarted
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.protocol import Assembly

from .pulls import (
    BIG,
    OTHER,
    PART,
    SMALL,
    TIMED,
    TUNING,
    Knowing,
    NoRanges,
    Pull,
    Seconds,
    Store,
    break_off,
    damaged,
    first_only,
    flip,
    interrupted,
    name,
)
from .shelf import BLOCK, Piece, Shelf, descriptor_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_wrong_bytes_are_refused_and_nothing_of_them_is_left(store: Store) -> None:
    with pytest.raises(DigestMismatch, match=r"registry\.example"):
        Pull(damaged(None), store).run(BIG)
    assert not store.holds(BIG)
    assert store.staged() == []


def test_wrong_bytes_of_a_small_blob_are_refused(store: Store) -> None:
    source = Shelf(SMALL[0])
    source.content[descriptor_of(SMALL[0]).digest] = flip(SMALL[0], 5)
    with pytest.raises(DigestMismatch):
        Pull(source, store).run(SMALL[0])
    assert not store.holds(SMALL[0])


def test_with_an_index_only_the_wrong_chunk_is_fetched_again(store: Store) -> None:
    source = damaged(1)
    pull = Pull(source, store, delta=Knowing(BIG, vouched=False)).run(BIG)
    assert store.holds(BIG)
    assert source.extents[-1] == Extent(540_000, 570_000)
    assert pull.moved() == {name(BIG): len(BIG)}
    assert sum(event.advance for event in pull.events if isinstance(event, BlobChecked)) == len(BIG)


def test_a_chunk_that_stays_wrong_is_refused(store: Store) -> None:
    source = damaged(None)
    with pytest.raises(DigestMismatch):
        Pull(source, store, delta=Knowing(BIG, vouched=False)).run(BIG)
    assert store.staged() == []


def test_an_index_that_lies_changes_nothing(store: Store) -> None:
    """It belongs to other bytes: the blob's own digest decides."""
    lying = Knowing(BIG, vouched=False)
    lying._index = replace(lying._index, digests=bytes(len(lying._index.digests)))
    Pull(Shelf(BIG), store, delta=lying).run(BIG)
    assert store.holds(BIG)


def test_wrong_local_bytes_are_fetched_instead(store: Store) -> None:
    source = Shelf(BIG)
    helper = Knowing(BIG, vouched=False, local=bytes(300_000))
    helper._index = replace(helper._index, blob=Digest.of(b"another"))
    Pull(source, store, delta=helper).run(BIG)
    assert store.holds(BIG)


def test_right_local_bytes_are_not_fetched(store: Store) -> None:
    source = Shelf(BIG)
    pull = Pull(source, store, delta=Knowing(BIG, vouched=False, local=BIG[:300_000])).run(BIG)
    assert min(source.extents) == Extent(300_000, 400_000)
    assert store.holds(BIG)
    assert next(event for event in pull.events if isinstance(event, BlobStarted)).done == 300_000


def test_chunks_that_are_vouched_for_are_compared_as_they_land(store: Store) -> None:
    pull = Pull(Shelf(BIG), store, delta=Knowing(BIG, vouched=True)).run(BIG)
    assert store.holds(BIG)
    assert pull.of(BlobChecked) == []
    assert not next(event for event in pull.events if isinstance(event, BlobStarted)).checked
    assert pull.moved() == {name(BIG): len(BIG)}


def test_a_wrong_chunk_is_fetched_once_more_and_nothing_else(store: Store) -> None:
    source = damaged(1)
    Pull(source, store, delta=Knowing(BIG, vouched=True)).run(BIG)
    assert store.holds(BIG)
    assert Extent(540_000, 570_000) in source.extents
    assert sum(extent.size for extent in source.extents) == len(BIG) + 30_000


def test_a_vouched_chunk_that_stays_wrong_ends_it_and_the_registry_is_named(store: Store) -> None:
    with pytest.raises(DigestMismatch, match=r"registry\.example.*blake3"):
        Pull(damaged(None), store, delta=Knowing(BIG, vouched=True)).run(BIG)
    assert not store.holds(BIG)


def test_local_bytes_are_compared_with_what_is_vouched_for(store: Store) -> None:
    local = flip(BIG[:300_000], 100_000)
    source = Shelf(BIG)
    Pull(source, store, delta=Knowing(BIG, vouched=True, local=local)).run(BIG)
    assert store.holds(BIG)
    assert Extent(90_000, 120_000) in source.extents or min(source.extents).start == 90_000


def test_vouched_chunks_of_a_registry_without_ranges_are_compared_too(store: Store) -> None:
    Pull(NoRanges(BIG), store, delta=Knowing(BIG, vouched=True)).run(BIG)
    assert store.holds(BIG)


def test_a_break_within_a_chunk_begins_with_the_chunk(store: Store) -> None:
    source = Shelf(BIG)
    source.script = first_only(break_off, lambda piece: piece.position == 50_000)
    Pull(source, store, jobs=1, delta=Knowing(BIG, vouched=True)).run(BIG)
    assert source.extents[1].start == 30_000
    assert store.holds(BIG)


class Doubtful(Shelf):
    """Several places: ``bad`` of them give wrong bytes, each until it is told so, then the next one is asked."""

    def __init__(self, *blobs: bytes, bad: int = 1, places: int = 2) -> None:
        super().__init__(*blobs)
        self.doubted = 0
        self._bad, self._places = bad, places

    def piece(self, data: bytes, extent: Extent) -> Piece:
        wrong = flip(data, 500) if self.doubted < self._bad else data
        return Piece(wrong, extent.start, extent.stop, self.script)

    def doubt(self, descriptor: Descriptor) -> bool:
        self.doubted += 1
        return self.doubted < self._places


@pytest.mark.parametrize("blob", [BIG, SMALL[0]])
def test_whoever_has_the_bytes_from_elsewhere_is_told_and_asked_again(blob: bytes, store: Store) -> None:
    source = Doubtful(blob)
    Pull(source, store).run(blob)
    assert store.holds(blob)
    assert source.doubted == 1


@pytest.mark.parametrize("vouched", [True, False])
def test_of_what_comes_from_elsewhere_only_the_wrong_chunk_is_asked_for(vouched: bool, store: Store) -> None:
    source = Doubtful(BIG)
    Pull(source, store, jobs=1, delta=Knowing(BIG, vouched=vouched)).run(BIG)
    assert store.holds(BIG)
    assert source.doubted == 1
    assert sum(extent.size for extent in source.extents) == len(BIG) + 30_000


@pytest.mark.parametrize("vouched", [True, False])
@pytest.mark.parametrize("blob", [BIG, SMALL[0]])
def test_all_other_places_are_asked_one_after_the_other(blob: bytes, vouched: bool, store: Store) -> None:
    source = Doubtful(blob, bad=3, places=4)
    tuning = replace(TUNING, clock=Seconds(0.01))
    Pull(source, store, tuning=tuning, delta=Knowing(blob, vouched=vouched)).run(blob)
    assert store.holds(blob)
    assert source.doubted == 3


class Mirror(Shelf):
    """Gives a wrong last part twice at the same time, the right one after it has been told; is told once only."""

    def __init__(self) -> None:
        super().__init__(BIG)
        self.both = threading.Barrier(2)
        self.ended = threading.Semaphore(0)
        self.asked_for = 0
        self.doubted = 0

    @contextmanager
    def fetch_range(self, descriptor: Descriptor, extent: Extent) -> Iterator[Piece]:
        again = extent.stop == len(BIG) and self.asked_for == 2
        if again:  # not before both have brought what they have
            assert self.ended.acquire(timeout=60)
            assert self.ended.acquire(timeout=60)
        with super().fetch_range(descriptor, extent) as piece:
            yield piece
            if extent.stop == len(BIG) and not again:
                self.ended.release()

    def piece(self, data: bytes, extent: Extent) -> Piece:
        if extent.stop < len(BIG) or self.asked_for == 2:
            return super().piece(data, extent)
        self.asked_for += 1
        return Piece(flip(BIG, len(BIG) - 5), extent.start, extent.stop, self._together)

    def _together(self, piece: Piece) -> None:
        if piece.position == piece.start:
            self.both.wait(60)

    def doubt(self, descriptor: Descriptor) -> bool:
        self.doubted += 1
        return self.doubted == 1


def test_the_same_wrong_chunk_on_two_connections_counts_once(store: Store) -> None:
    """The last part is slow, so that it is asked for twice; both answers come from the same wrong place."""
    source = Mirror()
    Pull(source, store, tuning=replace(TIMED, stall=3600.0), delta=Knowing(BIG, vouched=True)).run(BIG)
    assert store.holds(BIG)
    assert source.doubted == 1


class Stubborn(Piece):
    """Stays until somebody cuts it off after its place was doubted, or asks anew; then it brings wrong bytes."""

    source: Slow

    def readinto(self, buffer: memoryview, /) -> int:
        assert self.source.again.wait(60)
        count = self.stop - self.position
        buffer[:count] = bytes(count)
        self.position += count
        return count

    def abort(self) -> None:
        if self.source.doubted:
            self.source.again.set()


class Slow(Doubtful):
    """The last part is asked for twice; the first answer to it comes after everything else."""

    def __init__(self) -> None:
        super().__init__(BIG)
        self.again = threading.Event()
        self.ended = threading.Event()
        self.last = count()

    @contextmanager
    def fetch_range(self, descriptor: Descriptor, extent: Extent) -> Iterator[Piece]:
        with super().fetch_range(descriptor, extent) as piece:
            assert not self.doubted or extent.stop < len(BIG) or self.ended.wait(60)
            yield piece
        if isinstance(piece, Stubborn):
            self.ended.set()

    def piece(self, data: bytes, extent: Extent) -> Piece:
        if self.doubted:
            self.again.set()
        if extent.stop < len(BIG) or next(self.last):
            return super().piece(data, extent)
        piece = Stubborn(BIG, extent.start, extent.stop, self.script)
        piece.source = self
        return piece


def test_what_still_comes_from_a_place_that_was_wrong_is_not_taken_for_the_next_attempt(store: Store) -> None:
    source = Slow()
    Pull(source, store, tuning=replace(TIMED, stall=3600.0)).run(BIG)
    assert store.holds(BIG)
    assert source.doubted == 1


@pytest.mark.parametrize("blob", [BIG, SMALL[0]])
def test_wrong_bytes_from_everywhere_are_refused(blob: bytes, store: Store) -> None:
    source = Doubtful(blob, bad=9, places=3)
    with pytest.raises(DigestMismatch):
        Pull(source, store, tuning=replace(TUNING, clock=Seconds(0.01))).run(blob)
    assert source.doubted == 3
    assert not store.holds(blob)
    assert store.staged() == []


def test_a_blob_of_another_size_is_refused(store: Store) -> None:
    source = Shelf(BIG)

    def head(descriptor: Descriptor, extent: Extent) -> None:
        raise SizeMismatch(descriptor.size, "7", "registry.example")

    source.head = head
    with pytest.raises(SizeMismatch):
        Pull(source, store).run(BIG)
    assert len(source.asked) <= 4


# -- when it is decided -----------------------------------------------------------------------------------------------


def test_hashing_follows_the_download(store: Store) -> None:
    """The last part is held back until the first ones have been hashed."""
    source, hashed = Shelf(BIG), threading.Event()

    def script(piece: Piece) -> None:
        if piece.start >= 9 * PART:
            assert hashed.wait(60)

    source.script = script
    pull = Pull(source, store)
    pull.also = lambda event: hashed.set() if isinstance(event, BlobChecked) else None
    pull.run(BIG)
    assert store.holds(BIG)


class Watched(Store):
    """A store whose assemblies call ``reading`` before each block that is read back for hashing."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.readers = self.most = 0
        self.guard = threading.Lock()
        self.together: threading.Barrier | None = None
        self.open = threading.Event()
        self.open.set()

    @contextmanager
    def assemble(self, descriptor: Descriptor, **more: object) -> Iterator[Assembly | None]:  # type: ignore[override]
        with super().assemble(descriptor, **more) as assembly:  # type: ignore[arg-type]
            if assembly is not None:
                self._watch(assembly)
            yield assembly

    def _watch(self, assembly: Assembly) -> None:
        read = assembly.read

        def counted(offset: int, buffer: memoryview) -> int:
            with self.guard:
                self.readers += 1
                self.most = max(self.most, self.readers)
            if self.together is not None and not offset:
                self.together.wait(60)
            assert self.open.wait(60)
            count = read(offset, buffer)
            with self.guard:
                self.readers -= 1
            return count

        assembly.read = counted  # type: ignore[method-assign]


def test_as_many_blobs_are_hashed_at_once_as_there_are_cores(tmp_path: Path) -> None:
    store = Watched(tmp_path)
    store.together = threading.Barrier(2)
    Pull(Shelf(BIG, OTHER), store, tuning=replace(TUNING, hashers=2)).run(BIG, OTHER)
    assert store.holds(BIG)
    assert store.holds(OTHER)


def test_no_more_blobs_are_hashed_at_once_than_there_are_cores(tmp_path: Path) -> None:
    """All of them have arrived before the first one is read."""
    store, blobs = Watched(tmp_path), [BIG, OTHER, BIG[::-1], OTHER[::-1]]
    store.open.clear()
    pull = Pull(Shelf(*blobs), store, tuning=replace(TUNING, hashers=1))
    pull.also = lambda event: store.open.set() if pull.moved().total() == sum(map(len, blobs)) else None
    pull.run(*blobs)
    assert store.most == 1


@pytest.mark.parametrize("vouched", [True, False])
def test_nothing_is_visible_before_the_last_byte_was_compared(vouched: bool, store: Store) -> None:
    seen: list[bool] = []
    pull = Pull(Shelf(BIG), store, delta=Knowing(BIG, vouched=vouched))
    pull.also = lambda event: seen.append(store.holds(BIG)) if isinstance(event, BlobProgress | BlobChecked) else None
    pull.run(BIG)
    assert store.holds(BIG)
    assert len(seen) > 10
    assert not any(seen)


def test_an_index_that_nobody_vouches_for_proves_nothing(store: Store) -> None:
    """It says that the wrong bytes are right; the blob's own digest says that they are not."""
    source, forged = damaged(None, at=500), Knowing(flip(BIG, 500), vouched=False)
    forged._index = replace(forged._index, blob=descriptor_of(BIG).digest)
    with pytest.raises(DigestMismatch):
        Pull(source, store, delta=forged).run(BIG)
    assert not store.holds(BIG)


@pytest.mark.parametrize("vouched", [True, False])
def test_the_digest_of_a_blob_is_owed_only_where_its_chunks_were_vouched_for(vouched: bool, store: Store) -> None:
    Pull(Shelf(BIG), store, delta=Knowing(BIG, vouched=vouched)).run(BIG)
    assert store.store.owed.digests() == ([descriptor_of(BIG).digest] if vouched else [])


def kept_and_damaged(store: Store) -> None:
    """Leave half of a blob in the store, one byte of it wrong."""
    interrupted(Shelf(BIG), store, KeyboardInterrupt(), after=50)
    (data,) = (store.store.root / "ingest").glob("*/data")
    with data.open("r+b") as file:
        file.seek(5)
        file.write(bytes([BIG[5] ^ 1]))


def test_what_was_kept_and_is_damaged_is_found_and_all_is_fetched_once(store: Store) -> None:
    kept_and_damaged(store)
    source = Shelf(BIG)
    Pull(source, store, jobs=1).run(BIG)
    assert store.holds(BIG)
    assert sum(extent.size for extent in source.extents) <= 2 * len(BIG) - 48 * BLOCK


@pytest.mark.parametrize("vouched", [True, False])
def test_with_an_index_only_the_damaged_chunk_of_what_was_kept_is_fetched(vouched: bool, store: Store) -> None:
    kept_and_damaged(store)
    source = Shelf(BIG)
    Pull(source, store, jobs=1, delta=Knowing(BIG, vouched=vouched)).run(BIG)
    assert store.holds(BIG)
    assert sum(extent.size for extent in source.extents) <= len(BIG) - 48 * BLOCK + 3 * 30_000
