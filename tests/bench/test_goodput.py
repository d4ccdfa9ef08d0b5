import math

import pytest

from bench.courses import Counts
from bench.goodput import (
    good_ratio,
    goodput,
    growth,
    lateness_s,
    recovery_s,
    said,
    slices_of,
)

CALM = Counts(500, 0, 0, 500, {"200": 500}, 0.005, 0.01, 0.012)
FINE = Counts(10, 0, 0, 10, {"200": 10}, 0.005, 0.012, 0.012)
BAD = Counts(10, 0, 0, 2, {"200": 2, "504": 8}, 0.09, 0.1, 0.1)
SLOW = Counts(10, 0, 0, 10, {"200": 10}, 0.05, 0.09, 0.09)


def test_only_what_was_in_time_is_good() -> None:
    counts = Counts(100, 0, 0, 60, {"200": 80, "429": 20})
    assert goodput(counts, 2.0) == 30.0
    assert good_ratio(counts) == 0.6
    assert math.isnan(good_ratio(Counts(0, 0, 0, 0)))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([FINE] * 10, 0.0),
        ([BAD] * 7 + [FINE] * 10, 0.6),  # one slice of a second may be bad
        ([FINE] * 5 + [BAD] * 3 + [FINE] * 10, 0.7),
        ([SLOW] * 4 + [FINE] * 10, 0.3),
        ([BAD] * 40, math.inf),
        ([FINE] * 9, math.inf),  # not a second yet
        ([], math.inf),
    ],
)
def test_all_is_as_before_once_a_whole_second_is(after: list[Counts], expected: float) -> None:
    assert recovery_s(after, CALM) == pytest.approx(expected)


def test_a_second_in_which_nothing_was_asked_is_no_recovery() -> None:
    assert recovery_s([Counts(0, 0, 0, 0)] * 20, CALM) == math.inf


def test_phases_have_their_slices() -> None:
    slices = [Counts(at, 0, 0, 0) for at in range(20)]
    phases = [slices_of(slices, (0.3, 1.2, 0.5), at) for at in range(3)]
    assert [one[0].offered for one in phases] == [0, 3, 15]
    assert [len(one) for one in phases] == [3, 12, 5]


def test_growth_is_of_the_last_quarter_over_the_second() -> None:
    sizes = [(10.0 + at, 100.0 if at < 8 else 110.0) for at in range(16)]
    assert growth([(9.0, 1.0), (10.5, 1.0), *sizes], 10.0, 26.0) == pytest.approx(0.1)
    assert math.isnan(growth([], 0.0, 1.0))


def test_an_answer_in_time_is_not_late() -> None:
    assert lateness_s(SLOW, 0.1) == 0.0
    assert lateness_s(SLOW, 0.08) == pytest.approx(0.01)
    assert lateness_s(Counts(5, 5, 0, 0), 0.1) == 0.0


def test_what_came_is_said_most_of_it_first() -> None:
    counts = [
        Counts(60, 10, 0, 0, {"200": 40, "429": 10}),
        Counts(40, 0, 5, 0, {"429": 35}),
    ]
    assert said(counts) == "429: 45.00%, 200: 40.00%, unsent: 10.00%, left: 5.00%"
