import pytest

from gateway.config import Config
from gateway.config.bounds import bounds_of, connections_of
from gateway.core.costs import Bounds


def test_an_execution_may_take_what_the_configuration_allows() -> None:
    batching = {"inline_row_us": 200.0, "inline_budget_ms": 2.0, "thread_budget_ms": 50.0}
    config = Config.model_validate({"batching": batching})
    assert bounds_of(config) == Bounds(2e-4, 2e-3, 0.05)


def test_an_empty_configuration_says_what_the_core_says_itself() -> None:
    assert bounds_of(Config()) == Bounds()


@pytest.mark.parametrize(
    ("descriptors", "expected"), [(1 << 20, 10_000), (1024, 768), (256, 1), (10, 1)]
)
def test_connections_leave_descriptors_for_the_rest(descriptors: int, expected: int) -> None:
    assert connections_of(Config(), descriptors) == expected
