import pytest

from bench.chances import binomial


@pytest.mark.parametrize(
    ("draws", "share", "edges"),
    [(100, 0.5, (34, 66)), (1000, 0.05, (29, 74)), (10, 0.01, (0, 2))],
)
def test_the_edges_are_those_that_whole_numbers_give(
    draws: int, share: float, edges: tuple[int, int]
) -> None:
    """Edges worked out from binomial coefficients in rational numbers."""
    assert binomial(draws, share, 0.999) == edges


def test_ten_throws_of_a_coin_hold_what_is_chance_and_not_more() -> None:
    """One or none is one in 93, two or fewer are one in 18."""
    assert binomial(10, 0.5, 0.95) == (2, 8)


def test_of_two_draws_from_a_coin_each_outcome_is_chance() -> None:
    assert binomial(2, 0.5, 0.9) == (0, 2)
    assert binomial(2, 0.5, 0.4) == (1, 1)


def test_no_draw_is_no_surprise() -> None:
    assert binomial(0, 0.05, 0.999) == (0, 0)
