"""The ceiling on bytes a second, in virtual time."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installml.spec.units import MAX_RATE
from installml.transfer.rate import SLICE_S, Rate, RateInvalid

KIB, MIB = 1 << 10, 1 << 20


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


def rate(bytes_per_second: int, time: Time) -> Rate:
    return Rate(bytes_per_second, time.clock, time.sleep)


def test_bytes_take_the_time_that_the_limit_gives_them() -> None:
    time = Time()
    limit = rate(MIB, time)
    for _ in range(100):
        limit.take(MIB)
    assert time.now - 1000 == pytest.approx(100, abs=SLICE_S)


@given(
    bps=st.integers(1, 1 << 34),
    steps=st.lists(st.tuples(st.integers(0, 8 * MIB), st.floats(0, 5)), max_size=40),
)
def test_no_window_of_time_passes_more_than_the_limit_and_one_burst(bps: int, steps: list[tuple[int, float]]) -> None:
    time = Time()
    limit = rate(bps, time)
    passed: list[tuple[float, int]] = []
    for count, idle in steps:
        limit.take(min(count, bps * 8))
        passed.append((time.now, min(count, bps * 8)))
        time.now += idle
    for first in range(len(passed)):
        begin = passed[first - 1][0] if first else 1000.0
        bytes_in_window = 0
        for now, count in passed[first:]:
            bytes_in_window += count
            assert bytes_in_window <= bps * (now - begin + SLICE_S) * (1 + 1e-6) + 1


def test_a_block_taken_at_a_low_limit_is_cut_into_short_turns() -> None:
    time = Time()
    rate(100 * KIB, time).take(MIB)
    assert max(time.naps) <= SLICE_S + 1e-6
    assert sum(time.naps) == pytest.approx(10.24, abs=SLICE_S)


def test_time_in_which_nobody_came_is_not_saved_up() -> None:
    time = Time()
    limit = rate(MIB, time)
    limit.take(MIB)
    time.now += 3600
    begin = time.now
    limit.take(4 * MIB)
    assert time.now - begin >= 4 - SLICE_S - 1e-6


def test_nothing_never_waits() -> None:
    time = Time()
    rate(1, time).take(0)
    assert time.naps == []


def test_a_stop_ends_the_wait_at_the_next_turn() -> None:
    time = Time()
    rate(KIB, time).take(MIB, lambda: len(time.naps) >= 3)
    assert len(time.naps) == 3


@pytest.mark.parametrize(("bps", "block"), [(1, 4 * KIB), (100 * KIB, 12_800), (1 << 30, MIB)])
def test_a_block_lasts_an_eighth_of_a_second_within_reason(bps: int, block: int) -> None:
    assert rate(bps, Time()).block(MIB) == block


def test_threads_share_one_limit() -> None:
    # The clock stands still, so the longest wait is the place of the last turn in the one queue.
    ends: list[float] = []
    limit = Rate(MIB, lambda: 0.0, ends.append)
    threads = [threading.Thread(target=limit.take, args=(MIB,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(ends) == pytest.approx(8 - SLICE_S)


@pytest.mark.parametrize("bps", [0, -1, MAX_RATE + 1])
def test_what_no_link_keeps_is_refused(bps: int) -> None:
    with pytest.raises(RateInvalid):
        Rate(bps)
