from dataclasses import replace

import pytest

from bench.plans import StreamReport
from bench.ratios import Figure, Verdict
from bench.shadow import asked_of, judge

QUIET = StreamReport("shadowed", 10, 10, 10, 5.0, 100e-6, 200e-6, 1e-3, 0.0, 0)


def test_neighbours_are_compared_and_the_median_is_judged() -> None:
    felt = [replace(QUIET, p99_s=QUIET.p99_s * more) for more in (1.0, 1.1, 3.0)]
    verdict, p50, asked = judge([(one, QUIET) for one in felt], 10_000, [0.5, 1.0])
    assert isinstance(verdict, Verdict)
    assert verdict.seen.median == pytest.approx(1.1)
    assert verdict.is_met
    assert "220 and 200 us at 10000/s" in verdict.note
    assert isinstance(p50, Figure)
    assert isinstance(asked, Figure)
    assert (p50.seen.median, asked.seen.median) == (1.0, 0.75)


def test_a_shadow_that_is_felt_is_told() -> None:
    verdict, *_ = judge([(replace(QUIET, p99_s=QUIET.p99_s * 1.2), QUIET)], 10_000, [1.0])
    assert isinstance(verdict, Verdict)
    assert not verdict.is_met


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ({"agreed": 1, "disagreed": 2, "failed": 0, "dropped": 1}, 0.75),
        ({"agreed": 0, "disagreed": 0, "failed": 0, "dropped": 0}, 1.0),
    ],
)
def test_what_was_not_dropped_was_asked(calls: dict[str, int], expected: float) -> None:
    assert asked_of(calls) == expected
