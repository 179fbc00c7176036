"""download: which part comes when, over which connection, and what happens when one of them does not come."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.digest import Digest
from installml.errors import DiskFull, Interrupted, NotFound
from installml.events import BlobChecked, BlobProgress, BlobStarted, Waiting
from installml.registry.errors import (
    BlobUnknown,
    ConnectionLost,
    ConnectionRefused,
    RateLimited,
    ServerFailed,
    TimedOut,
    UnexpectedAnswer,
)
from installml.registry.http import HttpClient, Network
from installml.registry.repository import Registry
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.journal import Journal
from installml.store.protocol import Assembly

from .pulls import (
    BIG,
    OTHER,
    PART,
    SMALL,
    TIMED,
    TUNING,
    NoRanges,
    Pull,
    Seconds,
    Store,
    break_off,
    first_only,
    interrupted,
    name,
)
from .shelf import BLOCK, Piece, Shelf, descriptor_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


# -- order ------------------------------------------------------------------------------------------------------------


def test_all_kinds_of_blobs_arrive(store: Store) -> None:
    blobs = [BIG, *SMALL, OTHER, b"", b"x"]
    pull = Pull(Shelf(*blobs), store).run(*blobs)
    assert all(store.holds(data) for data in blobs)
    assert set(pull.outcomes.values()) == {"copied"}
    assert len(pull.outcomes) == len(blobs)
    assert store.staged() == []


def test_the_front_of_a_blob_comes_first(store: Store) -> None:
    source = Shelf(BIG)
    Pull(source, store, jobs=1).run(BIG)
    assert source.extents == [Extent(at, at + PART) for at in range(0, len(BIG), PART)]


def test_large_blobs_come_before_small_ones(store: Store) -> None:
    source = Shelf(BIG, *SMALL)
    opened = threading.Event()
    store_assemble = store.assemble

    def assemble(*args: object, **more: object) -> object:
        opened.set()
        return store_assemble(*args, **more)  # type: ignore[arg-type]

    store.assemble = assemble  # type: ignore[method-assign, assignment]
    Pull(source, store, jobs=1).run(*SMALL, BIG)
    sizes = [descriptor.size for descriptor, _ in source.asked]
    assert opened.is_set()
    assert sizes.index(len(BIG)) <= 1  # the first request may go out while the large blob is being opened
    assert max(at for at, size in enumerate(sizes) if size == len(BIG)) <= len(BIG) // PART + 1


def test_no_more_requests_are_open_than_allowed(store: Store) -> None:
    source = Shelf(BIG, OTHER, *SMALL)
    Pull(source, store, jobs=2).run(BIG, OTHER, *SMALL)
    assert source.most <= 2


def test_parts_of_one_blob_are_asked_for_at_the_same_time(store: Store) -> None:
    source = Shelf(BIG)
    together = threading.Barrier(3)
    source.head = lambda descriptor, extent: together.wait(60) and None if extent.start < 3 * PART else None
    Pull(source, store, jobs=3).run(BIG)
    assert store.holds(BIG)


def test_what_is_there_is_not_asked_for(store: Store) -> None:
    Pull(Shelf(BIG, *SMALL), store).run(BIG, *SMALL)
    again = Shelf(BIG, *SMALL)
    pull = Pull(again, store).run(BIG, *SMALL)
    assert again.asked == []
    assert set(pull.outcomes.values()) == {"exists"}


def test_many_more_large_blobs_than_are_opened_at_once_arrive(store: Store) -> None:
    blobs = [random.Random(seed).randbytes(6_000) for seed in range(60)]
    Pull(Shelf(*blobs), store).run(*blobs)
    assert all(store.holds(data) for data in blobs)


# -- events -----------------------------------------------------------------------------------------------------------


def test_every_byte_is_told_once_and_compared_once(store: Store) -> None:
    blobs = [BIG, OTHER, *SMALL]
    pull = Pull(Shelf(*blobs), store).run(*blobs)
    assert pull.moved() == {name(data): len(data) for data in blobs}
    checked = Counter[str]()
    for event in pull.events:
        if isinstance(event, BlobChecked):
            checked[event.digest] += event.advance
    assert checked == {name(BIG): len(BIG), name(OTHER): len(OTHER)}
    assert {e.digest for e in pull.events if isinstance(e, BlobStarted) and e.checked} == set(checked)


def test_a_blob_begins_before_its_bytes(store: Store) -> None:
    pull = Pull(Shelf(BIG, *SMALL), store).run(BIG, *SMALL)
    seen = set()
    for event in pull.events:
        if isinstance(event, BlobStarted):
            seen.add(event.digest)
        elif isinstance(event, BlobProgress):
            assert event.digest in seen


# -- what breaks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ConnectionLost("cut"), TimedOut("late"), ServerFailed("oops", status=500), ServerFailed("", status=504)]
)
def test_a_part_that_breaks_goes_on_where_it_broke(error: Exception, store: Store) -> None:
    source = Shelf(BIG)

    def fail(piece: Piece) -> None:
        raise error

    source.script = first_only(fail, lambda piece: piece.position == 2 * PART + 3 * BLOCK)
    pull = Pull(source, store, jobs=1).run(BIG)
    assert Extent(2 * PART + 3 * BLOCK, 3 * PART) in source.extents
    assert len(source.extents) == 11
    assert pull.moved() == {name(BIG): len(BIG)}
    assert store.holds(BIG)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_breaks_wherever_the_bytes_are_right_and_told_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    blob = random.Random(9).randbytes(data.draw(st.integers(5_001, 300_000)))
    source, store = Shelf(blob), Store(tmp_path_factory.mktemp("store"))
    breaks = set(data.draw(st.lists(st.integers(0, 30), max_size=6)))
    number, guard = count(), threading.Lock()

    def script(piece: Piece) -> None:
        with guard:
            at = next(number)
        if at in breaks:
            raise ConnectionLost("cut")

    source.script = script
    tuning = replace(TUNING, part=data.draw(st.sampled_from([7_001, 50_000, 1 << 20])), clock=Seconds())
    pull = Pull(source, store, jobs=data.draw(st.integers(1, 4)), tuning=tuning).run(blob)
    assert store.holds(blob)
    assert pull.moved() == {name(blob): len(blob)}


@pytest.mark.parametrize("size", [len(BIG), 1000])
def test_a_registry_that_never_answers_is_given_up_when_nothing_new_came_for_long(size: int, store: Store) -> None:
    source = Shelf(BIG[:size])

    def fail(descriptor: Descriptor, extent: Extent) -> None:
        raise ServerFailed("the registry is ill", status=500)

    source.head = fail
    pull = Pull(source, store, tuning=replace(TUNING, clock=Seconds(), patience=100.0))
    with pytest.raises(ServerFailed, match="ill"):
        pull.run(BIG[:size])
    assert len(source.asked) > 5
    assert not store.holds(BIG[:size])


def test_a_download_that_gets_on_is_never_given_up(store: Store) -> None:
    """Each request brings one block and breaks: a hundred failures, each after progress."""
    source = Shelf(BIG)

    def script(piece: Piece) -> None:
        if piece.position > piece.start:
            raise ConnectionLost("cut")

    source.script = script
    Pull(source, store, jobs=2, tuning=replace(TUNING, clock=Seconds(), patience=60.0)).run(BIG)
    assert store.holds(BIG)
    assert len(source.asked) >= len(BIG) // BLOCK


@pytest.mark.parametrize("blob", [BIG, SMALL[0]])
def test_what_another_attempt_cannot_mend_ends_at_once(blob: bytes, store: Store) -> None:
    source = Shelf()
    with pytest.raises(BlobUnknown):
        Pull(source, store, jobs=1).run(blob)
    assert len(source.asked) == 1
    assert not store.holds(blob)


def test_a_registry_that_was_there_and_refuses_connections_for_a_moment_is_waited_for(store: Store) -> None:
    source, number = Shelf(BIG), count()

    def restart(descriptor: Descriptor, extent: Extent) -> None:
        if next(number) in (3, 4):
            raise ConnectionRefused("nobody listens")

    source.head = restart
    Pull(source, store, jobs=1, tuning=replace(TUNING, clock=Seconds())).run(BIG)
    assert store.holds(BIG)


def test_a_registry_that_was_never_there_is_not_waited_for(store: Store) -> None:
    source = Shelf(BIG)

    def refuse(descriptor: Descriptor, extent: Extent) -> None:
        raise ConnectionRefused("nobody listens")

    source.head = refuse
    with pytest.raises(ConnectionRefused):
        Pull(source, store, jobs=1).run(BIG)
    assert len(source.asked) == 1


def test_a_small_blob_that_breaks_begins_again_and_no_byte_is_told_twice(store: Store) -> None:
    blob = random.Random(3).randbytes(4 * BLOCK)
    source = Shelf(blob)
    source.script = first_only(break_off, lambda piece: piece.position == 2 * BLOCK)
    pull = Pull(source, store, tuning=replace(TUNING, small=len(blob), clock=Seconds())).run(blob)
    assert source.extents == [Extent(0, len(blob))] * 2
    assert pull.moved() == {name(blob): len(blob)}
    assert store.holds(blob)


def test_an_answer_that_ends_too_early_is_asked_for_again(store: Store) -> None:
    source = Shelf(BIG)

    def shorten(piece: Piece) -> None:
        piece.stop = min(piece.stop, piece.start + 2 * BLOCK)

    source.script = shorten
    pull = Pull(source, store, jobs=2).run(BIG)
    assert store.holds(BIG)
    assert pull.moved() == {name(BIG): len(BIG)}


def test_answers_without_a_byte_are_given_up(store: Store) -> None:
    source = Shelf(BIG)

    def empty(piece: Piece) -> None:
        piece.stop = piece.start

    source.script = empty
    with pytest.raises(ConnectionLost):
        Pull(source, store, tuning=replace(TUNING, clock=Seconds(), patience=100.0)).run(BIG)


# -- connections that stand still -------------------------------------------------------------------------------------


def test_the_last_part_is_asked_for_again_when_its_connection_is_much_slower_than_the_others(store: Store) -> None:
    source = Shelf(BIG)
    source.script = first_only(Piece.hang, lambda piece: piece.position == 9 * PART + BLOCK)
    Pull(source, store, jobs=4, tuning=replace(TIMED, stall=3600.0)).run(BIG)
    assert store.holds(BIG)
    assert Extent(9 * PART + BLOCK, len(BIG)) in source.extents


def test_a_stalled_connection_is_given_up_before_its_socket_times_out(store: Store) -> None:
    source = Shelf(BIG)
    source.script = first_only(Piece.hang, lambda piece: piece.position == BLOCK)
    Pull(source, store, jobs=1, tuning=replace(TIMED, stall=0.02)).run(BIG)
    assert Extent(BLOCK, PART) in source.extents
    assert store.holds(BIG)


def test_a_stalled_connection_of_a_small_blob_is_given_up_too(store: Store) -> None:
    source = Shelf(*SMALL)
    source.script = first_only(Piece.hang, lambda piece: True)
    Pull(source, store, jobs=1, tuning=replace(TIMED, stall=0.02)).run(*SMALL)
    assert all(store.holds(data) for data in SMALL)


@pytest.mark.parametrize("blob", [BIG, SMALL[0]])
def test_a_request_whose_answer_never_begins_is_left_behind(blob: bytes, store: Store) -> None:
    source, number, end = Shelf(blob), count(), threading.Event()

    def never(descriptor: Descriptor, extent: Extent) -> None:
        if next(number) == 0:
            end.wait(60)

    source.head = never
    try:
        Pull(source, store, jobs=1, tuning=replace(TIMED, stall=0.02)).run(blob)
        assert store.holds(blob)
    finally:
        end.set()


def test_what_a_late_connection_brings_is_not_written_over_what_was_compared(store: Store) -> None:
    """The slow one comes back with other bytes, after somebody else has brought its part."""
    source, late = Shelf(BIG), threading.Event()

    class Late(Piece):
        def readinto(self, buffer: memoryview, /) -> int:
            late.wait(60)
            buffer[:BLOCK] = bytes(BLOCK)
            self.position += BLOCK
            return BLOCK

        def abort(self) -> None:
            late.set()

    number = count()
    source.piece = lambda data, extent: (  # type: ignore[method-assign]
        Late(data, extent.start, extent.stop, lambda piece: None)
        if extent.stop == len(BIG) and next(number) == 0
        else Piece(data, extent.start, extent.stop, lambda piece: None)
    )
    Pull(source, store, jobs=3, tuning=replace(TIMED, stall=3600.0)).run(BIG)
    assert store.holds(BIG)


# -- registries that ask us to go slower ------------------------------------------------------------------------------


def test_a_refusal_halves_the_connections(store: Store) -> None:
    source, number = Shelf(BIG, OTHER), count()

    def refuse(descriptor: Descriptor, extent: Extent) -> None:
        if next(number) == 2:
            raise RateLimited("slow down", status=429)

    source.head = refuse
    pull = Pull(source, store, jobs=4, tuning=replace(TUNING, clock=Seconds(0.01))).run(BIG, OTHER)
    assert pull.engine.schedule.pace.limit < 4
    assert store.holds(BIG)


def test_the_time_that_a_registry_asks_for_is_waited_and_told(store: Store) -> None:
    source, asked_at, clock, number = Shelf(BIG), list[float](), Seconds(0.25), count()

    def refuse(descriptor: Descriptor, extent: Extent) -> None:
        asked_at.append(clock())
        if next(number) == 1:
            raise RateLimited("slow down", status=429, retry_after=60.0)

    source.head = refuse
    pull = Pull(source, store, jobs=1, tuning=replace(TUNING, clock=clock)).run(BIG)
    assert asked_at[2] - asked_at[1] >= 60
    assert [event.seconds for event in pull.events if isinstance(event, Waiting)] == [60.0]
    assert store.holds(BIG)


def test_where_some_are_refused_the_others_go_on_all_the_same(store: Store) -> None:
    """The clock stands still: what waits would wait for ever."""
    source, served, noted = Shelf(BIG), threading.Event(), threading.Event()

    def refuse(descriptor: Descriptor, extent: Extent) -> None:
        if extent.start == PART and not noted.is_set():
            assert served.wait(60)
            raise RateLimited("no more", status=429, retry_after=60.0)

    def script(piece: Piece) -> None:
        served.set()
        assert piece.start or noted.wait(60)

    source.head, source.script = refuse, script
    pull = Pull(source, store, jobs=2)
    pace = pull.engine.schedule.pace
    take_note = pace.refused

    def refused(*words: float) -> None:
        take_note(*words)
        noted.set()

    pace.refused = refused  # type: ignore[method-assign]
    pull.run(BIG)
    assert store.holds(BIG)


def test_a_registry_that_asks_to_come_back_tomorrow_has_refused(store: Store) -> None:
    source = Shelf(BIG)

    def refuse(descriptor: Descriptor, extent: Extent) -> None:
        raise RateLimited("come back tomorrow", status=429, retry_after=86400.0)

    source.head = refuse
    with pytest.raises(RateLimited):
        Pull(source, store, jobs=1).run(BIG)
    assert len(source.asked) == 1


def test_a_pause_is_no_reason_to_give_up(store: Store) -> None:
    source, number = Shelf(BIG), count()

    def refuse(descriptor: Descriptor, extent: Extent) -> None:
        if next(number) < 4:
            raise RateLimited("slow down", status=429, retry_after=90.0)

    source.head = refuse
    Pull(source, store, jobs=1, tuning=replace(TUNING, clock=Seconds(), patience=100.0)).run(BIG)
    assert store.holds(BIG)


class Meter:
    """Counts what a limit is asked for."""

    def __init__(self) -> None:
        self.taken = 0

    def block(self, largest: int) -> int:
        return min(largest, 1_000)

    def take(self, count: int, stopped: Callable[[], bool] | None = None) -> None:
        self.taken += count


def test_a_limit_sees_every_byte_in_small_pieces(store: Store) -> None:
    meter = Meter()
    Pull(Shelf(BIG, SMALL[0]), store, jobs=1, limit=meter).run(BIG, SMALL[0])
    assert meter.taken == len(BIG) + len(SMALL[0])


# -- stopping and going on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("stop")])
def test_after_ctrl_c_only_what_was_in_flight_is_fetched_again(error: BaseException, store: Store) -> None:
    interrupted(Shelf(BIG), store, error, after=60)
    again = Shelf(BIG)
    pull = Pull(again, store, jobs=2).run(BIG)
    assert sum(extent.size for extent in again.extents) <= len(BIG) - 58 * BLOCK
    started = next(event for event in pull.events if isinstance(event, BlobStarted))
    assert started.done + sum(pull.moved().values()) == len(BIG)
    assert store.holds(BIG)


def test_each_part_is_recorded_when_it_has_come_for_whoever_comes_after_a_kill(store: Store) -> None:
    source, kept = Shelf(BIG), list[Extent]()

    def look(piece: Piece) -> None:
        (journal,) = (store.store.root / "ingest").glob("*/journal")
        found = Journal.read(journal, descriptor_of(BIG))
        assert found is not None
        kept.extend(found.kept)

    source.script = first_only(look, lambda piece: piece.position >= 5 * PART)
    Pull(source, store, jobs=1).run(BIG)
    assert kept == [Extent(0, 5 * PART)]


def test_a_disk_that_is_full_when_a_part_is_to_be_recorded_ends_the_download(store: Store) -> None:
    assemble = store.assemble

    @contextmanager
    def full(*args: object, **more: object) -> Iterator[Assembly | None]:
        with assemble(*args, **more) as assembly:  # type: ignore[arg-type]
            assert assembly is not None
            assembly.keep = keep  # type: ignore[method-assign]
            yield assembly

    def keep(extent: Extent) -> None:
        raise DiskFull("no room for the journal")

    store.assemble = full  # type: ignore[method-assign, assignment]
    with pytest.raises(DiskFull, match="journal"):
        Pull(Shelf(BIG), store).run(BIG)
    assert not store.holds(BIG)


def test_ctrl_c_ends_connections_on_which_nothing_comes(store: Store) -> None:
    source = Shelf(BIG)
    hanging = threading.Event()

    def script(piece: Piece) -> None:
        if piece.start == PART:
            hanging.set()
            piece.hang()
        elif piece.position >= 5 * PART:
            assert hanging.wait(60)
            raise KeyboardInterrupt

    source.script = script
    with pytest.raises(KeyboardInterrupt):
        Pull(source, store, jobs=3).run(BIG)
    assert not store.holds(BIG)


def test_when_one_blob_fails_the_others_stop_and_keep_what_they_have(store: Store) -> None:
    """Each of the two blobs leaves connections to the other, whichever is opened first."""
    lost = OTHER[:PART]
    source = Shelf(BIG, lost)
    half = threading.Event()

    def hold(piece: Piece) -> None:
        half.set()
        piece.hang()

    def head(descriptor: Descriptor, extent: Extent) -> None:
        if descriptor.size == len(lost):
            assert half.wait(60)
            raise BlobUnknown("gone", status=404)

    source.head = head
    source.script = first_only(hold, lambda piece: piece.data is BIG and piece.position >= 5 * PART)
    with pytest.raises(BlobUnknown):
        Pull(source, store, jobs=4).run(BIG, lost)
    again = Shelf(BIG)
    Pull(again, store).run(BIG)
    assert sum(extent.size for extent in again.extents) <= 8 * PART


class Mute(BaseHTTPRequestHandler):
    """A registry that never answers for one blob, and does not have the other one."""

    protocol_version = "HTTP/1.1"
    asked: threading.Event
    left: threading.Event

    def do_GET(self) -> None:
        if name(BIG) in self.path:
            self.asked.set()
            self.rfile.read(1)
            self.left.set()
            self.close_connection = True
            return
        if "/blobs/" in self.path:
            assert self.asked.wait(60)
        self.send_response(404 if "/blobs/" in self.path else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_failure_cuts_requests_whose_answer_never_begins(store: Store) -> None:
    """Else they would keep their connections, and the registry's, until the socket's timeout: here an hour."""
    handler = type("Handler", (Mute,), {"asked": threading.Event(), "left": threading.Event()})
    client = HttpClient(Network(timeout=(15.0, 3600.0)))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        source = Registry(f"127.0.0.1:{server.server_port}", client).repository("acme/shelf")
        with pytest.raises(NotFound):
            # large parts: the first blob must not take all connections before the other one is there
            Pull(source, store, tuning=replace(TUNING, part=len(OTHER))).run(BIG, OTHER)  # type: ignore[arg-type]
        assert handler.left.wait(60)  # type: ignore[attr-defined]
        server.shutdown()
    client.close()


# -- registries without ranges ----------------------------------------------------------------------------------------


def test_a_registry_that_sends_the_whole_is_read_once_from_the_front(store: Store) -> None:
    source = NoRanges(BIG)
    pull = Pull(source, store, jobs=1).run(BIG)
    assert source.extents == [Extent(0, PART)]
    assert pull.moved() == {name(BIG): len(BIG)}
    assert store.holds(BIG)


def test_with_many_connections_one_goes_on_and_the_others_do_something_else(store: Store) -> None:
    pull = Pull(NoRanges(BIG, OTHER), store, jobs=4).run(BIG, OTHER)
    assert pull.moved() == {name(BIG): len(BIG), name(OTHER): len(OTHER)}
    assert store.holds(BIG)
    assert store.holds(OTHER)


def test_without_ranges_a_break_begins_again_and_what_is_there_is_not_told_twice(store: Store) -> None:
    source = NoRanges(BIG)
    source.script = first_only(break_off, lambda piece: piece.position == 5 * BLOCK)
    pull = Pull(source, store, jobs=2).run(BIG)
    assert pull.moved() == {name(BIG): len(BIG)}
    assert store.holds(BIG)


def test_what_is_there_stays_when_the_registry_has_lost_its_ranges(store: Store) -> None:
    interrupted(Shelf(BIG), store, KeyboardInterrupt(), after=50)
    source = NoRanges(BIG)
    pull = Pull(source, store, jobs=2).run(BIG)
    assert sum(pull.moved().values()) <= len(BIG) - 48 * BLOCK
    assert store.holds(BIG)


def test_a_registry_that_never_gets_through_the_whole_is_given_up(store: Store) -> None:
    source = NoRanges(BIG)

    def script(piece: Piece) -> None:
        if piece.position >= 5 * BLOCK:
            raise ConnectionLost("cut")

    source.script = script
    with pytest.raises(ConnectionLost):
        Pull(source, store, jobs=2, tuning=replace(TUNING, clock=Seconds(), patience=100.0)).run(BIG)


def test_ranges_that_cannot_be_believed_are_no_ranges(store: Store) -> None:
    source = Shelf(BIG)

    def head(descriptor: Descriptor, extent: Extent) -> None:
        if extent.start:
            raise UnexpectedAnswer("other bytes than those asked for", status=206)

    source.head = head
    Pull(source, store, jobs=2).run(BIG)
    assert Extent(0, len(BIG)) in source.extents
    assert store.holds(BIG)


# -- cost -------------------------------------------------------------------------------------------------------------


class Zeros(Shelf):
    """Sends zeros, of which it holds none."""

    def piece(self, data: bytes, extent: Extent) -> Piece:
        return _Zeros(b"", extent.start, extent.stop, self.script)


class _Zeros(Piece):
    def readinto(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), self.stop - self.position)
        self.position += count
        return count


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_memory_is_a_buffer_a_connection_and_one_a_hasher_whatever_the_size(store: Store, traced: None) -> None:
    size, jobs = 96 << 20, 6
    state = descriptor_of(b"").digest.hasher()
    for _ in range(96):
        state.update(bytes(1 << 20))
    blob = Descriptor("application/octet-stream", Digest("sha256", state.hexdigest()), size)
    source = Zeros()
    source.content[blob.digest] = b""
    pull = Pull(source, store, jobs=jobs, tuning=replace(TIMED, part=4 << 20))
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    pull.engine.run([blob])
    assert tracemalloc.get_traced_memory()[1] - before <= (jobs + 1 + 2) << 20
