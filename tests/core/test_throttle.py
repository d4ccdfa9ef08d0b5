"""An endpoint that has no room is asked less, is asked again, and is not blamed for being slow."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.throttle import Throttle, refusal_ratio

SPAN_S = 30.0


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_ratio_is_that_of_the_formula_and_at_most_nine_tenths(
    requests: int, accepts: int
) -> None:
    expected = max(0.0, (requests - 2 * accepts) / (requests + 1))
    assert refusal_ratio(requests, accepts) == min(0.9, expected)


@given(st.integers(1, 200))
def test_what_is_under_way_is_not_held_against_an_endpoint(count: int) -> None:
    throttle = Throttle()
    for _ in range(count):
        throttle, is_sent = throttle.ask(0.0, 0.0)
        assert is_sent
    assert throttle.ratio(0.0) == 0.0


@given(st.integers(1, 100), st.integers(0, 100))
def test_nothing_is_kept_back_while_half_is_accepted(refusals: int, more: int) -> None:
    throttle = Throttle()
    for _ in range(2 * refusals + more):
        throttle, _ = throttle.ask(0.0, 0.0)
    for _ in range(refusals):
        throttle = throttle.refused(0.0)
    assert throttle.ratio(0.0) == 0.0


def overloaded(until_s: float) -> Throttle:
    """Ask a hundred times a second an endpoint that never has room."""
    throttle, now = Throttle(), 0.0
    while now < until_s:
        throttle, is_sent = throttle.ask(now, 0.5)
        if is_sent:
            throttle = throttle.refused(now)
        now += 0.01
    return throttle


def test_who_never_has_room_is_asked_once_a_second() -> None:
    throttle, sent, now = overloaded(20.0), 0, 20.0
    for _ in range(1000):
        now += 0.01
        throttle, is_sent = throttle.ask(now, 0.5)
        if is_sent:
            sent += 1
            throttle = throttle.refused(now)
    assert 9 <= sent <= 11


@given(st.floats(0.91, 1, exclude_max=True))
def test_a_tenth_goes_whatever_was_refused(roll: float) -> None:
    _, is_sent = overloaded(10.0).ask(10.0, roll)
    assert is_sent


@settings(max_examples=10)
@given(st.integers(0, 1 << 32))
def test_an_endpoint_with_room_again_is_asked_as_before_within_two_minutes(seed: int) -> None:
    """A tenth goes; with it twice as much the next time, and so on."""
    throttle, now, dice = overloaded(10.0), 10.0, random.Random(seed)
    while now < 130.0:
        now += 0.02
        throttle, _ = throttle.ask(now, dice.random())
    assert throttle.ratio(now) == 0.0
