import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.ratios import (
    Bar,
    Spread,
    Verdict,
    interleave,
    percentile,
    ratio_spread,
    spread,
    worst,
)

FIGURES = st.floats(0.001, 1e6)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.991, 100), (1.0, 100)],
)
def test_a_percentile_is_the_value_at_its_rank(ratio: float, expected: int) -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert percentile(values, ratio) == expected


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


@given(st.lists(FIGURES, min_size=1), st.floats(0, 1))
def test_a_percentile_was_measured_and_enough_values_do_not_exceed_it(
    values: list[float], ratio: float
) -> None:
    found = percentile(values, ratio)
    assert found in values
    assert sum(value <= found for value in values) >= ratio * len(values) - 1e-6


def test_a_spread_is_the_median_with_both_ends() -> None:
    assert spread([3.0, 1.0, 2.0, 9.0]) == Spread(2.5, 1.0, 9.0, 4)


def test_what_must_not_happen_once_is_judged_by_its_worst() -> None:
    assert worst([0.0, 0.0, 3.0]) == Spread(3.0, 0.0, 3.0, 3)


def test_pairs_are_measured_in_turns() -> None:
    order: list[str] = []

    def measured(name: str) -> str:
        order.append(name)
        return name + str(len(order))

    pairs = interleave(lambda: measured("a"), lambda: measured("b"), 3)
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert pairs == [("a1", "b2"), ("a3", "b4"), ("a5", "b6")]


def test_a_ratio_is_taken_within_each_pair() -> None:
    # a machine that halves its speed between pairs changes no ratio
    assert ratio_spread([(50.0, 100.0), (25.0, 50.0), (30.0, 50.0)], float) == Spread(
        0.5, 0.5, 0.6, 3
    )


@given(st.lists(st.tuples(FIGURES, FIGURES), min_size=1), st.floats(0.1, 10))
def test_a_drift_that_hits_both_sides_alike_leaves_the_ratio(
    pairs: list[tuple[float, float]], drift: float
) -> None:
    steady = ratio_spread(pairs, float).median
    drifted = ratio_spread([(a * drift, b * drift) for a, b in pairs], float).median
    assert drifted == pytest.approx(steady)


@pytest.mark.parametrize(
    ("bar", "value", "expected"),
    [
        (Bar("rate", at_least=0.5), 0.5, True),
        (Bar("rate", at_least=0.5), 0.4999, False),
        (Bar("wait", at_most=2.5), 2.5, True),
        (Bar("wait", at_most=2.5), 2.5001, False),
        (Bar("wait", at_most=2.5), math.nan, False),
        (Bar("rate", at_least=0.5), math.nan, False),
        (Bar("nothing asked"), 1.0, False),
    ],
)
def test_a_bar_is_met_at_its_limit_and_by_no_missing_figure(
    bar: Bar, value: float, expected: bool
) -> None:
    assert bar.is_met_by(value) is expected


def test_the_median_decides_whatever_the_ends_say() -> None:
    bar = Bar("rate", at_least=0.5)
    assert Verdict(bar, Spread(0.51, 0.3, 0.9, 5), "").is_met
    assert not Verdict(bar, Spread(0.49, 0.3, 0.9, 5), "").is_met


def test_a_bar_says_its_limit() -> None:
    assert (Bar("a", at_least=0.5).limit, Bar("b", at_most=10).limit) == (">= 0.5", "<= 10")
