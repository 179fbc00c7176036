"""parts: which bytes are asked for in one request."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installml.digest import Digest
from installml.spec.chunks import ChunkIndex
from installml.spec.extents import Extent, Extents
from installml.transfer.parts import GAP, LARGEST, SMALLEST, WIDE, Parts, bridged, part_size, to_fetch

MIB = 1 << 20
GIB = 1 << 30
SIZES = st.integers(1, 300 * MIB)


def index_of(*sizes: int) -> ChunkIndex:
    bounds = [0, *accumulate(sizes)]
    return ChunkIndex(Digest.of(b"x"), bounds, bytes(32) * len(sizes))


@st.composite
def holes(draw: st.DrawFn) -> tuple[list[Extent], int]:
    """Draw what lacks of a blob of some size."""
    size = draw(st.integers(1, 64 * MIB))
    edges = sorted(draw(st.sets(st.integers(0, size), min_size=2, max_size=20)))
    return [Extent(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=False)], size


def taken(parts: Parts, rate: float = 0.0, connections: int = 4) -> list[Extent]:
    found = []
    while parts:
        found.append(parts.take(rate, connections))
    return found


@pytest.mark.parametrize(
    ("size", "rate", "connections", "expected"),
    [
        (2 * GIB, 0, 4, SMALLEST),  # nobody knows the speed yet
        (2 * GIB, 1e6, 16, SMALLEST),  # slow: as little as possible is lost
        (100 * GIB, 1e9, 16, LARGEST),  # fast and large: few requests
        (2 * GIB, 1e9, 16, 2 * GIB // 64),  # the last ones should end together
        (100 * GIB, 12 * MIB, 16, 24 * MIB),  # two seconds
        (5 * MIB, 1e9, 16, SMALLEST),
    ],
)
def test_a_part_takes_seconds_and_no_connection_is_left_without(
    size: int, rate: float, connections: int, expected: int
) -> None:
    assert part_size(size, rate, connections) == expected


@given(SIZES, st.floats(0, 1e10), st.integers(1, 64))
def test_the_size_of_a_part_has_bounds(size: int, rate: float, connections: int) -> None:
    assert SMALLEST <= part_size(size, rate, connections) <= LARGEST


@given(holes(), st.floats(0, 1e10), st.integers(1, 64))
def test_parts_are_all_that_lacks_once_and_in_order(found: tuple[list[Extent], int], rate: float, jobs: int) -> None:
    stretches = to_fetch(*found)
    parts = taken(Parts(stretches), rate, jobs)
    assert parts == sorted(parts)
    assert sum(part.size for part in parts) == sum(stretch.size for stretch in stretches)
    assert list(Extents(parts)) == list(Extents(stretches))


@given(holes())
def test_everything_that_lacks_is_fetched(found: tuple[list[Extent], int]) -> None:
    missing, size = found
    fetched = Extents(bridged(missing, size))
    assert all(extent in fetched for extent in missing)


@given(holes())
def test_what_is_fetched_again_is_never_more_than_the_gaps_allow(found: tuple[list[Extent], int]) -> None:
    missing, size = found
    extra = sum(e.size for e in bridged(missing, size)) - sum(e.size for e in missing)
    assert 0 <= extra <= WIDE * GAP * max(0, len(missing) - 1)


def test_small_gaps_are_fetched_rather_than_asked_around() -> None:
    missing = [Extent(0, MIB), Extent(MIB + GAP, 4 * MIB), Extent(4 * MIB + GAP + 1, 6 * MIB)]
    assert bridged(missing, GIB) == [Extent(0, 4 * MIB), Extent(4 * MIB + GAP + 1, 6 * MIB)]


def test_where_most_lacks_wider_gaps_are_bridged() -> None:
    missing = [Extent(at * 10 * MIB, at * 10 * MIB + 7 * MIB) for at in range(10)]
    assert bridged(missing, 97 * MIB) == [Extent(0, 97 * MIB)]
    assert bridged(missing, GIB) == missing


def test_a_large_piece_that_is_there_is_never_fetched_again() -> None:
    missing = [Extent(0, 400 * MIB), Extent(500 * MIB, 1000 * MIB)]
    assert bridged(missing, 1000 * MIB) == missing


def test_gaps_are_small_beside_parts() -> None:
    missing = [Extent(0, MIB), Extent(2 * MIB, 3 * MIB)]
    assert bridged(missing, GIB, part=MIB) == missing
    assert bridged(missing, GIB, part=16 * MIB) == [Extent(0, 3 * MIB)]


def test_nothing_that_lacks_is_nothing_to_fetch() -> None:
    assert to_fetch([], 100) == []


@given(holes(), st.integers(1, 8), st.floats(0, 1e10))
def test_parts_of_a_vouched_blob_are_whole_chunks(found: tuple[list[Extent], int], chunk: int, rate: float) -> None:
    missing, size = found
    sizes = [chunk * MIB // 2] * (size // (chunk * MIB // 2))
    index = index_of(*sizes, *([rest] if (rest := size - sum(sizes)) else []))
    for part in taken(Parts(to_fetch(missing, size, index), index), rate):
        assert part == index.aligned(part)


def test_scattered_stretches_are_asked_for_in_smaller_requests() -> None:
    stretches = [Extent(0, 200 * MIB), Extent(900 * MIB, 1000 * MIB)]
    assert max(part.size for part in taken(Parts(stretches), rate=1e9, connections=1)) <= 48 * MIB


def test_a_rest_of_less_than_half_a_part_is_no_request_of_its_own() -> None:
    assert taken(Parts([Extent(0, SMALLEST + SMALLEST // 2)])) == [Extent(0, SMALLEST + SMALLEST // 2)]


def test_an_exact_size_is_kept() -> None:
    parts = taken(Parts([Extent(0, 10 * MIB + 1)], exact=4 * MIB))
    assert [part.size for part in parts] == [4 * MIB, 4 * MIB, 2 * MIB + 1]


def test_what_comes_back_is_next_when_it_is_nearest_to_the_front() -> None:
    parts = Parts([Extent(0, 64 * MIB)])
    first, second = parts.take(0, 4), parts.take(0, 4)
    parts.give_back(Extent(second.start + 5, second.stop))
    parts.give_back(Extent(first.start + 7, first.stop))
    assert parts.take(0, 4) == Extent(7, first.stop)
    assert parts.take(0, 4) == Extent(second.start + 5, second.stop)


def test_nothing_comes_back_as_nothing() -> None:
    parts = Parts([])
    parts.give_back(Extent(5, 5))
    assert not parts
    assert parts.size == 0


def test_what_comes_another_way_is_forgotten() -> None:
    parts = Parts([Extent(0, 64 * MIB)])
    parts.clear()
    assert not parts
