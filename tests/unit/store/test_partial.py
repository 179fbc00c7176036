"""Blobs put together from pieces: what survives, who waits for whom, what is never taken for true."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import DiskFull, NotFound
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.disk import DiskStore
from installml.store.gc import Damage, collect, usage, verify_store
from installml.store.host import Host, Owner, boot_id, flock_exclusive
from installml.store.partial import Partial
from installml.store.recovery import settle
from installml.store.room import check_room
from installml.testing import SettableClock
from tests.unit.store.neighbour import Neighbour, content, descriptor

SIZE = 100_000
BLOB = descriptor(SIZE)
DATA = content(SIZE)
Waits = list[str]


class Pauses:
    """A pause that does the next of some things each time, and then really waits a little."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)
        self.count = 0

    def __call__(self, seconds: float) -> None:
        self.count += 1
        if self._steps:
            self._steps.pop(0)()
        else:
            time.sleep(0.001)


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def neighbour(store: DiskStore) -> Iterator[Neighbour]:
    other = Neighbour(store.root, SIZE)
    yield other
    other.kill()


def on(store: DiskStore, host: Host) -> DiskStore:
    """Return the same store as a process on ``host`` sees it."""
    return DiskStore(store.root, host=host)


def assemble(
    store: DiskStore, blob: Descriptor = BLOB, *, waits: Waits | None = None, stopped: bool = False
) -> AbstractContextManager[Partial | None]:
    told = waits if waits is not None else []
    place = store.repository("localhost", "here")
    return place.assemble(blob, stopped=lambda: stopped, on_wait=told.append)


@contextlib.contextmanager
def opened(store: DiskStore, blob: Descriptor = BLOB) -> Iterator[Partial]:
    with assemble(store, blob) as assembly:
        assert assembly is not None
        yield assembly


def put(assembly: Partial, *extents: tuple[int, int]) -> None:
    for start, stop in extents:
        assembly.write(start, DATA[start:stop])


def finish(assembly: Partial) -> None:
    for extent in assembly.missing():
        put(assembly, extent)
    assembly.publish()


def left(store: DiskStore) -> list[Path]:
    """Return what lies in ``ingest/``."""
    return list((store.root / "ingest").iterdir())


def bytes_of(store: DiskStore, blob: Descriptor = BLOB) -> bytes:
    return store.blobs.path(blob.digest).read_bytes()


def leave(store: DiskStore, owner: str = "", *extents: tuple[int, int]) -> Path:
    """Leave a partial as if ``owner`` had gone away; return its folder."""
    with opened(store) as assembly:
        put(assembly, *extents or [(0, 1000)])
    folder = left(store)[0]
    return folder.rename(folder.with_name(f"{folder.name.partition('.')[0]}.{owner}")) if owner else folder


def dead() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


# -- an assembly ----------------------------------------------------------------------------------------------------


def test_pieces_in_any_order_become_the_blob(store: DiskStore) -> None:
    with opened(store) as assembly:
        put(assembly, (50_000, SIZE), (0, 20_000), (20_000, 50_000))
        assembly.publish()
    assert bytes_of(store) == DATA
    assert left(store) == []


def test_a_published_blob_is_read_only_for_everybody(store: DiskStore) -> None:
    with opened(store) as assembly:
        finish(assembly)
    assert stat.S_IMODE(store.blobs.path(BLOB.digest).stat().st_mode) == 0o444


def test_nothing_is_visible_before_it_is_published(store: DiskStore) -> None:
    with opened(store) as assembly:
        put(assembly, (0, SIZE))
        assert not store.blobs.exists(BLOB)


def test_a_blob_that_is_there_is_not_assembled(store: DiskStore) -> None:
    with opened(store) as assembly:
        finish(assembly)
    with assemble(store) as again:
        assert again is None


def test_an_empty_blob_lacks_nothing(store: DiskStore) -> None:
    empty = Descriptor.of(b"", "x/y")
    with opened(store, empty) as assembly:
        assert assembly.missing() == []
        assembly.publish()
    assert bytes_of(store, empty) == b""


def test_bytes_are_new_once(store: DiskStore) -> None:
    with opened(store) as assembly:
        assert assembly.write(0, DATA[:1000]) == 1000
        assert assembly.write(500, DATA[500:1500]) == 500
        assert assembly.written(Extent(0, 2000)) == 500


def test_the_front_stops_at_the_first_gap(store: DiskStore) -> None:
    with opened(store) as assembly:
        put(assembly, (0, 1000), (2000, 3000))
        assert assembly.front() == 1000


def test_what_was_written_is_read_back(store: DiskStore) -> None:
    buffer = bytearray(100)
    with opened(store) as assembly:
        put(assembly, (0, 1000))
        assert assembly.read(300, memoryview(buffer)) == 100
    assert buffer == DATA[300:400]


def test_bytes_that_proved_wrong_are_missing_again(store: DiskStore) -> None:
    with opened(store) as assembly:
        put(assembly, (0, 1000))
        assembly.keep(Extent(0, 1000))
        assembly.forget(Extent(200, 300))
    with opened(store) as assembly:
        assert assembly.missing()[0] == Extent(200, 300)


def test_what_was_thrown_away_leaves_nothing(store: DiskStore) -> None:
    with opened(store) as assembly:
        put(assembly, (0, 1000))
        assembly.keep(Extent(0, 1000))
        assembly.discard()
    assert left(store) == []


def test_after_throwing_away_one_can_begin_again(store: DiskStore) -> None:
    with opened(store) as assembly:
        assembly.write(0, b"?" * SIZE)
        assembly.discard()
        finish(assembly)
    assert bytes_of(store) == DATA


@pytest.mark.parametrize(("start", "size"), [(-1, 1), (SIZE, 1), (0, SIZE + 1)])
def test_bytes_outside_the_blob_are_refused(store: DiskStore, start: int, size: int) -> None:
    with opened(store) as assembly, pytest.raises(ValueError, match="not within"):
        assembly.write(start, bytes(size))


def test_a_blob_with_gaps_is_not_published(store: DiskStore) -> None:
    with opened(store) as assembly, pytest.raises(ValueError, match="not whole"):
        assembly.publish()


def test_bytes_that_nobody_wrote_are_not_kept(store: DiskStore) -> None:
    with opened(store) as assembly, pytest.raises(ValueError, match="have not all been written"):
        assembly.keep(Extent(0, 10))


def test_zeros_are_bytes_like_others(store: DiskStore) -> None:
    zeros = bytes(1 << 20)
    blob = Descriptor.of(zeros, "x/y")
    with opened(store, blob) as assembly:
        assembly.write(0, zeros[: 1 << 19])
    with opened(store, blob) as assembly:
        assert assembly.missing() == [Extent(1 << 19, 1 << 20)]
        assembly.write(1 << 19, zeros[1 << 19 :])
        assembly.publish()
    assert bytes_of(store, blob) == zeros


def test_threads_write_pieces_at_the_same_time(store: DiskStore) -> None:
    with opened(store) as assembly:
        extents = [Extent(start, start + 1000) for start in range(0, SIZE, 1000)]

        def bring(extent: Extent) -> int:
            count = assembly.write(extent.start, DATA[extent.start : extent.stop])
            assembly.keep(extent)
            return count

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(bring, extents)) == SIZE
        assembly.publish()
    assert bytes_of(store) == DATA


def test_a_group_shares_what_its_umask_lets_it_share(store: DiskStore) -> None:
    before = os.umask(0o002)
    try:
        folder = leave(store)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o775
    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in ("data", "journal")] == [0o664, 0o664]


# -- what an earlier attempt has left -------------------------------------------------------------------------------


def test_leaving_keeps_what_was_written_for_the_next(store: DiskStore) -> None:
    with opened(store) as assembly:
        put(assembly, (0, 1000), (5000, 6000))
    with opened(store) as assembly:
        assert assembly.missing() == [Extent(1000, 5000), Extent(6000, SIZE)]
        finish(assembly)
    assert bytes_of(store) == DATA


def test_leaving_with_nothing_leaves_nothing(store: DiskStore) -> None:
    with opened(store):
        pass
    assert left(store) == []


def test_a_killed_process_leaves_what_it_kept(store: DiskStore, neighbour: Neighbour) -> None:
    neighbour.tell("write", 0, 60_000)
    neighbour.tell("keep", 0, 50_000)
    neighbour.kill()
    with opened(store) as assembly:
        assert assembly.missing() == [Extent(50_000, SIZE)]
        finish(assembly)
    assert bytes_of(store) == DATA
    assert left(store) == []


def test_after_a_reboot_only_what_reached_the_disk_counts(store: DiskStore) -> None:
    clock = SettableClock(0)
    with opened(on(store, Host(monotonic=clock))) as assembly:
        put(assembly, (0, 1000))
        clock.advance(11)
        assembly.keep(Extent(0, 1000))
        for thread in threading.enumerate():
            if thread.name == "sync":
                thread.join()
        put(assembly, (1000, 3000))
        assembly.keep(Extent(1000, 3000))
    with opened(on(store, Host(boot="another"))) as assembly:
        assert assembly.missing() == [Extent(1000, SIZE)]


def test_a_journal_after_a_reboot_serves_the_next_boot(store: DiskStore) -> None:
    leave(store)
    with opened(on(store, Host(boot="another"))) as assembly:
        put(assembly, (3000, 4000))
    with opened(on(store, Host(boot="another"))) as assembly:
        assert assembly.missing() == [Extent(0, 3000), Extent(4000, SIZE)]


@pytest.mark.parametrize(
    ("more", "there"),
    [
        (b"+ 1000 2000\n", 2000),
        (b"+ 1000 2000", 1000),  # torn: 2000 may be the beginning of 20000
        (b"", 1000),
        (b"- 500 1000\n", 500),
        (b"+ 1000 100001\n", 1000),
        (b"+ 2000 1000\n", 1000),
        (b"+ 1000 1000\n", 1000),
        (b"+ -1 2000\n", 1000),
        (b"+ 1000 2e9\n+ 1000 2000\n", 1000),
        (b"+ 1000 " + b"9" * 5000 + b"\n", 1000),
        (b"\0" * 4096, 1000),
        (b"* 1000 2000\n", 1000),
        ("+ 1000 ２０００\n".encode(), 1000),
    ],
)
def test_a_journal_is_read_up_to_the_first_line_that_is_none(store: DiskStore, more: bytes, there: int) -> None:
    journal = leave(store) / "journal"
    journal.write_bytes(journal.read_bytes() + more)
    with opened(store) as assembly:
        assert assembly.front() == there


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\n",
        b"[]\n",
        b"\xff\xfe\n",
        b"{" * 2000 + b"\n",
        b'{"boot":"x","digest":"sha256:zz","size":1,"version":1}\n',
        b'{"boot":"%s","digest":"%s","size":100000,"version":2}\n',
        b'{"boot":"%s","digest":"%s","size":99999,"version":1}\n',
    ],
)
def test_a_journal_of_something_else_counts_for_nothing(store: DiskStore, header: bytes) -> None:
    journal = leave(store) / "journal"
    if b"%" in header:
        header %= (boot_id().encode(), str(BLOB.digest).encode())
    journal.write_bytes(header + b"+ 0 1000\n")
    with opened(store) as assembly:
        assert assembly.front() == 0


def test_bytes_beyond_the_end_of_a_truncated_file_are_missing(store: DiskStore) -> None:
    os.truncate(leave(store, "", (0, 1000)) / "data", 600)
    with opened(store) as assembly:
        assert assembly.front() == 600
        finish(assembly)
    assert bytes_of(store) == DATA


def test_a_very_long_journal_is_written_anew(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("installml.store.journal.MAX_JOURNAL", 4000)
    with opened(store) as assembly:
        for start in range(0, SIZE, 100):
            put(assembly, (start, start + 100))
            assembly.keep(Extent(start, start + 100))
        assert (assembly.folder / "journal").stat().st_size < 1500
    with opened(store) as assembly:
        assert assembly.missing() == []


def test_the_partial_with_most_in_it_is_taken(store: DiskStore, neighbour: Neighbour) -> None:
    stall = SettableClock(0)
    mine = on(store, Host(monotonic=stall, pause=lambda seconds: stall.advance(61)))
    with opened(mine) as assembly:
        put(assembly, *((start, start + 10) for start in range(0, 2000, 20)))
    neighbour.tell("write", 0, 10)
    neighbour.kill()
    with opened(store) as assembly:
        assert assembly.missing()[0] == Extent(10, 20)
        assert len(assembly.missing()) == 100


# -- neighbours -----------------------------------------------------------------------------------------------------


def test_who_comes_second_waits_and_finds_the_blob(store: DiskStore, neighbour: Neighbour) -> None:
    waits: Waits = []

    def publish() -> None:
        neighbour.tell("write", 0, SIZE)
        neighbour.tell("publish")

    with assemble(on(store, Host(pause=Pauses(lambda: None, publish))), waits=waits) as assembly:
        assert assembly is None
    assert len(waits) == 1
    assert f"process {neighbour.process.pid} " in waits[0]
    assert bytes_of(store) == DATA


def test_who_waits_takes_over_from_a_killed_neighbour(store: DiskStore, neighbour: Neighbour) -> None:
    neighbour.tell("write", 0, 1000)
    neighbour.tell("keep", 0, 1000)
    with opened(on(store, Host(pause=Pauses(neighbour.kill)))) as assembly:
        assert assembly.front() == 1000


def test_a_thread_waits_for_another_of_the_same_process(store: DiskStore) -> None:
    with opened(store) as first:
        pauses = Pauses(lambda: None, lambda: finish(first))
        with assemble(on(store, Host(pause=pauses))) as second:
            assert second is None


def test_who_is_stopped_waits_no_more(store: DiskStore, neighbour: Neighbour) -> None:
    with assemble(store, stopped=True) as assembly:
        assert assembly is None
    assert not store.blobs.exists(BLOB)


def test_a_neighbour_that_gets_no_further_is_not_waited_for(store: DiskStore, neighbour: Neighbour) -> None:
    clock = SettableClock(0)
    neighbour.tell("write", 0, 1000)
    with opened(on(store, Host(monotonic=clock, pause=lambda seconds: clock.advance(20)))) as assembly:
        assert clock.now == 60
        finish(assembly)
    neighbour.tell("write", 1000, SIZE)
    neighbour.tell("publish")
    assert bytes_of(store) == DATA


def test_a_neighbour_that_gets_further_is_waited_for(store: DiskStore, neighbour: Neighbour) -> None:
    clock = SettableClock(0)
    steps = iter(range(0, SIZE, 10_000))

    def pause(seconds: float) -> None:
        clock.advance(40)
        start = next(steps, None)
        if start is None:
            neighbour.tell("publish")
        else:
            neighbour.tell("write", start, start + 10_000)
            neighbour.tell("keep", start, start + 10_000)

    with assemble(on(store, Host(monotonic=clock, pause=pause))) as assembly:
        assert assembly is None


def test_who_only_hashes_shows_that_it_lives(store: DiskStore) -> None:
    clock = SettableClock(0)
    with opened(on(store, Host(monotonic=clock))) as assembly:
        put(assembly, (0, 1000))
        os.utime(assembly.folder / "data", (1, 1))
        clock.advance(11)
        assembly.read(0, memoryview(bytearray(10)))
        assert (assembly.folder / "data").stat().st_mtime > 1


def test_many_that_begin_at_the_same_moment_bring_it_once_or_never_damage_it(store: DiskStore) -> None:
    def bring(number: int) -> int:
        with assemble(DiskStore(store.root)) as assembly:
            if assembly is None:
                return 0
            finish(assembly)
            return 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(bring, range(16))) >= 1
    assert bytes_of(store) == DATA
    assert left(store) == []


def test_of_two_that_see_each_other_one_gives_way(store: DiskStore) -> None:
    """The second one to look begins although nobody was there when it looked first."""
    late = on(store, Host(pause=Pauses()))
    with opened(store) as first:
        partials = late.blobs.partials
        mine = partials.fresh(BLOB, lambda path, hashed: None)
        assert not partials._alone(mine, BLOB.digest)
        mine.close()
        assert left(store) == [first.folder]


def test_an_orphan_that_two_want_goes_to_one(store: DiskStore) -> None:
    leave(store)
    taken = []
    for _ in range(2):
        found = store.blobs.partials.claims.of(BLOB.digest)[0]
        taken.append(store.blobs.partials._claim(found, BLOB, lambda path, hashed: None))
    first, second = taken
    assert isinstance(first, Partial)
    assert second is True
    first.close()


def test_a_blob_that_is_published_while_somebody_looks_at_it_stays_whole(store: DiskStore) -> None:
    """The look has the file open when it moves to its place, and gets the lock afterwards."""
    with opened(store) as assembly:
        found = store.blobs.partials.claims.of(BLOB.digest)[0]
        put(assembly, (0, SIZE))

        def lock(handle: int) -> bool | None:
            assembly.publish()
            assembly.close()
            return flock_exclusive(handle)

        late = on(store, Host(lock=lock))
        assert late.blobs.partials._claim(found, BLOB, lambda path, hashed: None) is False
    assert bytes_of(store) == DATA
    assert left(store) == []


# -- file systems without locks, other machines, other users --------------------------------------------------------


def no_locks(handle: int) -> bool | None:
    return None


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_has_no_locks_is_known_by_its_error(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("installml.store.host.fcntl.flock", refuse)
    assert flock_exclusive(0) is None


def test_without_locks_a_living_neighbour_is_waited_for(store: DiskStore, neighbour: Neighbour) -> None:
    waits: Waits = []
    with assemble(on(store, Host(lock=no_locks, pause=Pauses(neighbour.kill))), waits=waits) as assembly:
        assert assembly is not None
    assert len(waits) == 1


def test_without_locks_a_dead_neighbour_is_taken_over(store: DiskStore, neighbour: Neighbour) -> None:
    neighbour.tell("write", 0, 1000)
    neighbour.tell("keep", 0, 1000)
    neighbour.kill()
    waits: Waits = []
    with assemble(on(store, Host(lock=no_locks)), waits=waits) as assembly:
        assert assembly is not None
        assert assembly.front() == 1000
        finish(assembly)
    assert waits == []
    assert bytes_of(store) == DATA


def elsewhere(store: DiskStore) -> Path:
    owner = Owner("elsewhere", 1, "0" * 8, "b0")
    return leave(store, f"{owner.host}-{owner.pid}-{owner.token}-{owner.boot}")


def age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))


@pytest.mark.parametrize("lock", [flock_exclusive, no_locks])
def test_a_machine_that_wrote_lately_is_waited_for(store: DiskStore, lock: Callable[[int], bool | None]) -> None:
    folder = elsewhere(store)
    waits: Waits = []
    host = Host(lock=lock, pause=Pauses(lambda: age(folder, 601)))
    with assemble(on(store, host), waits=waits) as assembly:
        assert assembly is not None
    assert "elsewhere" in waits[0]


@pytest.mark.parametrize("lock", [flock_exclusive, no_locks])
def test_what_another_machine_left_is_copied_for_it_may_still_write(
    store: DiskStore, lock: Callable[[int], bool | None]
) -> None:
    with opened(on(store, Host(boot="b0"))) as assembly:
        put(assembly, (0, 1000))
        assembly._journal.note("=", Extent(0, 1000))
    folder = left(store)[0]
    folder = folder.rename(folder.with_name(f"{folder.name.partition('.')[0]}.elsewhere-1-00000000-b0"))
    age(folder, 601)
    with (folder / "data").open("r+b") as late, opened(on(store, Host(lock=lock))) as assembly:
        assert assembly.front() == 1000
        late.write(b"?" * 1000)
        late.flush()
        finish(assembly)
    assert bytes_of(store) == DATA
    assert left(store) == []


def test_what_another_user_left_is_no_hindrance(
    open_folder: Path, as_nobody: Callable[[Callable[[], None]], None]
) -> None:
    store = DiskStore(open_folder / "store")
    leave(store)
    for folder in (store.root, store.root / "ingest", store.root / "state", store.root / "state" / "unsynced"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)

    def bring() -> None:
        mine = DiskStore(store.root)
        with opened(mine) as assembly:
            finish(assembly)
        assert bytes_of(mine) == DATA

    as_nobody(bring)
    assert store.blobs.exists(BLOB)


# -- room -----------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_too_small_is_found_before_anything_is_fetched(tiny_disk: Path) -> None:
    store = DiskStore(tiny_disk / "store")
    big = Descriptor("x/y", BLOB.digest, 10 << 20)
    with pytest.raises(DiskFull, match=r"needs 10,485,760 bytes more, \d+,\d+ are free"), opened(store, big):
        pass
    assert left(store) == []


def test_a_whole_package_that_does_not_fit_is_found_before_anything_is_fetched(tiny_disk: Path) -> None:
    store = DiskStore(tiny_disk / "store")
    parts = [Descriptor("x/y", Digest.of(bytes([n])), 100_000) for n in range(3)]
    check_room(store.blobs, parts[:2])
    with pytest.raises(DiskFull, match=r"300,000 bytes more are needed, \d+,\d+ are free"):
        check_room(store.blobs, parts)
    assert not store.root.exists()


def test_what_a_partial_has_taken_is_not_counted_twice(tiny_disk: Path) -> None:
    store = DiskStore(tiny_disk / "store")
    blob = descriptor(200_000)
    with opened(store, blob) as assembly:
        assembly.write(0, content(200_000)[:1000])
        check_room(store.blobs, [blob])


def test_room_that_was_reserved_cannot_be_taken_by_others(tiny_disk: Path) -> None:
    store = DiskStore(tiny_disk / "store")
    with opened(store) as assembly:
        fill(tiny_disk / "other")
        finish(assembly)
    assert bytes_of(store) == DATA


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


# -- the blob's own digest, owed ------------------------------------------------------------------------------------


def test_a_digest_that_was_not_compared_is_owed(store: DiskStore) -> None:
    with opened(store) as assembly:
        put(assembly, (0, SIZE))
        assembly.publish(hashed=False)
    assert store.owed.digests() == [BLOB.digest]
    assert settle(store) == {}
    assert store.owed.digests() == []


def test_an_owed_digest_that_proves_wrong_sets_the_blob_aside(store: DiskStore) -> None:
    with opened(store) as assembly:
        assembly.write(0, bytes(SIZE))
        assembly.publish(hashed=False)
    [(digest, reason)] = settle(store).items()
    assert digest == BLOB.digest
    assert reason.endswith(f"for {digest}")
    assert not store.blobs.exists(BLOB)
    assert store.owed.distrusted(BLOB.digest)


def test_who_is_stopped_owes_still(store: DiskStore) -> None:
    store.owed.note(BLOB.digest, True)
    assert settle(store, stopped=lambda: True) == {}
    assert store.owed.digests() == [BLOB.digest]


def test_a_check_of_the_store_pays_what_is_owed(store: DiskStore) -> None:
    with opened(store) as assembly:
        put(assembly, (0, SIZE))
        assembly.publish(hashed=False)
    assert list(verify_store(store)) == [BLOB.digest]
    assert store.owed.digests() == []


def test_a_collection_forgets_what_is_owed_for_what_is_gone(store: DiskStore) -> None:
    store.owed.note(BLOB.digest, True)
    collect(store)
    assert store.owed.digests() == []


# -- damaged content ------------------------------------------------------------------------------------------------


def damaged(store: DiskStore, at: int = 5000) -> Path:
    """Store the blob and flip a byte of it on disk."""
    with opened(store) as assembly:
        finish(assembly)
    path = store.blobs.path(BLOB.digest)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([DATA[at] ^ 1]))
    path.chmod(0o444)
    return path


def test_damage_that_is_set_aside_is_brought_again(store: DiskStore) -> None:
    damaged(store)
    [found] = verify_store(store, remove=True)
    assert isinstance(found, Damage)
    with opened(store) as assembly:
        finish(assembly)
    assert bytes_of(store) == DATA


def test_damage_is_only_told_unless_it_shall_be_removed(store: DiskStore) -> None:
    damaged(store)
    assert isinstance(next(iter(verify_store(store))), Damage)
    assert store.blobs.exists(BLOB)


def test_content_that_was_replaced_meanwhile_is_not_set_aside(store: DiskStore) -> None:
    path = damaged(store)
    with path.open("rb") as file:
        path.unlink()
        with opened(store) as assembly:
            finish(assembly)
        assert store.blobs.quarantine(BLOB.digest, os.fstat(file.fileno())) is None
    assert bytes_of(store) == DATA


def test_damage_is_mended_in_place(store: DiskStore) -> None:
    path = damaged(store)
    with store.reassemble(BLOB) as assembly:
        assert assembly.missing() == []
        assembly.forget(Extent(4096, 8192))
        assert assembly.missing() == [Extent(4096, 8192)]
        finish(assembly)
    assert path.read_bytes() == DATA
    assert left(store) == []


def test_mending_that_is_given_up_changes_nothing(store: DiskStore) -> None:
    path = damaged(store)
    before = path.read_bytes()
    with store.reassemble(BLOB) as assembly:
        assembly.write(0, b"?" * 100)
    assert path.read_bytes() == before
    assert left(store) == []


def test_content_that_is_too_short_lacks_its_end(store: DiskStore) -> None:
    os.truncate(damaged(store), 70_000)
    with store.reassemble(BLOB) as assembly:
        assert assembly.missing() == [Extent(70_000, SIZE)]


def test_what_is_not_there_cannot_be_mended(store: DiskStore) -> None:
    with pytest.raises(NotFound), store.reassemble(BLOB):
        pass


# -- collection -----------------------------------------------------------------------------------------------------


def later(store: DiskStore) -> DiskStore:
    return DiskStore(store.root, clock=SettableClock(time.time() + 10))


def test_a_collection_removes_what_a_killed_process_left(store: DiskStore, neighbour: Neighbour) -> None:
    neighbour.tell("write", 0, 1000)
    neighbour.tell("keep", 0, 1000)
    neighbour.kill()
    collected = collect(later(store))
    assert collected.staging == 1
    assert collected.freed >= 1000
    assert left(store) == []


def test_a_collection_leaves_a_partial_in_use(store: DiskStore, neighbour: Neighbour) -> None:
    neighbour.tell("write", 0, 1000)
    assert collect(later(store)).staging == 0
    neighbour.tell("write", 1000, SIZE)
    neighbour.tell("publish")
    assert bytes_of(store) == DATA


def test_a_collection_without_locks_leaves_a_partial_in_use(store: DiskStore, neighbour: Neighbour) -> None:
    neighbour.tell("write", 0, 1000)
    host = Host(lock=no_locks, clock=lambda: time.time() + 10)
    assert collect(DiskStore(store.root, clock=host.clock, host=host)).staging == 0


def test_a_collection_under_a_lease_leaves_young_partials(store: DiskStore) -> None:
    with store.lease():
        leave(store)
        assert collect(later(store)).staging == 0


def test_a_dry_run_counts_partials_and_leaves_them(store: DiskStore) -> None:
    folder = leave(store)
    assert collect(later(store), dry_run=True).staging == 1
    assert folder.exists()


def test_a_partial_whose_making_was_killed_goes_too(store: DiskStore) -> None:
    folder = leave(store, f"{Host().name}-{dead()}-00000000-{boot_id()}")
    (folder / "data").unlink()
    assert collect(later(store)).staging == 1
    assert left(store) == []


def test_a_partial_counts_what_it_takes_on_the_disk(store: DiskStore) -> None:
    leave(store)
    assert 1000 <= usage(store).staging <= SIZE + 4096


def test_owners_are_read_strictly() -> None:
    owner = Owner.parse(Host().mark())
    assert owner is not None
    assert Host().runs(owner)
    assert not replace(Host(), boot="another").runs(owner)
    for text in ("", "a-b-c-d", "host-1-0000000g-x", "host--1-00000000-x", "../x-1-00000000-x", "h-1-00000000-x/.."):
        assert Owner.parse(text) is None
