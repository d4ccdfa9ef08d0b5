import pytest

from bench.ratios import Figure, Verdict
from bench.telemetry import judge

# A batch is counted for 6.4 us, and the clocks for it are read for 0.64 us.
KINDS = {"counted": [6.1e-6, 6.2e-6, 8.1e-6], "silent": [6.0e-6, 6.1e-6, 8.0e-6]}


def test_telemetry_is_a_share_of_a_whole_request_and_its_clocks_are_counted() -> None:
    verdict, cost, inner = judge(64, KINDS, 0.64e-6, 11e-6)
    assert isinstance(verdict, Verdict)
    assert verdict.seen.median == pytest.approx(100 * 0.11 / 11)
    assert verdict.is_met
    assert cost.seen.median == pytest.approx(0.11)
    assert inner.seen.median == pytest.approx(100 * 0.11 / 6.2, rel=0.02)


def test_a_machine_that_slows_down_for_a_group_changes_nothing() -> None:
    _, cost, _ = judge(64, KINDS, 0.0, 11e-6)
    assert cost.seen.lowest == pytest.approx(cost.seen.highest)


def test_only_the_largest_batch_is_judged() -> None:
    found = judge(1, KINDS, 0.64e-6, 100e-6)
    assert all(isinstance(one, Figure) for one in found)
    assert found[1].seen.median == pytest.approx(0.1 + 0.64)


def test_a_dear_record_misses_the_bar() -> None:
    verdict, *_ = judge(64, KINDS, 0.0, 4e-6)
    assert isinstance(verdict, Verdict)
    assert not verdict.is_met
