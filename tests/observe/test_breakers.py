"""How executor instances are, in one number each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.breaker import State
from gateway.observe.breakers import KINDS, cell_of, openings, states, worst

names = st.sampled_from(["inline", "thread"]) | st.builds(
    "{}/{}".format, st.sampled_from(["process", "remote"]), st.integers(0, 255)
)


@given(names, st.sampled_from(State), st.integers(0, 1 << 40))
def test_a_cell_says_again_what_was_written(name: str, state: State, opened: int) -> None:
    cell = cell_of(name, state, opened)
    assert cell is not None
    assert 0 < cell < 1 << 63
    assert (states([cell]), openings([cell])) == ({name: state}, opened)


def test_an_empty_cell_says_nothing() -> None:
    assert (states([0, 0]), openings([0, 0])) == ({}, 0)


def test_one_that_is_there_no_more_has_no_state_and_has_opened_all_the_same() -> None:
    cell = cell_of("process/3", None, 7)
    assert cell is not None
    assert (states([cell]), openings([cell])) == ({}, 7)


@pytest.mark.parametrize("name", ["", "gpu", "process/256", "process/x", "process/-1"])
def test_a_name_that_is_none_is_not_shown(name: str) -> None:
    assert cell_of(name, State.OPEN, 0) is None


def test_of_two_the_worse_counts() -> None:
    one = {"thread": State.OPEN, "inline": State.CLOSED}
    other = {"thread": State.HALF_OPEN, "process/0": State.METRICS_ONLY}
    expected = {
        "thread": State.OPEN, "inline": State.CLOSED, "process/0": State.METRICS_ONLY,
    }  # fmt: skip
    assert worst(one, other) == worst(other, one) == expected
    assert worst(one, {}) == worst({}, one) == one


def test_every_kind_has_room_in_a_cell() -> None:
    assert len(KINDS) < 16
    assert max(State) - min(State) + 1 < 16
