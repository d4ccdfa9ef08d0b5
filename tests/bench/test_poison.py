from bench.courses import Counts
from bench.poison import judge
from bench.ratios import Verdict

CLEAN = Counts(980, 0, 0, 980, {"200": 980}, 0.01, 0.04, 0.05)
POISONED = Counts(20, 0, 0, 0, {"500": 20})
RATES = [(90.0, 100.0), (99.0, 100.0), (95.0, 100.0)]


def met(clean: Counts, poisoned: Counts) -> list[bool]:
    found = judge("five", (clean, poisoned), RATES)
    return [one.is_met for one in found if isinstance(one, Verdict)]


def test_the_clean_are_all_answered_and_the_poisoned_all_told() -> None:
    assert met(CLEAN, POISONED) == [True, True]


def test_one_that_is_not_answered_is_one_too_many() -> None:
    assert met(Counts(980, 0, 0, 979, {"200": 979, "500": 1}), POISONED) == [False, True]
    assert met(CLEAN, Counts(20, 0, 0, 1, {"500": 19, "200": 1})) == [True, False]


def test_what_it_costs_is_told() -> None:
    *_, cost = judge("five", (CLEAN, POISONED), RATES)
    assert cost.seen.median == 0.95
    assert "0.98 would be no cost" in cost.note
