import pytest

from bench.chances import binomial
from tests.core import chances


@pytest.mark.parametrize("draws", [1, 20, 400, 1_200_000])
@pytest.mark.parametrize("share", [0.0001, 0.05, 0.5])
def test_what_may_be_called_chance_is_the_same_as_in_the_tests(draws: int, share: float) -> None:
    assert binomial(draws, share, 0.999) == chances.binomial(draws, share, 0.999)


def test_of_two_draws_from_a_coin_each_outcome_is_chance() -> None:
    assert binomial(2, 0.5, 0.9) == (0, 2)
    assert binomial(2, 0.5, 0.4) == (1, 1)


def test_no_draw_is_no_surprise() -> None:
    assert binomial(0, 0.05, 0.999) == (0, 0)
