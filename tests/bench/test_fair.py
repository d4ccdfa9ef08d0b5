from dataclasses import replace

import pytest

from bench.courses import ClientsReport, Counts, Report
from bench.fair import GREEDY, POLITE, digest_of, judge, kept, key_of, unlimited
from bench.ratios import Figure, Verdict

FULL = Counts(100, 0, 0, 100, {"200": 100}, 0.01, 0.05, 0.06)
HALF = Counts(100, 0, 0, 50, {"200": 50, "429": 50}, 0.01, 0.05, 0.06)
NOTHING = Counts(0, 0, 0, 0)
GREED = Counts(1000, 0, 0, 110, {"200": 110, "429": 890})


def report(greedy: Counts, *polite: Counts) -> Report:
    counts = dict(zip((*POLITE, GREEDY), (*polite, greedy), strict=True))
    clients = (ClientsReport(name, (), (FULL, one), 0, 0) for name, one in counts.items())
    return Report(0.0, 0.1, 0.0, tuple(clients))


ALONE = report(NOTHING, FULL, FULL, FULL)


def test_whoever_of_the_polite_is_worst_off_decides() -> None:
    verdict, greedy = judge([(report(GREED, FULL, HALF, FULL), ALONE)], 50.0)
    assert isinstance(verdict, Verdict)
    assert (verdict.seen.median, verdict.is_met) == (0.5, False)
    assert isinstance(greedy, Figure)
    assert greedy.seen.median == pytest.approx(1.1)  # shares: ten times as much was asked


def test_who_keeps_goodput_beside_greed_is_treated_fairly() -> None:
    fine = replace(FULL, good=96)
    verdict, _ = judge([(report(GREED, fine, fine, fine), ALONE)], 50.0)
    assert isinstance(verdict, Verdict)
    assert verdict.is_met


def test_goodput_is_of_what_was_offered_in_each_window() -> None:
    twice = Counts(200, 0, 0, 190, {"200": 190})
    beside = report(GREED, twice, FULL, FULL)
    assert kept(beside, ALONE, "one") == 0.95
    assert kept(beside, report(NOTHING, NOTHING, FULL, FULL), "one") == 0.0


def test_each_has_a_key_of_its_own() -> None:
    names = (*POLITE, GREEDY)
    assert len({key_of(name) for name in names}) == len({digest_of(name) for name in names}) == 4
    assert unlimited(10.0) == ""
