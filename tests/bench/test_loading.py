from itertools import product
from typing import Any

import pytest

from bench.loading import MEGABYTES, SMALL, judge, returned
from bench.ratios import Figure, Verdict
from bench.wrk import Tally

QUIET = [{"raw_s": 0.002, "net_s": 0.001}]
TALLY = Tally(10_000, 5.0, 0.001, 0.002)


def changes(*net_s: float) -> list[dict[str, Any]]:
    """A quiet change of every kind, and loads of a small model with these stalls."""
    models = (SMALL, *MEGABYTES)
    usual = [
        {"model": model, "act": act, "took_s": 0.5, "raw_s": 0.003, "net_s": 0.001}
        for model, act in product(models, ("load", "reload", "unload"))
        if (model, act) != (SMALL, "load")
    ]
    loads = [
        {"model": SMALL, "act": "load", "took_s": 0.6, "raw_s": 2 * stall_s, "net_s": stall_s}
        for stall_s in net_s
    ]
    return usual + loads


def verdicts(seen: list[dict[str, Any]], tally: Tally = TALLY) -> tuple[bool, bool]:
    failed, stall, *_ = judge(QUIET, seen, tally)
    assert isinstance(failed, Verdict)
    assert isinstance(stall, Verdict)
    return failed.is_met, stall.is_met


@pytest.mark.parametrize(
    ("net_s", "is_met"),
    [
        ((0.0049,), True),
        ((0.0051,), False),
        ((0.001, 0.036, 0.001), True),  # one turn of three: the machine's
        ((0.006, 0.036, 0.006), False),
    ],
)
def test_the_worst_change_is_judged_by_what_it_does_each_time(
    net_s: tuple[float, ...], is_met: bool
) -> None:
    assert verdicts(changes(*net_s)) == (True, is_met)


def test_the_longest_stall_of_all_is_told_beside_that_of_a_quiet_time() -> None:
    _, _, net, raw, *_ = judge(QUIET, changes(0.001, 0.036, 0.001), TALLY)
    assert (net.seen.median, raw.seen.median) == (36.0, 72.0)
    assert "without changes 1.00 ms" in net.note
    assert "without changes 2.00 ms" in raw.note


def test_a_single_failed_request_is_one_too_many() -> None:
    failed = Tally(10_000, 5.0, 0.001, 0.002, {"read": 1})
    assert verdicts(changes(0.001), failed) == (False, True)


def test_every_change_of_every_size_is_told_with_its_stalls() -> None:
    figures = [one for one in judge(QUIET, changes(0.004), TALLY) if isinstance(one, Figure)]
    (small,) = [one for one in figures if one.what == f"load {SMALL} under full load"]
    assert small.seen.median == 0.6
    assert "4.00 ms net (4.00 at most), 8.00 ms raw" in small.note
    assert len(figures) == 2 + 3 * (1 + len(MEGABYTES))


def test_what_is_given_back_is_told_with_its_stall() -> None:
    rest = {"before_bytes": 1.5e9, "after_bytes": 0.1e9, "net_s": 0.002, "raw_s": 0.003}
    figure = returned(rest)
    assert (figure.seen.median, figure.unit) == (100.0, "MB")
    assert "from 1500 MB" in figure.note
    assert "2.00 ms net, 3.00 ms raw" in figure.note
