"""Sets of bytes, against plain Python sets."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from installml.spec.extents import Extent, Extents

SIZE = 40
extents = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: Extent(*pair))
steps = st.lists(st.tuples(st.sampled_from(["add", "remove"]), extents), max_size=12)


def _run(history: list[tuple[str, Extent]]) -> tuple[Extents, set[int]]:
    found, model = Extents(), set[int]()
    for verb, extent in history:
        if verb == "add":
            new = set(range(*extent)) - model
            assert found.add(extent) == len(new)
            model |= new
        else:
            found.remove(extent)
            model -= set(range(*extent))
    return found, model


@given(steps)
def test_it_holds_the_bytes_that_were_added_and_not_removed(history: list[tuple[str, Extent]]) -> None:
    found, model = _run(history)
    assert {byte for extent in found for byte in range(*extent)} == model
    assert found.size == len(model)


@given(steps)
def test_it_is_the_fewest_extents_in_order(history: list[tuple[str, Extent]]) -> None:
    listed = list(_run(history)[0])
    assert all(extent.start < extent.stop for extent in listed)
    assert all(before.stop < after.start for before, after in itertools.pairwise(listed))


@given(steps, st.integers(0, SIZE))
def test_missing_and_there_make_up_the_whole(history: list[tuple[str, Extent]], size: int) -> None:
    found, model = _run(history)
    assert [byte for extent in found.missing(size) for byte in range(*extent)] == [
        byte for byte in range(size) if byte not in model
    ]


@given(steps, extents)
def test_it_knows_whether_all_bytes_of_an_extent_are_there(history: list[tuple[str, Extent]], asked: Extent) -> None:
    found, model = _run(history)
    assert (asked in found) == (set(range(*asked)) <= model)


@given(steps, st.integers(0, SIZE))
def test_the_front_is_the_first_byte_that_is_not_there(history: list[tuple[str, Extent]], start: int) -> None:
    found, model = _run(history)
    expected = next(byte for byte in range(start, SIZE + 2) if byte not in model)
    assert found.front(start) == expected


def test_what_a_stretch_lacks_is_told_for_it_alone() -> None:
    there = Extents([Extent(0, 10), Extent(20, 30), Extent(40, 50)])
    assert there.lacking(Extent(5, 45)) == [Extent(10, 20), Extent(30, 40)]
    assert there.lacking(Extent(22, 28)) == []
    assert there.lacking(Extent(12, 18)) == [Extent(12, 18)]
    assert there.lacking(Extent(50, 60)) == [Extent(50, 60)]
    assert there.lacking(Extent(7, 7)) == []
