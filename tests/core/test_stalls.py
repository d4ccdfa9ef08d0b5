"""Stalls: who has stopped going on, and who is only kept from it."""

import pytest

from gateway.core.costs import Cost
from gateway.core.stalls import Look, Policy, enough_s, is_stalled, read_look

BEGAN = Look("R", 10.0)
ENOUGH_S = 1.0


@pytest.mark.parametrize(
    ("cost", "rows", "longest_s", "expected"),
    [
        (Cost(0.0, 0.0001), 1, 0.0, 1.0),  # the floor
        (Cost(0.01, 0.1), 10, 0.0, 4.0),  # twenty times what it should take
        (Cost(0.0, 0.0001), 1, 2.0, 8.0),  # four times what it once took
    ],
)
def test_an_execution_may_take_far_longer_than_it_should(
    cost: Cost, rows: int, longest_s: float, expected: float
) -> None:
    assert enough_s(cost, rows, longest_s, Policy()) == pytest.approx(expected)


@pytest.mark.parametrize("state", ["T", "t"])
def test_a_stopped_process_has_stalled(state: str) -> None:
    assert is_stalled(BEGAN, BEGAN, Look(state, 10.5), ENOUGH_S)


@pytest.mark.parametrize("state", ["R", "S"])
def test_who_has_computed_all_that_time_loops(state: str) -> None:
    assert is_stalled(BEGAN, Look("R", 10.9), Look(state, 11.0), ENOUGH_S)


@pytest.mark.parametrize("state", ["R", "S", "D"])
def test_who_gets_on_a_little_is_starved(state: str) -> None:
    assert not is_stalled(BEGAN, Look("R", 10.2), Look(state, 10.21), ENOUGH_S)


def test_who_could_compute_and_may_not_is_starved() -> None:
    assert not is_stalled(BEGAN, BEGAN, Look("R", 10.0), ENOUGH_S)


@pytest.mark.parametrize("state", ["S", "D", "Z"])
def test_who_waits_and_computes_nothing_has_stalled(state: str) -> None:
    assert is_stalled(BEGAN, Look("S", 10.2), Look(state, 10.2), ENOUGH_S)


def test_a_look_is_read_whatever_the_process_is_called() -> None:
    stat = "42 (a) R (b) T 1 42 42 0 -1 4194560 9 0 0 0 150 50 0 0 30 10 1 0 17 9 9"
    assert read_look(stat, 100) == Look("T", 2.0)


@pytest.mark.parametrize("stat", ["", "42 (a) R 1", "42 (a) R 1 42 42 0 -1 4 9 0 0 0 a b"])
def test_what_is_no_look_is_refused(stat: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        read_look(stat, 100)
