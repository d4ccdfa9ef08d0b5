"""The less loaded of two: fair by chance, and blind to none."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.balancing import choose

LOADS = st.lists(st.integers(0, 100), min_size=1, max_size=9)


@given(LOADS, st.integers(0, 1 << 32))
def test_the_most_loaded_is_chosen_only_where_it_is_alone_or_not_alone_in_it(
    loads: list[int], seed: int
) -> None:
    at = choose(loads, random.Random(seed).randrange)
    assert len(loads) == 1 or loads[at] < max(loads) or loads.count(max(loads)) > 1


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 1 << 32))
def test_of_two_it_is_always_the_less_loaded(one: int, other: int, seed: int) -> None:
    loads = [one, other]
    assert loads[choose(loads, random.Random(seed).randrange)] == min(loads)


def test_equals_are_chosen_alike() -> None:
    dice = random.Random(7)
    seen = Counter(choose([3, 3, 3, 3], dice.randrange) for _ in range(4000))
    assert sorted(seen) == [0, 1, 2, 3]
    assert all(850 < count < 1150 for count in seen.values())


def test_there_must_be_one() -> None:
    with pytest.raises(ValueError, match="none"):
        choose([], lambda _: 0)
