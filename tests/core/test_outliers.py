"""Who alone fails is left out for a while; never more than half are, and never the last."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outliers import FAILURES, Standing, Standings, failed, succeeded, usable

COUNTS = st.integers(1, 7)
EVENTS = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.floats(0, 40)), max_size=120)


def fresh(count: int) -> Standings:
    return (Standing(),) * count


def fail(standings: Standings, at: int, times: int, now: float) -> Standings:
    for _ in range(times):
        standings = failed(standings, at, now)
    return standings


@given(COUNTS, EVENTS)
def test_at_most_half_are_out_and_never_the_last(
    count: int, events: list[tuple[int, bool, float]]
) -> None:
    standings, now = fresh(count), 0.0
    for place, is_well, pause_s in events:
        now += pause_s
        step = succeeded if is_well else failed
        standings = step(standings, place % count, now)
        assert len(usable(standings, now)) >= max(1, count / 2)


@given(COUNTS, EVENTS)
def test_nobody_is_out_longer_than_five_minutes(
    count: int, events: list[tuple[int, bool, float]]
) -> None:
    standings, now = fresh(count), 0.0
    for place, is_well, pause_s in events:
        now += pause_s
        standings = (succeeded if is_well else failed)(standings, place % count, now)
    assert usable(standings, now + 300.0) == list(range(count))


def test_five_failures_in_a_row_leave_one_out_for_half_a_minute() -> None:
    standings = fail(fresh(2), 0, FAILURES - 1, 10.0)
    assert usable(standings, 10.0) == [0, 1]
    standings = failed(standings, 0, 10.0)
    assert usable(standings, 39.9) == [1]
    assert usable(standings, 40.0) == [0, 1]


@given(st.lists(st.integers(0, FAILURES - 1), max_size=20))
def test_failures_that_are_not_in_a_row_leave_nobody_out(runs: list[int]) -> None:
    standings = fresh(2)
    for run in runs:
        standings = succeeded(fail(standings, 0, run, 1.0), 0, 1.0)
    assert usable(standings, 1.0) == [0, 1]


def test_each_time_it_is_out_for_half_a_minute_longer() -> None:
    standings, now = fresh(2), 0.0
    for expected_s in (30.0, 60.0, 90.0):
        standings = fail(standings, 0, FAILURES, now)
        assert standings[0].until == now + expected_s
        now = standings[0].until


def test_who_was_well_for_as_long_begins_anew() -> None:
    standings = fail(fresh(2), 0, FAILURES, 0.0)
    standings = succeeded(standings, 0, 30.0)
    assert standings[0].ejections == 1
    standings = succeeded(standings, 0, 60.0)
    assert standings[0] == Standing(0, 0, 30.0)


def test_what_is_heard_of_one_that_is_out_changes_nothing() -> None:
    standings = fail(fresh(3), 0, FAILURES, 0.0)
    assert fail(standings, 0, 20, 1.0) == standings
    assert succeeded(standings, 0, 1.0) == standings


def test_the_only_one_is_never_left_out() -> None:
    assert usable(fail(fresh(1), 0, 100, 0.0), 0.0) == [0]
