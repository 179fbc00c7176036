"""pace: the number of connections, found against servers that are formulas. Time is a number here; nothing waits."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from installml.transfer.pace import FAR, FIRST, FIRST_FAR, LONGEST_PAUSE, Pace

TICK = 0.25
MB = 1e6


@dataclass
class Server:
    """Answers with a throughput for a number of connections, and refuses more than it allows.

    Attributes:
        rate: Bytes a second of all connections together, by their number and the time.
        allows: Connections that it takes at a time.
        noise: Greatest relative error of one measurement.
        moved: Bytes so far.
        limits: What the pace said at each look.
        rates: What passed at each look.
    """

    rate: Callable[[int, float], float]
    allows: Callable[[float], int] = lambda now: 1 << 30
    noise: float = 0.0
    retry_after: float | None = None
    moved: float = 0.0
    now: float = 0.0
    limits: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(20261121))

    def run(self, pace: Pace, seconds: float) -> None:
        """Let ``pace`` work on this server for so long."""
        until = self.now + seconds
        while self.now < until:
            self.now += TICK
            open_now = min(pace.limit, self.allows(self.now))
            if pace.limit > open_now and self.now >= pace.paused_until:
                # the refused ones were all asked at the beginning of this window
                for _ in range(pace.limit - open_now):
                    pace.refused(self.now, self.now - TICK / 2, self.retry_after)
                    pace.refused(self.now, self.now - TICK / 2, self.retry_after)
            rate = self.rate(open_now, self.now) * (1 + self.noise * (2 * self.chance.random() - 1))
            pace.measured(self.now, rate)
            self.moved += rate * TICK
            self.limits.append(pace.limit)
            self.rates.append(rate)


def capped(link: float, connection: float) -> Callable[[int, float], float]:
    return lambda count, now: min(link, count * connection)


def test_it_begins_with_few() -> None:
    assert Pace(16).limit == FIRST


@pytest.mark.parametrize(("cap", "most"), [(1, 1), (0, 1), (-3, 1), (2, 2), (64, FIRST)])
def test_it_never_begins_with_more_than_the_ceiling_nor_with_none(cap: int, most: int) -> None:
    assert Pace(cap).limit == most


def test_a_cap_on_each_connection_is_answered_with_sixteen_of_them() -> None:
    server = Server(capped(10_000 * MB, 50 * MB))
    pace = Pace(16)
    server.run(pace, 2)
    assert pace.limit == 16


@pytest.mark.parametrize("link", [100, 400, 800, 10_000])
@pytest.mark.parametrize("seconds", [4, 30, 300])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
def test_capped_connections_together_reach_four_fifths_of_what_can_be(link: int, seconds: int, noise: float) -> None:
    server = Server(capped(link * MB, 50 * MB), noise=noise)
    server.run(Pace(16), seconds)
    assert server.moved / seconds >= 0.8 * min(link * MB, 16 * 50 * MB)


def test_a_server_that_is_best_with_one_stream_gets_one() -> None:
    server = Server(lambda count, now: 400 * MB / count**0.5)
    pace = Pace(16)
    server.run(pace, 30)
    assert pace.limit == 1


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_server_that_is_best_with_one_stream_loses_little(noise: float) -> None:
    server = Server(lambda count, now: 400 * MB / count**0.5, noise=noise)
    server.run(Pace(16), 120)
    assert server.moved / 120 >= 0.8 * 400 * MB


def test_where_more_connections_bring_nothing_few_are_kept() -> None:
    server = Server(lambda count, now: 900 * MB)
    pace = Pace(16)
    server.run(pace, 60)
    assert sum(server.limits[40:]) / len(server.limits[40:]) <= 3


def test_a_machine_that_slows_down_with_more_threads_is_not_given_many() -> None:
    server = Server(lambda count, now: {1: 800, 2: 1000}.get(count, 1000 - 20 * count) * MB)
    pace = Pace(16)
    server.run(pace, 60)
    assert server.moved / 60 >= 0.9 * 1000 * MB


@pytest.mark.parametrize("allowed", [1, 2, 3, 5, 7, 8, 11, 15])
def test_a_server_that_refuses_more_than_it_allows_is_used_at_half_of_that_at_least(allowed: int) -> None:
    server = Server(capped(10_000 * MB, 50 * MB), allows=lambda now: allowed)
    server.run(Pace(16), 120)
    settled = server.limits[int(10 / TICK) :]
    assert min(settled) >= allowed / 2
    assert server.moved / 120 >= 0.5 * allowed * 50 * MB


@pytest.mark.parametrize("allowed", [4, 8])
def test_a_server_that_begins_to_refuse_is_used_at_half_of_what_it_allows(allowed: int) -> None:
    server = Server(capped(10_000 * MB, 50 * MB), allows=lambda now: 16 if now < 20 else allowed, noise=0.1)
    server.run(Pace(16), 120)
    after = int(25 / TICK)
    assert min(server.limits[after:]) >= allowed / 2
    assert sum(server.rates[after:]) / len(server.rates[after:]) >= 0.5 * allowed * 50 * MB


def test_refusals_become_rare() -> None:
    server = Server(capped(10_000 * MB, 50 * MB), allows=lambda now: 8)
    server.run(Pace(16), 300)
    over = sum(limit > 8 for limit in server.limits[int(60 / TICK) :])
    assert over <= 0.1 * len(server.limits)


def test_when_a_server_allows_more_again_it_recovers() -> None:
    server = Server(capped(10_000 * MB, 50 * MB), allows=lambda now: 2 if 10 < now < 20 else 16)
    pace = Pace(16)
    server.run(pace, 180)
    assert pace.limit >= 12


def test_many_refusals_of_the_same_moment_halve_once() -> None:
    pace = Pace(16)
    pace.limit = 16
    for late in range(10):
        pace.refused(100.0 + late / 10, asked_at=99.9)
    assert pace.limit == 8


def test_a_refusal_of_something_asked_after_the_cut_halves_again() -> None:
    pace = Pace(16)
    pace.limit = 16
    pace.refused(100.0, asked_at=99.0)
    pace.refused(101.0, asked_at=100.5)
    assert pace.limit == 4


def test_it_is_never_less_than_one() -> None:
    pace = Pace(16)
    for moment in range(20):
        pace.refused(float(moment), asked_at=float(moment))
    assert pace.limit == 1


def test_what_the_registry_asks_to_wait_is_waited() -> None:
    pace = Pace(16)
    pace.refused(100.0, 99.0, retry_after=30)
    pace.refused(101.0, 99.0, retry_after=5)
    assert pace.paused_until == 130.0


def test_nobody_is_made_to_wait_for_hours() -> None:
    pace = Pace(16)
    pace.refused(0.0, 0.0, retry_after=1e9)
    assert pace.paused_until == LONGEST_PAUSE


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_link_that_becomes_slow_does_not_end_in_one_slow_connection(noise: float) -> None:
    """Each connection brings less and less: halving their number would only halve it again."""
    server = Server(lambda count, now: count * (50 * MB if now < 20 else 10 * MB), noise=noise)
    server.run(Pace(16), 120)
    late = server.rates[int(30 / TICK) :]
    assert sum(late) / len(late) >= 0.8 * 16 * 10 * MB


def test_a_server_that_punishes_many_connections_is_met_with_fewer() -> None:
    def punishing(count: int, now: float) -> float:
        return count * 50 * MB if now < 20 or count <= 4 else 40 * MB

    server = Server(punishing)
    server.run(Pace(16), 120)
    late = server.rates[int(30 / TICK) :]
    assert sum(late) / len(late) >= 0.5 * 200 * MB


def test_a_link_that_becomes_fast_is_used() -> None:
    server = Server(lambda count, now: min(count * 50 * MB, 50 * MB if now < 60 else 800 * MB), noise=0.05)
    server.run(Pace(16), 240)
    late = server.rates[int(150 / TICK) :]
    assert sum(late) / len(late) >= 0.7 * 800 * MB


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_measured_the_number_stays_in_its_bounds(seed: int) -> None:
    chance = random.Random(seed)
    pace = Pace(chance.randint(1, 20))
    now = 0.0
    for _ in range(500):
        now += chance.random()
        if chance.random() < 0.1:
            pace.refused(now, now - chance.random(), chance.choice([None, 0.0, 1.0]))
        pace.measured(now, chance.choice([0.0, chance.random() * 1e9]))
        assert 1 <= pace.limit <= pace.cap


# bytes that come faster than they are hashed


def test_where_hashing_is_behind_the_connections_halve_down_to_one_for_each_blob_that_is_hashed() -> None:
    pace, seen = Pace(16), []
    for look in range(4):
        pace.outran(look * TICK, 2)
        seen.append(pace.limit)
    assert seen == [2, 2, 2, 2]
    pace.outran(4 * TICK, 0)
    pace.outran(5 * TICK, 0)
    assert pace.limit == 1


def test_where_hashing_keeps_up_with_most_that_come_only_the_rest_of_the_connections_goes() -> None:
    pace = Pace(16)
    pace.limit = 16
    pace.outran(0.0, 1, share=0.8)
    assert pace.limit == 12


def test_a_cut_takes_half_at_most_and_one_at_least() -> None:
    pace = Pace(16)
    pace.limit = 16
    pace.outran(0.0, 1, share=0.01)
    assert pace.limit == 8
    pace.outran(TICK, 1, share=1.0)
    assert pace.limit == 7


def test_when_hashing_is_no_longer_behind_more_connections_are_tried() -> None:
    pace = Pace(16)
    pace.outran(0.0, 1)
    pace.outran(TICK, 1)
    server = Server(lambda count, now: count * 10 * MB)
    server.now = TICK
    server.run(pace, 30)
    assert pace.limit == 16


# the start


def test_while_doubling_pays_almost_in_full_each_measurement_doubles() -> None:
    pace, seen = Pace(16), []
    for step in range(3):
        assert pace.hasty
        pace.measured(step * 0.1, pace.limit * 50 * MB)
        seen.append(pace.limit)
    assert seen == [8, 16, 16]
    assert not pace.hasty


def test_a_step_that_pays_in_part_is_kept_and_is_the_last() -> None:
    pace = Pace(16)
    for step, rate in enumerate((200 * MB, 240 * MB)):
        pace.measured(step * 0.1, rate)
    assert pace.limit == 8
    assert not pace.hasty


def test_a_step_that_does_not_pay_is_taken_back() -> None:
    pace = Pace(16)
    for step, rate in enumerate((110 * MB, 112 * MB)):
        pace.measured(step * 0.1, rate)
    assert pace.limit == FIRST


def test_a_long_way_begins_with_more_and_a_short_one_does_not() -> None:
    near, far = Pace(16), Pace(16)
    near.waited(FAR / 2)
    far.waited(FAR)
    assert (near.limit, far.limit) == (FIRST, FIRST_FAR)


def test_a_long_way_never_means_more_than_the_ceiling() -> None:
    pace = Pace(6)
    pace.waited(FAR)
    assert pace.limit == 6


def test_a_trial_that_pays_in_full_is_followed_by_the_next_at_once() -> None:
    pace = Pace(16)
    pace.outran(0.0, 1)
    server = Server(lambda count, now: count * 50 * MB)
    server.run(pace, 10)
    assert pace.limit == 16


def test_once_something_was_measured_a_late_answer_says_nothing() -> None:
    pace = Pace(16)
    for step, rate in enumerate((110 * MB, 50 * MB)):
        pace.measured(step * 0.1, rate)
    pace.waited(10.0)
    assert pace.limit == FIRST


# a registry that refuses some and serves others


def test_what_is_served_goes_on_while_what_was_refused_waits() -> None:
    pace = Pace(16)
    pace.limit = 8
    pace.refused(100.0, 99.9, retry_after=30.0, served=3)
    assert (pace.room(100.0), pace.room(129.9), pace.room(130.0)) == (3, 3, 4)


def test_a_second_refusal_of_the_same_burst_changes_nothing() -> None:
    pace = Pace(16)
    pace.limit = 8
    for _ in range(4):
        pace.refused(100.0, 99.9, retry_after=30.0, served=4)
    assert pace.room(101.0) == 4


def test_when_what_was_served_is_refused_too_nothing_is_asked_until_then() -> None:
    pace = Pace(16)
    pace.limit = 8
    pace.refused(100.0, 99.9, retry_after=30.0, served=4)
    pace.refused(110.0, 109.9, retry_after=30.0, served=3)
    assert (pace.room(139.9), pace.room(140.0)) == (0, pace.limit)


def test_where_nothing_is_served_everything_waits() -> None:
    pace = Pace(16)
    pace.refused(100.0, 99.9, retry_after=30.0)
    assert (pace.room(129.9), pace.room(130.0)) == (0, pace.limit)


def test_a_later_refusal_lets_go_on_what_is_served_then() -> None:
    pace = Pace(16)
    pace.limit = 16
    pace.refused(100.0, 99.9, retry_after=1.0, served=8)
    pace.refused(105.0, 104.9, retry_after=1.0, served=3)
    assert pace.room(105.5) == 3
