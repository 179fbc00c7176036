from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from installml.cli.screen import cells
from installml.cli.tally import FILE_LINES, Tally, draw, summary
from installml.events import BlobChecked, BlobDone, BlobProgress, BlobStarted, Event, Phase, Waiting

MIB = 1 << 20
sizes = st.integers(0, 10_000)
digests = st.sampled_from(["a", "b", "c", "d", "e", "f"])
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(BlobStarted, digests, st.text(max_size=60), sizes, sizes, st.booleans()),
    st.builds(BlobProgress, digests, sizes),
    st.builds(BlobChecked, digests, sizes),
    st.builds(Waiting, st.text(max_size=60), st.floats(0, 1e9)),
    st.builds(Phase, st.just("pushing"), st.just(""), st.integers(0, 5), st.integers(1, 10_000)),
    st.builds(BlobDone, digests, st.text(max_size=60), sizes, st.sampled_from(["copied", "exists", "mounted"])),
)


def fed(*events: Event, now: float = 0.0) -> Tally:
    tally = Tally()
    for event in events:
        tally.feed(event, now)
    return tally


def test_blobs_that_are_there_already_count_as_done_but_not_as_moved() -> None:
    tally = fed(Phase("pushing", count=2, size=30), BlobDone("a", "a", 20, "exists"), BlobProgress("b", 5))
    assert (tally.finished, tally.there, tally.moved) == (1, 20, 5)  # nobody said that b has begun


def test_a_finished_blob_counts_once() -> None:
    tally = fed(
        Phase("pushing", count=1, size=30),
        BlobStarted("a", "a", 30),
        BlobProgress("a", 30),
        BlobDone("a", "a", 30, "copied"),
    )
    assert (tally.there, tally.fraction) == (30, 1.0)


def test_a_new_phase_begins_anew_and_more_of_the_same_goes_on() -> None:
    tally = fed(
        Phase("copying", count=1, size=10), BlobDone("a", "a", 10, "exists"), Phase("copying", count=1, size=10)
    )
    assert (tally.finished, tally.count, tally.there, tally.total) == (1, 2, 10, 20)
    tally.feed(Phase("linking"), 1.0)
    assert (tally.finished, tally.count, tally.there, tally.total) == (0, 0, 0, 0)


@settings(max_examples=60)
@given(st.lists(events, max_size=40))
def test_the_fraction_never_falls_and_never_passes_one(stream: list[Event]) -> None:
    tally = fed(Phase("pushing", count=3, size=20_000))
    before = 0.0
    files: dict[str, float] = {}
    for now, event in enumerate(stream):
        tally.feed(event, float(now))
        assert before <= tally.fraction <= 1.0
        before = tally.fraction
        if isinstance(event, BlobDone):
            files.clear()  # the name may come again for another blob
        for name, fraction in tally.files():
            assert 0.0 <= fraction <= 1.0
            assert (left := tally.left(float(now))) is None or left > 0
            files[name] = fraction


@settings(max_examples=60)
@given(st.lists(events, max_size=40), st.integers(10, 120), st.booleans())
def test_no_line_is_wider_than_the_terminal_and_at_most_four_files_are_drawn(
    stream: list[Event], width: int, ascii_only: bool
) -> None:
    lines = draw(fed(Phase("downloading", count=3, size=20_000), *stream), width, 5.0, ascii_only=ascii_only)
    assert len(lines) <= 2 + FILE_LINES  # the last one says what is waited for
    assert all(cells(line) <= width for line in lines)


def test_the_overall_line_has_phase_count_share_speed_and_time_left() -> None:
    tally = fed(Phase("downloading", count=7, size=100 * MIB), BlobDone("a", "a", 20 * MIB, "exists"))
    tally.feed(BlobStarted("b", "b", 80 * MIB), 0.0)
    for second in range(5):
        tally.feed(BlobProgress("b", 4 * MIB), float(second))
    line, _ = draw(tally, 80, 4.0)
    assert line.startswith("downloading 1/7 ")
    assert line.endswith("40%     4 MiB/s    0:15")


def test_a_narrow_terminal_keeps_phase_and_share() -> None:
    tally = fed(
        Phase("downloading", count=7, size=100), BlobStarted("a", "weights/model-00001-of-00002.safetensors", 9)
    )
    overall, file = draw(tally, 40, 1.0)
    assert overall.startswith("downloading 0/7")
    assert overall.endswith("  0%")
    assert "…" in file
    assert len(file) == 40


def test_a_phase_without_bytes_is_its_words() -> None:
    assert draw(fed(Phase("linking", "/models/x", count=9)), 80, 0.0) == ["linking /models/x"]


def test_a_file_name_from_elsewhere_cannot_move_the_cursor() -> None:
    lines = draw(fed(Phase("pushing", count=1, size=9), BlobStarted("a", "\x1b[2Jx", 9)), 80, 0.0)
    assert "\x1b" not in "".join(lines)


def test_ascii_terminals_get_ascii() -> None:
    tally = fed(Phase("pushing", count=1, size=10), BlobStarted("a", "a" * 90, 10), BlobProgress("a", 5))
    assert all(line.isascii() for line in draw(tally, 80, 0.0, ascii_only=True))


def moving(*, checked: bool = False, done: int = 0) -> Tally:
    return fed(Phase("downloading", count=1, size=100 * MIB), BlobStarted("a", "a", 100 * MIB, done, checked))


def test_bytes_that_are_there_but_not_compared_count_half() -> None:
    tally = moving(checked=True)
    tally.feed(BlobProgress("a", 100 * MIB), 1.0)
    assert tally.fraction == 0.5
    tally.feed(BlobChecked("a", 60 * MIB), 2.0)
    assert tally.fraction == 0.8


def test_a_blob_that_is_only_to_be_compared_is_verified_not_downloaded() -> None:
    tally = moving(checked=True)
    tally.feed(BlobProgress("a", 100 * MIB), 1.0)
    assert draw(tally, 80, 1.0)[0].startswith("verifying 0/1")


def test_nothing_that_is_left_is_called_done() -> None:
    tally = moving()
    tally.feed(BlobProgress("a", 100 * MIB - 1), 1.0)
    assert "100%" not in "".join(draw(tally, 80, 1.0))


def test_what_was_resumed_is_shown_and_is_no_speed() -> None:
    tally = moving(done=43 * MIB)
    for second in range(6):
        tally.feed(BlobProgress("a", MIB), float(second))
    assert tally.speed(5.0) == pytest.approx(MIB)
    assert "resumed at 43 %" in draw(tally, 100, 5.0)[0]
    assert summary(tally, 5.0).endswith("resumed at 43 %")


def test_the_speed_is_that_of_the_last_seconds() -> None:
    tally = moving()
    tally.feed(BlobProgress("a", 50 * MIB), 0.0)
    tally.feed(BlobProgress("a", 5 * MIB), 100.0)
    assert tally.speed(104.0) == pytest.approx(MIB)
    assert tally.speed(200.0) == 0.0


def test_the_slower_of_landing_and_checking_says_how_long_it_takes() -> None:
    tally = moving(checked=True)
    for second in range(5):
        tally.feed(BlobProgress("a", 10 * MIB), float(second))
        tally.feed(BlobChecked("a", MIB), float(second))
    assert tally.left(4.0) == pytest.approx(95)


def test_no_time_is_told_before_there_is_something_to_tell_it_from() -> None:
    tally = moving()
    tally.feed(BlobProgress("a", MIB), 10.0)
    tally.feed(BlobProgress("a", MIB), 12.0)
    assert (tally.left(12.0), tally.left(12.9)) == (None, None)
    assert tally.left(13.0) is not None


@pytest.mark.parametrize("pace", [99.9, 0.001])
def test_what_is_left_takes_at_least_a_second(pace: float) -> None:
    tally = fed(Phase("downloading", count=1, size=100 * MIB), BlobStarted("a", "a", 100 * MIB))
    tally.feed(BlobProgress("a", int(pace * MIB / 2)), 0.0)
    tally.feed(BlobProgress("a", int(pace * MIB / 2)), 4.0)
    assert not draw(tally, 80, 4.0)[0].rstrip().endswith(" 0:00")


def test_a_wait_is_counted_down_and_gone_after() -> None:
    tally = moving()
    tally.feed(Waiting("the registry limits the rate", 12), 0.0)
    assert draw(tally, 80, 0.0)[-1] == "waiting 12 s: the registry limits the rate"
    assert draw(tally, 80, 11.5)[-1] == "waiting 1 s: the registry limits the rate"
    assert "waiting" not in "".join(draw(tally, 80, 12.0))


def test_a_wait_of_unknown_length_ends_when_bytes_move() -> None:
    tally = moving()
    tally.feed(Waiting("another process fetches the same", 0), 0.0)
    assert draw(tally, 80, 9.0)[-1] == "waiting: another process fetches the same"
    tally.feed(BlobProgress("a", 1), 10.0)
    assert "waiting" not in "".join(draw(tally, 80, 10.0))


def test_an_interruption_leaves_whole_blobs_and_parts_of_large_ones() -> None:
    tally = fed(
        Phase("downloading", count=3, size=111 * MIB),
        BlobDone("a", "a", 10 * MIB, "copied"),
        BlobStarted("b", "b", 100 * MIB, 0, True),
        BlobStarted("c", "c", MIB),
        BlobProgress("b", 50 * MIB),
        BlobProgress("c", MIB // 2),
    )
    assert tally.kept == 60 * MIB


def test_wide_characters_take_two_columns() -> None:
    lines = draw(fed(Phase("pushing", count=1, size=9), BlobStarted("a", "模型" * 40, 9)), 80, 0.0)
    assert cells(lines[1]) == 80
