import pytest

from bench.ratios import Figure, Verdict
from bench.recovery import FAULTS, REPLACED, Trial, judge
from bench.wrk import Tally


def trial(seconds: float, **faults: int) -> Trial:
    return Trial(seconds, Tally(1000, 2.0, 0.001, 0.002, faults))


@pytest.mark.parametrize("name", [name for name in FAULTS if name != REPLACED])
def test_who_dies_is_told_by_its_time_and_its_failures(name: str) -> None:
    until, failed = judge(name, [trial(1.0, read=30), trial(3.0), trial(2.0, read=1, connect=2)])
    assert until.seen.median == 2.0
    assert isinstance(failed, Figure)
    assert (failed.seen.median, failed.seen.highest) == (3.0, 30.0)
    assert "of 3,000" in failed.note
    assert failed.note.endswith("connect, read")


def test_a_replacement_may_cost_no_request_at_all() -> None:
    _, met = judge(REPLACED, [trial(3.0), trial(3.0)])
    _, missed = judge(REPLACED, [trial(3.0), trial(3.0), trial(3.0, read=1)])
    assert isinstance(met, Verdict)
    assert isinstance(missed, Verdict)
    assert (met.is_met, missed.is_met) == (True, False)
