from gateway.config import Config
from gateway.config.bounds import bounds_of
from gateway.core.costs import Bounds


def test_an_execution_may_take_what_the_configuration_allows() -> None:
    batching = {"inline_row_us": 200.0, "inline_budget_ms": 2.0, "thread_budget_ms": 50.0}
    config = Config.model_validate({"batching": batching})
    assert bounds_of(config) == Bounds(2e-4, 2e-3, 0.05)


def test_an_empty_configuration_says_what_the_core_says_itself() -> None:
    assert bounds_of(Config()) == Bounds()
