import pytest

from bench.chances import binomial
from bench.ratios import Verdict
from bench.traffic import LEVEL, Seen, fair, holds, truthful

HELD = {1: 100, 2: 101}  # which process holds the connection from which port
DOCUMENT = {
    "revision": 7,
    "variants": [
        {"name": "stable", "version": "1", "weight": 100},
        {"name": "canary", "version": "2", "weight": 0},
    ],
}


def split(port: int, stable: int, canary: int) -> list[Seen]:
    return [
        Seen(port, 200, "7", "stable", "1", stable),
        Seen(port, 200, "7", "canary", "2", canary),
    ]


def verdicts(found: object) -> list[bool]:
    assert isinstance(found, list)
    return [one.is_met for one in found if isinstance(one, Verdict)]


def test_a_fair_split_is_fair_on_each_replica_and_together() -> None:
    found = fair([*split(1, 95_000, 5_000), *split(2, 19_000, 1_000)], HELD)
    assert verdicts(found) == [True] * 4
    assert "6,000 of 120,000 calls, 5.000 %" in found[1].note


def test_a_replica_that_shares_otherwise_is_seen_though_together_they_are_fair() -> None:
    found = fair([*split(1, 94_000, 6_000), *split(2, 96_000, 4_000)], HELD)
    assert verdicts(found) == [True, True, False, False]


def test_the_last_count_that_may_be_chance_is_met_and_the_next_is_not() -> None:
    low, high = binomial(10_000, 0.05, LEVEL)
    for count, is_met in ((low - 1, False), (low, True), (high, True), (high + 1, False)):
        _, together, *_ = fair(split(1, 10_000 - count, count), {1: 100})
        assert isinstance(together, Verdict)
        assert together.is_met is is_met


def test_what_was_refused_or_not_answered_is_no_share_and_is_told() -> None:
    seen = [*split(1, 9_500, 500), Seen(1, 503, "", "", "", 2), Seen(1, 0, "", "", "", 1)]
    failed, together, *_ = fair(seen, {1: 100})
    assert failed.seen.median == 3
    assert "500 of 10,000 calls" in together.note


def test_a_variant_without_weight_gets_no_call() -> None:
    assert holds(DOCUMENT) == {("stable", "1")}


@pytest.mark.parametrize(
    ("seen", "lies"),
    [
        (Seen(1, 200, "7", "stable", "1", 10), 0),
        (Seen(1, 200, "7", "stable", "2", 10), 10),  # the version of another revision
        (Seen(1, 200, "7", "canary", "2", 10), 10),  # its weight is 0
        (Seen(1, 200, "8", "stable", "1", 10), 10),  # nobody wrote that revision
    ],
)
def test_an_answer_that_its_revision_does_not_hold_is_seen(seen: Seen, lies: int) -> None:
    failed, untrue, *_ = truthful([seen], {"7": holds(DOCUMENT)}, [0.02])
    assert failed.seen.median == 0
    assert untrue.seen.median == lies


def test_the_longest_change_is_told_beside_the_usual_one() -> None:
    *_, usual, longest = truthful(split(1, 1, 0), {"7": holds(DOCUMENT)}, [0.02, 0.03, 0.3])
    assert usual.seen.median == pytest.approx(30)
    assert longest.seen.median == pytest.approx(300)


def test_what_failed_is_told_by_its_status() -> None:
    seen = [Seen(1, 503, "", "", "", 2), Seen(2, 0, "", "", "", 1), *split(1, 5, 0)]
    failed, untrue, *_ = truthful(seen, {"7": holds(DOCUMENT)}, [0.02])
    assert verdicts([failed, untrue]) == [False, True]
    assert "503: 2" in failed.note
    assert "unanswered: 1" in failed.note
