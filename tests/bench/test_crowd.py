from dataclasses import replace

import pytest

from bench.courses import Counts
from bench.crowd import Seen, judge
from bench.ratios import Verdict

COUNTS = Counts(100, 0, 0, 100, {"200": 100}, 100e-6, 200e-6, 1e-3)
ALONE = Seen(COUNTS, 100e-6, 0.9, 20e-6, 100e6, 0)
AMID = Seen(replace(COUNTS, p99_s=500e-6), 150e-6, 0.8, 22e-6, 130e6, 40)


def test_windows_are_compared_with_their_neighbours() -> None:
    p99, failed, disturbed, cpu, memory = judge([(AMID, ALONE)] * 3, 9000.0)
    assert isinstance(p99, Verdict)
    assert isinstance(failed, Verdict)
    assert p99.seen.median == pytest.approx(1.5)
    assert p99.is_met
    assert "150 and 100 us at 9000/s, of 80% and 90% of the time" in p99.note
    assert "the server closed 120" in p99.note
    assert (disturbed.seen.median, disturbed.note) == (2.5, "500 and 200 us")
    assert failed.is_met
    assert cpu.seen.median == pytest.approx(1.1)
    assert (memory.seen.median, memory.note) == (130.0, "100.0 MB without")


def test_a_crowd_that_is_felt_is_told() -> None:
    counts = replace(COUNTS, answers={"200": 99, "cut": 1})
    bad = Seen(counts, 250e-6, 0.8, 20e-6, 1.0, 0)
    p99, failed, *_ = judge([(bad, ALONE)], 9000.0)
    assert isinstance(p99, Verdict)
    assert isinstance(failed, Verdict)
    assert (p99.is_met, failed.is_met, failed.seen.median) == (False, False, 1.0)
