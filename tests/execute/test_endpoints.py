"""Endpoints: who is chosen, who is not, and that whoever was begun is ended."""

import logging
import random
from collections import Counter

import pytest

from gateway.core.outliers import FAILURES
from gateway.errors import BreakerOpen, Overloaded
from gateway.execute.endpoints import Dice, Endpoints, Place
from gateway.execute.upstream import Outcome, Unwatched

A, B, C = "http://a", "http://b", "http://c"


class Watch:
    """Lets nobody be asked who is `shut`, and keeps what it heard."""

    def __init__(self) -> None:
        self.shut: set[str] = set()
        self.permits: list[object] = []
        self.told: list[tuple[str, Outcome]] = []

    def may_send(self, endpoint: str) -> object | None:
        if endpoint in self.shut:
            return None
        self.permits.append(object())
        return self.permits[-1]

    def heard(
        self, endpoint: str, permit: object, outcome: Outcome, seconds: float, rows: int
    ) -> None:
        self.permits.remove(permit)
        self.told.append((endpoint, outcome))


def endpoints(*names: str, watch: Watch | None = None, roll: float = 0.0) -> Endpoints:
    dice = random.Random(3)
    return Endpoints(names, watch or Unwatched(), Dice(dice.randrange, lambda: roll))


def begun(those: Endpoints, rows: int = 1, now: float = 0.0, but: Place | None = None) -> str:
    return those.address(those.begin(rows, now, but))


def fail(those: Endpoints, name: str, now: float = 0.0) -> None:
    """Have one fail until it is left out."""
    failures = 0
    while failures < FAILURES:
        place = those.begin(1, now)
        is_meant = those.address(place) == name
        those.end(place, "failure" if is_meant else "success", now, 0.1)
        failures += is_meant


def test_whoever_has_less_to_do_is_chosen() -> None:
    those = endpoints(A, B)
    first = begun(those, 100)
    assert {begun(those) for _ in range(50)} == {A, B} - {first}
    assert sorted(those.under_way()) == [50, 100]


def test_what_has_ended_is_under_way_no_more() -> None:
    those = endpoints(A, B)
    places = [those.begin(rows, 0.0) for rows in (3, 4, 5)]
    for place in places:
        those.end(place, "void", 0.0, 0.0)
    assert those.under_way() == (0, 0)


def test_another_one_is_never_the_same() -> None:
    those = endpoints(A, B, C)
    first = those.begin(1, 0.0)
    assert those.address(first) not in {begun(those, 1, 0.0, first) for _ in range(50)}


def test_there_is_no_other_where_there_is_one() -> None:
    those = endpoints(A)
    first = those.begin(1, 0.0)
    with pytest.raises(BreakerOpen):
        those.begin(1, 0.0, first)


def test_whoever_alone_fails_is_left_out_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    those = endpoints(A, B)
    with caplog.at_level(logging.WARNING):
        fail(those, A)
    assert caplog.messages == [f"{A} failed 5 times in a row: it is left out for 30 s"]
    assert {begun(those, 1, 29.0) for _ in range(30)} == {B}
    assert Counter(begun(those, 1, 31.0) for _ in range(30))[A] > 0


def test_whoever_the_watch_shuts_is_not_asked() -> None:
    watch = Watch()
    those = endpoints(A, B, watch=watch)
    watch.shut = {A}
    assert {begun(those) for _ in range(30)} == {B}
    watch.shut = {A, B}
    with pytest.raises(BreakerOpen):
        those.begin(1, 0.0)


@pytest.mark.parametrize("outcome", ["success", "failure", "void"])
def test_the_watch_hears_of_each_that_it_permitted_once(outcome: Outcome) -> None:
    watch = Watch()
    those = endpoints(A, B, C, watch=watch)
    places = [those.begin(1, 0.0) for _ in range(20)]
    assert len(watch.permits) == 20
    for place in places:
        those.end(place, outcome, 0.0, 0.0)
    assert watch.permits == []
    assert watch.told == [(those.address(place), outcome) for place in places]


def test_whoever_has_no_room_is_asked_less_and_its_neighbour_more() -> None:
    those = endpoints(A, B)
    for _ in range(40):
        place = those.begin(1, 0.0)
        if those.address(place) == A:
            those.refused(place, 0.0)
        those.end(place, "void", 0.0, 0.0)
    assert Counter(begun(those) for _ in range(50))[A] <= 1


def has_no_room(those: Endpoints) -> bool:
    """Ask for nothing; say whether we were refused before it was sent."""
    try:
        place = those.begin(1, 0.0)
    except Overloaded as error:
        return error.shed == "limit"
    those.refused(place, 0.0)
    those.end(place, "void", 0.0, 0.0)
    return False


def test_where_nobody_has_room_the_caller_is_refused_before_anything_is_sent() -> None:
    watch = Watch()
    those = endpoints(A, B, watch=watch)
    assert sum(has_no_room(those) for _ in range(20)) > 10
    assert watch.permits == []


def test_no_room_leaves_nobody_out() -> None:
    those = endpoints(A, B, roll=0.99)
    for _ in range(50):
        place = those.begin(1, 0.0)
        those.refused(place, 0.0)
        those.end(place, "void", 0.0, 0.0)
    assert {begun(those) for _ in range(30)} == {A, B}


def test_whoever_could_not_be_reached_is_avoided_for_a_moment() -> None:
    those = endpoints(A, B)
    place = those.begin(1, 0.0)
    those.avoid(place, 0.0, 1.0)
    assert those.address(place) not in {begun(those, 1, 0.5) for _ in range(30)}
    assert {begun(those, 1, 1.0) for _ in range(100)} == {A, B}


def test_whoever_is_avoided_is_asked_where_there_is_no_other() -> None:
    those = endpoints(A, B)
    places = [those.begin(1, 0.0), those.begin(1, 0.0)]
    for place in places:
        those.avoid(place, 0.0, 1.0)
    assert {begun(those, 1, 0.5) for _ in range(100)} == {A, B}


def test_the_more_often_it_fails_the_longer_it_is_avoided() -> None:
    those = endpoints(A)
    waits = []
    for _ in range(FAILURES):
        place = those.begin(1, 0.0)
        those.avoid(place, 0.0, 2.0)
        waits.append(those._avoided_until[0])  # noqa: SLF001 - alone, it is asked all the same
        those.end(place, "failure", 0.0, 0.0)
    assert waits == [2.0, 4.0, 8.0, 16.0, 16.0]


def test_an_endpoint_that_is_down_for_ever_is_ended_each_time() -> None:
    those = endpoints(A)
    for second in range(1100):
        place = those.begin(1, float(second))
        those.avoid(place, float(second), 2.0)
        those.end(place, "failure", float(second), 0.0)
    assert those.under_way() == (0,)
