import pytest

from bench.heavy import Pair, judge
from bench.plans import Report, StreamReport


def stream(name: str, p99_s: float) -> StreamReport:
    return StreamReport(name, 10, 10, 8, 2.0, p99_s / 2, p99_s, p99_s, 0.0, 0)


def pair(rows: float, alone: float, digits_s: float, probes_s: float) -> Pair:
    report = Report((stream("digits", digits_s), stream("probes", probes_s)), 0.3)
    return Pair(report, rows, alone)


PAIRS = [
    pair(960, 1000, 0.004, 0.002),
    pair(480, 500, 0.012, 0.003),  # the machine was slow: the ratio is the same
    pair(900, 1000, 0.005, 0.004),
]


def test_the_heavy_model_is_judged_pair_by_pair() -> None:
    rate, *_ = judge(PAIRS, 256)
    assert rate.seen.median == pytest.approx(0.96)
    assert rate.is_met
    assert "batches of 256" in rate.note


def test_small_requests_are_judged_in_milliseconds() -> None:
    _, digits, probes = judge(PAIRS, 256)
    assert (digits.seen.median, digits.seen.highest) == (5.0, 12.0)
    assert (digits.is_met, probes.is_met) == (True, True)
    assert (digits.unit, probes.bar.limit) == ("ms", "<= 10")
