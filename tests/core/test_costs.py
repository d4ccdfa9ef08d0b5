"""The cost line, where it places a model, and when a model has to leave the loop."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.costs import Bounds, Cost, Overruns, Placement, fit, place

MICROSECONDS = st.floats(1e-6, 1e-1)
SIZES = st.lists(st.integers(1, 128), min_size=2, max_size=9, unique=True)


@given(MICROSECONDS, MICROSECONDS, SIZES)
def test_a_line_is_recovered_from_its_points(
    row_s: float, start_s: float, sizes: list[int]
) -> None:
    line = Cost(row_s, start_s)
    found = fit([(rows, line.of(rows)) for rows in sizes])
    for rows in (1, *sizes):
        assert found.of(rows) == pytest.approx(line.of(rows), rel=1e-6)


def test_a_noisy_line_is_recovered_nearly() -> None:
    line = Cost(2e-6, 10e-6)
    noisy = [(rows, line.of(rows) * (1.02 if rows % 3 else 0.98)) for rows in (1, 2, 4, 8, 64, 128)]
    found = fit(noisy)
    assert found.row_s == pytest.approx(line.row_s, rel=0.05)
    assert found.start_s == pytest.approx(line.start_s, rel=0.05)


def test_the_cost_of_a_row_is_not_drowned_by_an_error_at_128() -> None:
    line = Cost(10e-6, 20e-6)
    found = fit([(1, line.of(1)), (2, line.of(2)), (4, line.of(4)), (128, 2 * line.of(128))])
    assert found.of(1) == pytest.approx(line.of(1), rel=0.25)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(1, 0.5)], Cost(0.5, 0.0)),
        ([(4, 0.5)], Cost(0.125, 0.0)),
        ([(4, 0.5), (4, 0.5)], Cost(0.125, 0.0)),
        ([(1, 0.5), (2, 0.5)], Cost(0.0, 0.5)),
    ],
)
def test_a_line_is_drawn_through_points_that_determine_none(
    samples: list[tuple[int, float]], expected: Cost
) -> None:
    assert fit(samples) == expected


@given(st.lists(st.tuples(st.integers(1, 128), st.floats(1e-6, 1e3)), min_size=1, max_size=9))
def test_no_coefficient_is_negative(samples: list[tuple[int, float]]) -> None:
    found = fit(samples)
    assert found.row_s >= 0
    assert found.start_s >= 0
    assert found.of(1) > 0


def test_what_gets_cheaper_with_size_costs_nothing_a_row() -> None:
    found = fit([(1, 3.0), (2, 2.0), (4, 1.0)])
    assert found.row_s == 0
    assert 1.0 <= found.start_s <= 3.0


def test_what_grows_faster_than_a_line_starts_from_nothing() -> None:
    found = fit([(1, 1.0), (2, 4.0), (4, 16.0)])
    assert found.start_s == 0
    assert found.row_s > 1.0


@given(MICROSECONDS, MICROSECONDS, st.floats(1e-6, 1.0))
def test_the_rows_within_a_budget_are_the_most_that_fit(
    row_s: float, start_s: float, budget_s: float
) -> None:
    cost = Cost(row_s, start_s)
    rows = cost.rows_within(budget_s)
    assert rows >= 1
    assert rows == 1 or cost.of(rows) <= budget_s * (1 + 1e-9)
    assert cost.of(rows + 1) > budget_s * (1 - 1e-9)


@pytest.mark.parametrize("row_s", [0.0, sys.float_info.min, 5e-324])
def test_rows_that_cost_next_to_nothing_are_bounded(row_s: float) -> None:
    assert Cost(row_s, 0.5).rows_within(1.0) == 1 << 30


BOUNDS = Bounds(inline_row_s=100e-6, inline_batch_s=1e-3, thread_batch_s=0.1)


@pytest.mark.parametrize(
    ("cost", "max_rows", "expected"),
    [
        (Cost(1e-6, 10e-6), 4096, Placement(True, 990)),
        (Cost(1e-6, 10e-6), 64, Placement(True, 64)),
        (Cost(50e-6, 40e-6), 64, Placement(True, 19)),
        (Cost(50e-6, 50e-6), 64, Placement(False, 64)),
        (Cost(5e-3, 0.0), 64, Placement(False, 20)),
        (Cost(5e-3, 0.0), 8, Placement(False, 8)),
        (Cost(1.0, 0.0), 64, Placement(False, 1)),
        (Cost(0.0, 10e-6), 1, Placement(True, 1)),
    ],
)
def test_a_cheap_row_runs_on_the_loop_in_short_batches_and_a_dear_one_in_a_thread(
    cost: Cost, max_rows: int, expected: Placement
) -> None:
    assert place(cost, BOUNDS, max_rows) == expected


@given(MICROSECONDS, MICROSECONDS, st.integers(1, 4096))
def test_a_placement_keeps_within_its_bounds(row_s: float, start_s: float, max_rows: int) -> None:
    cost = Cost(row_s, start_s)
    placement = place(cost, BOUNDS, max_rows)
    threaded_s = max(BOUNDS.thread_batch_s, 2 * start_s)
    budget_s = BOUNDS.inline_batch_s if placement.is_inline else threaded_s
    assert placement.is_inline == (cost.of(1) < BOUNDS.inline_row_s)
    assert 1 <= placement.max_rows <= max_rows
    assert placement.max_rows == 1 or cost.of(placement.max_rows) <= budget_s * (1 + 1e-9)


def test_a_model_that_is_slow_to_start_is_given_the_rows_that_come_nearly_free() -> None:
    assert place(Cost(1e-3, 2.0), BOUNDS, 4096) == Placement(is_inline=False, max_rows=2000)


def test_the_default_bounds_are_those_of_the_design() -> None:
    assert (Bounds().inline_row_s, Bounds().inline_batch_s) == (150e-6, 1e-3)


def test_it_takes_a_habit_to_leave_the_loop() -> None:
    state = Overruns(limit=3)
    for _ in range(2):
        state = state.after(2e-3, 1e-3)
        assert not state.has_exceeded()
    assert state.after(2e-3, 1e-3).has_exceeded()
    assert state.after(1e-3, 1e-3) == Overruns(limit=3, count=0)


def test_executions_within_their_budget_change_nothing() -> None:
    state = Overruns()
    assert state.after(0.0, 1e-3) is state
    assert state.after(math.inf, 1e-3) == Overruns(count=1)
