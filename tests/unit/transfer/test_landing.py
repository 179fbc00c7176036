"""landing: each byte is written once, told once, and read only when it is there."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from blake3 import blake3

from installml.digest import Digest
from installml.spec.chunks import ChunkIndex
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.disk import DiskStore
from installml.store.protocol import Assembly
from installml.transfer.landing import Landing

DATA = random.Random(1).randbytes(1000)
BLOB = Descriptor.of(DATA, "application/octet-stream")


@pytest.fixture
def assembly(tmp_path: Path) -> Iterator[Assembly]:
    with opened(tmp_path) as found:
        yield found


@contextmanager
def opened(root: Path) -> Iterator[Assembly]:
    """Open the blob's assembly in a store at ``root``."""
    store = DiskStore(root)
    store.prepare()
    place = store.repository("registry.example", "acme/landing")
    with place.assemble(BLOB, stopped=lambda: False, on_wait=lambda text: None) as found:
        assert found is not None
        yield found


class Told(list[int]):
    """How many bytes were told, report by report."""

    def __call__(self, count: int) -> None:
        self.append(count)


def put(landing: Landing, start: int, stop: int, data: bytes = DATA) -> int:
    return landing.put(start, memoryview(data)[start:stop])


def read(landing: Landing, start: int, stop: int) -> bytes:
    buffer = bytearray(stop - start)
    assert landing.read(start, memoryview(buffer)) == len(buffer)
    return bytes(buffer)


def test_what_came_first_stays(assembly: Assembly) -> None:
    told = Told()
    landing = Landing(BLOB, assembly, told)
    assert put(landing, 100, 200) == 100
    assert put(landing, 50, 250, bytes(1000)) == 100
    assert read(landing, 50, 250) == bytes(50) + DATA[100:200] + bytes(50)
    assert told == [100, 100]


def test_what_nobody_has_brought_is_missing(assembly: Assembly) -> None:
    landing = Landing(BLOB, assembly, Told())
    put(landing, 100, 200)
    assert landing.missing() == [Extent(0, 100), Extent(200, 1000)]
    assert landing.missing(Extent(150, 300)) == [Extent(200, 300)]


def test_what_an_earlier_attempt_has_kept_is_there(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        landing = Landing(BLOB, first, Told())
        put(landing, 0, 300)
        put(landing, 400, 500)
        landing.keep(Extent(0, 500))
    with opened(tmp_path) as second:
        again = Landing(BLOB, second, Told())
        assert again.done == 400
        assert again.missing() == [Extent(300, 400), Extent(500, 1000)]
        assert again.wait(0) == 300


def test_what_proved_wrong_is_asked_for_again_and_not_told_again(assembly: Assembly) -> None:
    told = Told()
    landing = Landing(BLOB, assembly, told)
    put(landing, 0, 1000, bytes(1000))
    landing.forget(Extent(100, 200))
    assert landing.missing() == [Extent(100, 200)]
    assert put(landing, 100, 200) == 0
    assert read(landing, 100, 200) == DATA[100:200]
    assert sum(told) == 1000


def test_after_everything_was_thrown_away_all_is_missing_and_nothing_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        landing = Landing(BLOB, first, Told())
        put(landing, 0, 1000)
        landing.keep(Extent(0, 1000))
        landing.discard()
        assert landing.missing() == [Extent(0, 1000)]
    with opened(tmp_path) as second:
        assert Landing(BLOB, second, Told()).done == 0


def test_who_follows_the_front_waits_for_the_gap_and_not_beyond(assembly: Assembly) -> None:
    landing, fronts, passed = Landing(BLOB, assembly, Told()), list[int](), threading.Semaphore(0)

    def follow() -> None:
        while not fronts or 0 < fronts[-1] < 1000:
            fronts.append(landing.wait(fronts[-1] if fronts else 0))
            passed.release()

    put(landing, 500, 600)
    thread = threading.Thread(target=follow)
    thread.start()
    put(landing, 0, 400)
    assert passed.acquire(timeout=60)
    put(landing, 400, 500)
    assert passed.acquire(timeout=60)
    put(landing, 600, 1000)
    thread.join(60)
    assert fronts == [400, 600, 1000]


def test_who_waits_goes_on_when_nothing_more_comes(assembly: Assembly) -> None:
    landing, fronts = Landing(BLOB, assembly, Told()), list[int]()
    thread = threading.Thread(target=lambda: fronts.append(landing.wait(0)))
    thread.start()
    landing.end()
    thread.join(60)
    assert fronts == [0]


def test_bytes_are_told_before_anybody_takes_the_blob_for_whole(assembly: Assembly) -> None:
    fronts = list[int]()
    landing = Landing(BLOB, assembly, lambda count: fronts.append(landing.wait(0)))
    landing.end()  # who waits does not wait
    put(landing, 0, 1000)
    assert (fronts, landing.wait(0)) == ([0], 1000)


def test_the_same_bytes_from_many_threads_are_written_and_told_once(assembly: Assembly) -> None:
    told, begin = Told(), threading.Barrier(4)
    landing = Landing(BLOB, assembly, told)

    def bring(seed: int) -> None:
        starts = [start for start in range(0, 1000, 10)]
        random.Random(seed).shuffle(starts)
        begin.wait(60)
        for start in starts:
            put(landing, start, start + 10)

    threads = [threading.Thread(target=bring, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(told) == 1000
    assert read(landing, 0, 1000) == DATA


def index(*bounds: int) -> ChunkIndex:
    digests = b"".join(blake3(DATA[a:b]).digest() for a, b in pairwise(bounds))
    return ChunkIndex(Digest.of(DATA), list(bounds), digests)


def test_of_the_chunks_that_are_there_those_that_are_wrong_or_not_whole_are_found(assembly: Assembly) -> None:
    landing = Landing(BLOB, assembly, Told())
    put(landing, 0, 300)
    put(landing, 300, 301, bytes(1000))
    put(landing, 301, 450)
    found = landing.wrong(index(0, 300, 400, 500, 1000))
    assert found == [Extent(300, 400), Extent(400, 500)]
