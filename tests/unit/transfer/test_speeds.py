"""speeds: which connection is so slow that its part is asked for a second time."""

from __future__ import annotations

import pytest

from installml.digest import Digest
from installml.spec.descriptor import Descriptor
from installml.transfer.download.speeds import SLOW, Speeds
from installml.transfer.download.work import Blob, Job, Run, Small

DESCRIPTOR = Descriptor("application/octet-stream", Digest.of(b"x"), 1 << 30)
USUAL = 1000.0


def known() -> Speeds:
    """Return speeds of connections of which most brought ``USUAL`` bytes a second."""
    speeds = Speeds()
    for rate in (USUAL, 5.0, USUAL, 9 * USUAL, USUAL):
        run = Run(Blob(DESCRIPTOR, 0), 0, int(rate * 10), 0.0)
        run.position = run.stop
        speeds.ended(run, 10.0)
    return speeds


def running(rate: float, job: Job | None = None) -> Run:
    run = Run(job or Blob(DESCRIPTOR, 0), 0, 1 << 20, 0.0)
    run.rate = rate
    return run


def test_what_is_usual_is_the_median_of_whole_parts() -> None:
    speeds = known()
    broken = Run(Blob(DESCRIPTOR, 0), 0, 1 << 30, 0.0)
    for _ in range(9):
        speeds.ended(broken, 1.0)
    assert speeds.usual == USUAL


def test_small_blobs_do_not_tell_what_is_usual() -> None:
    speeds, run = known(), Run(Small(DESCRIPTOR, 0), 0, 10, 0.0)
    run.position = 10
    for _ in range(9):
        speeds.ended(run, 1.0)
    assert speeds.usual == USUAL


def test_before_the_first_part_nobody_is_slow() -> None:
    assert Speeds().usual == 0
    assert Speeds().laggard([running(0.0)], 100.0, 1.0) is None


@pytest.mark.parametrize(("rate", "slow"), [(USUAL * SLOW - 1, True), (USUAL * SLOW, False), (USUAL / 2, False)])
def test_slow_is_less_than_a_tenth_of_the_usual(rate: float, slow: bool) -> None:
    run = running(rate)
    assert known().laggard([run], 100.0, 1.0) is (run if slow else None)
    assert SLOW == 0.1


def test_the_slowest_is_asked_for_first() -> None:
    runs = [running(50.0), running(10.0), running(USUAL)]
    assert known().laggard(runs, 100.0, 1.0) is runs[1]


def test_nobody_is_judged_in_the_first_moments() -> None:
    assert known().laggard([running(0.0)], 0.9, 1.0) is None


def test_nothing_is_asked_for_three_times() -> None:
    run = running(0.0)
    run.twin = True
    assert known().laggard([run], 100.0, 1.0) is None


def test_what_has_come_whole_is_not_slow() -> None:
    run = running(0.0)
    run.position = run.stop
    assert known().laggard([run], 100.0, 1.0) is None


def test_small_blobs_and_those_that_come_whole_have_no_second_request() -> None:
    whole = Blob(DESCRIPTOR, 0, single=True)
    assert known().laggard([running(0.0, Small(DESCRIPTOR, 0)), running(0.0, whole)], 100.0, 1.0) is None


def test_a_blob_that_must_wait_is_not_asked_for_twice() -> None:
    assert known().laggard([running(0.0, Blob(DESCRIPTOR, 0, not_before=200.0))], 100.0, 1.0) is None


def test_rates_are_smoothed_over_two_looks() -> None:
    speeds, run = Speeds(), running(0.0)
    run.position = 100
    speeds.measure([run], 1.0)
    assert run.rate == 100
    run.position = 100
    speeds.measure([run], 1.0)
    assert run.rate == 50
