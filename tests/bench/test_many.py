from pathlib import Path

import pytest

from bench import many
from bench.ratios import Verdict
from bench.wrk import Window
from gateway.config import parse_model
from gateway.repository.digest import digest
from gateway.repository.discover import discover

DIGITS = Path(__file__).parents[2] / "models" / "digits" / "1"


def test_a_crowd_is_a_repository_in_which_no_two_models_are_the_same(tmp_path: Path) -> None:
    many.stock(DIGITS, tmp_path, ["digits", "known-0001", "known-0002"])
    discovery = discover(tmp_path, parse_model)
    assert not discovery.faults
    assert [found.model for found in discovery.found] == ["digits", "known-0001", "known-0002"]
    assert len({digest(found.folder) for found in discovery.found}) == 3


def test_both_processes_of_a_gateway_are_weighed() -> None:
    sizes = {"many": many.Size(70_000_000, 120_000_000)}
    assert [one.seen.median for one in many.sized(sizes)] == [70.0, 120.0]


def test_a_request_is_compared_by_its_cost() -> None:
    much = Window(50_000, 1.0, 0.001, 0.002, 0.75, 0.6)
    little = Window(50_000, 1.0, 0.001, 0.002, 0.70, 0.6)
    (figure,) = many.costs([(much, little)] * 3)
    assert figure.seen.median == pytest.approx(75 / 70)
    assert "15.0 and 14.0 us" in figure.note


@pytest.mark.parametrize(("slower", "is_met"), [(1.3, True), (500.0, False)])
def test_a_look_up_that_grows_with_the_models_is_seen(slower: float, is_met: bool) -> None:
    few = {"each": [5e-8, 6e-8], "one": [5e-8, 5e-8]}
    crowd = {"each": [5e-8 * slower, 6e-8 * slower], "one": [5e-8, 5e-8]}
    verdict, figure = many.lookups(crowd, few)
    assert isinstance(verdict, Verdict)
    assert verdict.is_met is is_met
    assert figure.seen.median == pytest.approx(1.0)
