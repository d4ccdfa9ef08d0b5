"""How many may wait, and when a queue is overload."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.costs import Cost
from gateway.core.limiting import (
    Bounds,
    Pace,
    Standing,
    blended,
    retry_after_s,
    room_rows,
    share,
    target_s,
)

BATCHED = Cost(0.0002, 0.002)
INTERVAL_S = 0.1
COSTS = st.builds(Cost, st.floats(1e-7, 1e-2), st.floats(0, 1e-1))


# pace


def test_until_something_was_heard_executions_take_what_was_fitted() -> None:
    pace = Pace(BATCHED, 16, instances=2)
    assert (pace.service_s(1), pace.service_s(16)) == (BATCHED.of(1), BATCHED.of(16))
    assert pace.service_s(100) == BATCHED.of(16), "an execution has no more rows"
    assert pace.row_s == pytest.approx(BATCHED.of(16) / 32)
    assert pace.least_rows() == 32


def test_a_model_that_is_slower_than_fitted_is_soon_known_to_be() -> None:
    pace = Pace(BATCHED, 16)
    for _ in range(60):
        pace.hear(4, 3 * BATCHED.of(4))
    assert pace.service_s(16) == pytest.approx(3 * BATCHED.of(16), rel=0.05)
    assert pace.row_s == pytest.approx(3 * BATCHED.of(16) / 16, rel=0.05)


def test_one_execution_that_was_held_up_says_little() -> None:
    pace = Pace(BATCHED, 16)
    pace.hear(16, 1000.0)
    assert pace.slowdown <= 1.1 + 1e-9


def test_what_costs_nothing_has_no_pace_to_be_learned() -> None:
    pace = Pace(Cost(0.0, 0.0), 16)
    pace.hear(4, 1.0)
    assert (pace.slowdown, pace.row_s) == (1.0, 0.0)
    assert room_rows(1.0, pace, Bounds(max_rows=99)) == 99


@given(COSTS, st.lists(st.tuples(st.integers(1, 64), st.floats(0, 10)), max_size=50))
def test_a_pace_is_always_a_time(cost: Cost, heard: list[tuple[int, float]]) -> None:
    pace = Pace(cost, 64)
    for rows, took_s in heard:
        before = pace.slowdown
        pace.hear(rows, took_s)
        assert 0.25 * 0.99 <= pace.slowdown <= before * 1.1 + 1e-9
        assert pace.service_s(1) <= pace.service_s(64) * (1 + 1e-9)


# target and room


@pytest.mark.parametrize(
    ("budget_s", "cost", "expected"),
    [
        (10.0, BATCHED, 1.0),  # no more than a second, however patient callers are
        (1.0, BATCHED, 0.2),
        (0.1, BATCHED, 0.02),
        (0.01, BATCHED, 2 * BATCHED.of(16)),  # two full executions
        (0.01, Cost(1e-6, 1e-6), 0.005),  # what a noisy machine may take
        (math.inf, BATCHED, 1.0),
        (10.0, Cost(0.0, 3.0), 6.0),
    ],
)
def test_a_queue_may_stand_for_a_share_of_what_callers_give(
    budget_s: float, cost: Cost, expected: float
) -> None:
    assert target_s(budget_s, Pace(cost, 16), Bounds()) == pytest.approx(expected)


def test_room_is_what_runs_within_the_target_by_all_instances() -> None:
    bounds = Bounds(max_rows=1000)
    assert room_rows(0.052, Pace(BATCHED, 16), bounds) == 160
    assert room_rows(0.052, Pace(BATCHED, 16, instances=2), bounds) == 320
    assert room_rows(9.0, Pace(BATCHED, 16), bounds) == 1000


@given(COSTS, st.integers(1, 64), st.integers(1, 4), st.floats(0, 10))
def test_no_executor_runs_dry_for_want_of_room(
    cost: Cost, max_rows: int, instances: int, target: float
) -> None:
    pace = Pace(cost, max_rows, instances)
    assert room_rows(target, pace, Bounds()) >= max_rows * instances


def test_lower_priorities_have_less_room_and_higher_ones_more() -> None:
    shares = [share(priority, Bounds()) for priority in (1, 2, 3, 4)]
    assert shares == pytest.approx([1.5, 1.0, 2 / 3, 1 / 3])


@given(st.integers(1, 9), st.data())
def test_every_priority_has_some_room_and_none_more_than_a_higher_one(
    levels: int, data: st.DataObject
) -> None:
    bounds = Bounds(levels=levels, usual=data.draw(st.integers(1, levels)))
    shares = [share(priority, bounds) for priority in range(1, levels + 1)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > 0
    assert share(bounds.usual, bounds) == 1.0


def test_who_is_refused_is_told_when_the_queue_will_have_left_and_not_all_the_same() -> None:
    pace = Pace(Cost(0.01, 0.0), 1)
    assert retry_after_s(400, pace, 0.0) == pytest.approx(4.0)
    assert retry_after_s(400, pace, 0.999) == pytest.approx(6.0, rel=0.01)
    assert retry_after_s(1, pace, 0.0) == 1.0


def test_what_callers_give_is_learned_from_many_and_no_one_is_for_ever() -> None:
    budget_s = 10.0
    for _ in range(60):
        budget_s = blended(budget_s, 0.1)
    assert budget_s == pytest.approx(0.1, rel=0.2)
    assert math.isfinite(blended(budget_s, math.inf))


# overload


def after(standing: Standing, *waits: tuple[float, float], target: float = 0.02) -> Standing:
    for now, wait_s in waits:
        standing = standing.after(wait_s, target, now, INTERVAL_S)
    return standing


def test_a_queue_that_was_once_short_within_an_interval_is_a_burst() -> None:
    assert not after(Standing(), (0.0, 0.5), (0.05, 0.01), (0.1, 0.5)).is_overload


def test_a_queue_that_stands_for_an_interval_is_overload() -> None:
    standing = after(Standing(), (0.0, 0.5), (0.05, 0.03))
    assert not standing.is_overload, "the interval is not over"
    assert after(standing, (0.1, 0.0)).is_overload


def test_overload_lasts_as_long_as_anybody_is_refused() -> None:
    standing = after(Standing(), (0.0, 0.5), (0.1, 0.01))
    assert standing.is_overload
    standing = after(standing.refused(), (0.21, 0.01))
    assert standing.is_overload
    assert not after(standing, (0.32, 0.01)).is_overload


def test_a_queue_of_long_ago_says_nothing_of_now() -> None:
    standing = after(Standing(), (0.0, 0.5))
    assert not after(standing, (0.2, 0.5)).is_overload
    overloaded = after(standing, (0.1, 0.5))
    assert overloaded.is_overload
    assert not after(overloaded, (0.5, 0.5)).is_overload


class Overload(RuleBasedStateMachine):
    """Laws of a standing queue: it is overload only by a whole interval's evidence."""

    def __init__(self) -> None:
        super().__init__()
        self.standing = Standing()
        self.now = 0.0
        self.seen: list[tuple[float, float]] = []
        self.last_refusal = -math.inf

    @rule(later_ms=st.integers(0, 250), wait_ms=st.integers(0, 60))
    def look(self, later_ms: int, wait_ms: int) -> None:
        self.now += later_ms / 1000
        self.seen.append((self.now, wait_ms / 1000))
        before = self.standing.is_overload
        self.standing = self.standing.after(wait_ms / 1000, 0.02, self.now, INTERVAL_S)
        if self.standing.is_overload and not before:
            recent = [wait for at, wait in self.seen[:-1] if at >= self.now - 2 * INTERVAL_S]
            assert recent, "nothing was seen lately"
            assert max(recent) > 0.02

    @precondition(lambda self: self.standing.is_overload)
    @rule()
    def refuse(self) -> None:
        self.standing = self.standing.refused()
        self.last_refusal = self.now

    @invariant()
    def ends_by_itself(self) -> None:
        """Two intervals with a look in each, nobody refused and no queue: it is over."""
        standing = self.standing
        for step in range(1, 4):
            standing = standing.after(0.0, 0.02, self.now + step * INTERVAL_S, INTERVAL_S)
        assert not standing.is_overload


TestOverload = Overload.TestCase
