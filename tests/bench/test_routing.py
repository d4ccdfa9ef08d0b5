from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bench import deciding, routing
from bench.ratios import Figure, Verdict
from bench.requests import INFER, Target
from bench.stand import QUICK, Stand
from bench.wrk import Window

# Seconds a request; deciding costs 0.2 us by weight, 0.8 us sticky; two batches 0.5 us more.
KINDS = {
    "one": [5.0e-6, 6.0e-6, 9.0e-6],
    "weight": [5.2e-6, 6.2e-6, 9.2e-6],
    "few": [5.7e-6, 6.7e-6, 9.7e-6],
    "half": [5.8e-6, 6.8e-6, 9.8e-6],
    "rule": [5.3e-6, 6.3e-6, 9.3e-6],
    "one, named": [10e-6, 11e-6, 14e-6],
    "header": [10.8e-6, 11.8e-6, 14.8e-6],
    "header, few": [11.3e-6, 12.3e-6, 15.3e-6],
    "one, told": [20e-6, 21e-6, 24e-6],
    "parameter": [22e-6, 23e-6, 26e-6],
}
WHOLE_S = {"one": 14e-6, "one, named": 20e-6, "one, told": 30e-6}


def judged(whole_s: Mapping[str, float] = WHOLE_S) -> dict[str, Verdict | Figure]:
    found = {}
    for one in routing.judge(KINDS, whole_s):
        found[one.bar.what if isinstance(one, Verdict) else one.what] = one
    return found


def test_each_kind_is_held_against_the_same_requests_without_a_decision() -> None:
    for name, other in routing.AGAINST.items():
        assert deciding.KINDS[name].against == other
        assert deciding.KINDS[name].sent == deciding.KINDS[other].sent
        assert deciding.KINDS[other].against is None
    assert deciding.KINDS.keys() == routing.AGAINST.keys() | set(routing.AGAINST.values())


def test_what_deciding_adds_is_a_share_of_a_whole_request() -> None:
    by_weight = judged()["split 99.99/0.01 by weight: share of a request's CPU"]
    assert isinstance(by_weight, Verdict)
    assert by_weight.seen.median == pytest.approx(100 * 0.2 / 14)
    assert by_weight.seen.lowest == pytest.approx(by_weight.seen.highest)
    assert by_weight.is_met


def test_sticky_has_a_bar_of_its_own() -> None:
    by_header = judged()["split 99.99/0.01, sticky by header: share of a request's CPU"]
    assert isinstance(by_header, Verdict)
    assert by_header.seen.median == pytest.approx(4.0)
    assert by_header.is_met


def test_a_dear_decision_misses_the_bar() -> None:
    dear = judged({**WHOLE_S, "one": 7e-6})
    by_weight = dear["split 99.99/0.01 by weight: share of a request's CPU"]
    assert isinstance(by_weight, Verdict)
    assert not by_weight.is_met


def test_smaller_batches_are_told_apart_from_deciding() -> None:
    few = judged()["split 95/5 by weight: share of a request's CPU"]
    assert isinstance(few, Figure)
    assert "0.20 us to decide, 0.50 us for two batches instead of one" in few.note


def test_the_path_between_the_sockets_is_compared_as_well() -> None:
    inner = judged()["split 99.99/0.01 by weight: between the sockets"]
    assert inner.seen.median == pytest.approx(100 * 0.2 / 6.0)
    assert "6.20 and 6.00 us" in inner.note


def test_the_whole_server_is_compared_window_by_window() -> None:
    one = Window(50_000, 1.0, 0.001, 0.002, 0.70, 0.6)
    split = Window(49_000, 1.0, 0.001, 0.002, 0.70, 0.6)
    slow = [replace(window, requests=window.requests // 2) for window in (one, split)]
    windows = {"one": [one, slow[0]], "weight": [split, slow[1]]}
    rate, cpu = routing.compare(windows)
    assert rate.seen.median == pytest.approx(0.98)
    assert cpu.seen.median == pytest.approx(1 / 0.98)


@pytest.mark.parametrize(("slower", "is_met"), [(1.3, True), (500.0, False)])
def test_a_decision_that_grows_with_the_models_is_seen(slower: float, is_met: bool) -> None:
    one = {"weight": [2e-7] * 3, "sticky": [8e-7] * 3, "bytes": [20_000.0]}
    one |= {"anew_s": [1e-3], "heard_s": [1e-4], "one_s": [1e-4]}
    many = {"weight": [2e-7 * slower] * 3, "sticky": [8e-7 * slower] * 3, "bytes": [14_000_000.0]}
    many |= {"anew_s": [0.1], "heard_s": [0.01], "one_s": [0.01]}
    by_weight, sticky, memory, *plans = routing.crowds(many, one)
    assert isinstance(by_weight, Verdict)
    assert isinstance(sticky, Verdict)
    assert by_weight.is_met is sticky.is_met is is_met
    assert memory.seen.median == pytest.approx(14.0)
    assert [figure.seen.median for figure in plans] == pytest.approx([100, 10, 10])


def test_the_whole_server_gets_the_requests_that_its_document_reads(tmp_path: Path) -> None:
    bodies = tmp_path / "bodies"
    bodies.write_bytes(b'{"inputs":[]}\n{"inputs":[1]}\n')
    stand = Stand(QUICK, 0, 1, tmp_path, tmp_path, Target(INFER, bodies))
    shares = routing.shares_of(stand)
    told = shares["parameter"].sent.bodies
    assert told is not None
    assert told.read_bytes() == (
        b'{"parameters":{"user":"user-0"},"inputs":[]}\n'
        b'{"parameters":{"user":"user-1"},"inputs":[1]}\n'
    )
    assert shares["header"].sent.names_itself
    for name, share in shares.items():
        assert share.sent == shares[routing.AGAINST.get(name, name)].sent
