"""When an execution is slow, and when it hangs."""

import pytest

from gateway.core.costs import Cost
from gateway.core.slowness import Slowness, is_telling
from gateway.types import Signature, TensorSpec

HEAVY = Cost(row_s=0.05, start_s=0.1)


def test_slow_is_a_multiple_of_what_the_rows_cost() -> None:
    slowness = Slowness(HEAVY, factor=10.0)
    assert [slowness.slow_s(1), slowness.slow_s(4)] == pytest.approx([1.5, 3.0])


def test_nothing_is_slow_below_the_floor() -> None:
    assert Slowness(Cost(1e-6, 1e-5), floor_s=0.5).slow_s(64) == 0.5


def test_everything_is_slow_for_which_no_caller_may_wait() -> None:
    assert Slowness(HEAVY, most_s=2.0).slow_s(64) == 2.0


def test_without_a_cost_only_the_longest_deadline_tells() -> None:
    assert Slowness(None, most_s=7.0).slow_s(1) == 7.0


def test_what_hangs_is_slow_and_old() -> None:
    slowness = Slowness(HEAVY, hang_s=2.0)
    assert [slowness.hung_s(1), slowness.hung_s(4)] == pytest.approx([2.0, 3.0])


@pytest.mark.parametrize(
    ("shape", "max_batch_rows", "expected"),
    [
        ((-1, 4), 8, True),
        ((-1, -1), 8, False),
        ((3,), 0, True),
        ((-1,), 0, False),
        ((), 0, True),
    ],
)
def test_a_trial_tells_what_rows_cost_where_all_rows_are_alike(
    shape: tuple[int, ...], max_batch_rows: int, expected: bool
) -> None:
    spec = TensorSpec("x", "FP32", shape)
    assert is_telling(Signature((spec,), (), max_batch_rows)) is expected
