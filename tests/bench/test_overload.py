import math
from dataclasses import replace

import pytest

from bench.courses import Clients, ClientsReport, Counts, Report
from bench.overload import Subject, Trial, judge, recovery_of
from bench.ratios import Verdict

SUBJECT = Subject(Clients("five", "/", "", 8, None, 0.1), 2, 0.001, ((2.0, 0.95),))
PHASES_S = (1.0, 2.0, 3.0)
CALM = Counts(10, 0, 0, 10, {"200": 10}, 0.005, 0.01, 0.012)
SURGE = Counts(800, 0, 0, 390, {"200": 390, "429": 410}, 0.05, 0.09, 0.095)
BAD = Counts(10, 0, 0, 0, {"504": 10})
AFTER = (BAD,) * 5 + (CALM,) * 25


def trial(surge: Counts = SURGE, after: tuple[Counts, ...] = AFTER, grown: float = 0.0) -> Trial:
    slices = (CALM,) * 10 + (BAD,) * 20 + after
    clients = ClientsReport("five", slices, (CALM, surge, CALM), 0, 0)
    return Trial(Report(0.0, 0.5, 0.001, (clients,)), PHASES_S, 200.0, grown, 1e8)


def verdicts(*trials: Trial) -> list[bool]:
    found = judge("five, 2 times", 0.95, trials, SUBJECT)
    assert all(isinstance(one, Verdict) for one in found)
    return [one.is_met for one in found if isinstance(one, Verdict)]


def test_goodput_lateness_recovery_and_memory_are_judged() -> None:
    goodput, late, recovery, memory = judge("five, 2 times", 0.95, [trial()], SUBJECT)
    assert goodput.seen.median == pytest.approx(0.975)
    assert late.seen.median == 0.0
    assert recovery.seen.median == pytest.approx(0.4)
    assert memory.seen.median == 0.0
    assert "429: 51.25%" in goodput.note


def test_each_of_them_can_fail() -> None:
    assert verdicts(trial()) == [True, True, True, True]
    assert verdicts(trial(replace(SURGE, good=300, highest_s=0.3))) == [False, False, True, True]
    assert verdicts(trial(after=(BAD,) * 30)) == [True, True, False, True]
    assert verdicts(trial(grown=0.03)) == [True, True, True, False]
    assert verdicts(trial(grown=math.nan)) == [True, True, True, False]


def test_one_bad_recovery_of_many_decides() -> None:
    assert verdicts(trial(), trial(), trial(after=(BAD,) * 30))[2] is False


def test_recovery_counts_from_the_end_of_the_overload() -> None:
    assert recovery_of(trial(after=(CALM,) * 30)) == 0.0
