"""How long a slot waits for its next replica."""

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.restarts import Policy, Restarts, after_end


def delays(*lives_s: float) -> list[float]:
    """Return the delay after each of several lives."""
    restarts, now, found = Restarts(), 100.0, []
    for life_s in lives_s:
        now += life_s
        restarts, delay_s = after_end(restarts, now)
        now += delay_s
        found.append(delay_s)
    return found


def test_the_first_end_of_a_slot_starts_the_next_at_once() -> None:
    assert delays(0.5) == [0.0]


def test_ends_soon_after_a_start_wait_longer_and_longer() -> None:
    assert delays(*[0.5] * 9) == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_replica_that_served_for_a_while_resets_it() -> None:
    assert delays(1, 1, 1, 30, 1) == [0.0, 0.1, 0.2, 0.0, 0.1]


def test_the_wait_itself_is_no_service() -> None:
    policy = Policy(first_s=100.0, ceiling_s=1000.0)
    restarts, delay_s = after_end(Restarts(), 0.0, policy)
    restarts, delay_s = after_end(restarts, 1.0, policy)
    assert delay_s == 100.0
    assert after_end(restarts, 102.0, policy)[1] == 200.0


@given(st.lists(st.floats(0, 100), max_size=3000))
def test_no_story_makes_a_slot_wait_longer_than_the_ceiling(lives_s: list[float]) -> None:
    for delay_s in delays(*lives_s):
        assert 0 <= delay_s <= Policy().ceiling_s
        assert math.isfinite(delay_s)
