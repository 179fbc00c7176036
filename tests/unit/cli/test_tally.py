from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from installml.cli.tally import FILE_LINES, Tally, draw
from installml.events import BlobDone, BlobProgress, BlobStarted, Event, Phase

MIB = 1 << 20
sizes = st.integers(0, 10_000)
digests = st.sampled_from(["a", "b", "c", "d", "e", "f"])
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(BlobStarted, digests, st.text(max_size=60), sizes),
    st.builds(BlobProgress, digests, sizes),
    st.builds(BlobDone, digests, st.text(max_size=60), sizes, st.sampled_from(["copied", "exists", "mounted"])),
)


def fed(*events: Event, now: float = 0.0) -> Tally:
    tally = Tally()
    for event in events:
        tally.feed(event, now)
    return tally


def test_blobs_that_are_there_already_count_as_done_but_not_as_moved() -> None:
    tally = fed(Phase("pushing", count=2, size=30), BlobDone("a", "a", 20, "exists"), BlobProgress("b", 5))
    assert (tally.finished, tally.done, tally.moved) == (1, 25, 5)


def test_a_finished_blob_counts_once() -> None:
    tally = fed(
        Phase("pushing", count=1, size=30),
        BlobStarted("a", "a", 30),
        BlobProgress("a", 30),
        BlobDone("a", "a", 30, "copied"),
    )
    assert (tally.done, tally.fraction) == (30, 1.0)


def test_a_new_phase_begins_anew_and_more_of_the_same_goes_on() -> None:
    tally = fed(
        Phase("copying", count=1, size=10), BlobDone("a", "a", 10, "exists"), Phase("copying", count=1, size=10)
    )
    assert (tally.finished, tally.count, tally.done, tally.total) == (1, 2, 10, 20)
    tally.feed(Phase("linking"), 1.0)
    assert (tally.finished, tally.count, tally.done, tally.total) == (0, 0, 0, 0)


@settings(max_examples=60)
@given(st.lists(events, max_size=40))
def test_the_fraction_never_falls_and_never_passes_one(stream: list[Event]) -> None:
    tally = fed(Phase("pushing", count=3, size=20_000))
    before = 0.0
    for event in stream:
        tally.feed(event, 0.0)
        assert before <= tally.fraction <= 1.0
        before = tally.fraction


@settings(max_examples=60)
@given(st.lists(events, max_size=40), st.integers(10, 120), st.booleans())
def test_no_line_is_wider_than_the_terminal_and_at_most_four_files_are_drawn(
    stream: list[Event], width: int, ascii_only: bool
) -> None:
    lines = draw(fed(Phase("downloading", count=3, size=20_000), *stream), width, 5.0, ascii_only=ascii_only)
    assert len(lines) <= 1 + FILE_LINES
    assert all(len(line) <= width for line in lines)


def test_the_overall_line_has_phase_count_share_speed_and_time_left() -> None:
    tally = fed(Phase("downloading", count=7, size=100 * MIB), BlobDone("a", "a", 20 * MIB, "exists"))
    tally.feed(BlobProgress("b", 20 * MIB), 1.0)
    (line,) = draw(tally, 80, 2.0)
    assert line.startswith("downloading 1/7 ")
    assert line.endswith("40%    10 MiB/s    0:06")


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
