from dataclasses import replace

import pytest

from bench.courses import Counts
from bench.leavers import Seen, judge_amid, judge_queued
from bench.ratios import Verdict

STAY = Counts(1000, 0, 0, 1000, {"200": 1000}, 0.01, 0.04, 0.05)
LEAVE = Counts(400, 0, 380, 20, {"200": 20})
NOBODY = Counts(0, 0, 0, 0)
ALONE = Seen(STAY, NOBODY, 0.005, 0.0)


def with_leavers(
    accepted: int = 1000, failed: int = 0, p99_s: float = 0.04, cpu_s: float = 0.00505
) -> Seen:
    answers = {"200": accepted, "500": failed}
    return Seen(replace(STAY, answers=answers, p99_s=p99_s), LEAVE, cpu_s, 380.0)


def met(found: list[object]) -> list[bool]:
    return [one.is_met for one in found if isinstance(one, Verdict)]


def test_nobody_notices_who_leaves_amid_a_request() -> None:
    amid, stayed = with_leavers(p99_s=0.044), with_leavers(p99_s=0.055)
    failed, p99, alone = judge_amid([(amid, ALONE)], [(amid, stayed)])
    assert p99.seen.median == pytest.approx(0.8)
    assert alone.seen.median == pytest.approx(1.1)
    assert "760 left, 2,000 stayed" in failed.note
    assert met([failed, p99]) == [True, True]


def test_a_failure_and_a_long_wait_are_noticed() -> None:
    amid = with_leavers(999, 1, p99_s=0.1)
    found = judge_amid([(amid, ALONE)], [(amid, with_leavers(p99_s=0.09))])
    assert met([*found]) == [False, False]


def test_cpu_that_the_others_have_nothing_of_was_spent_on_those_who_left() -> None:
    spent, failed, answers = judge_queued([(with_leavers(990), ALONE)])
    assert spent.seen.median == pytest.approx(0.01)
    assert "380 seen to leave; 20 were answered first" in spent.note
    assert answers.seen.median == 0.99
    assert met([spent, failed]) == [True, True]
    spent, *_ = judge_queued([(with_leavers(cpu_s=0.0052), ALONE)])
    assert met([spent]) == [False]
