"""Bounds: what the configuration says about where an execution may happen, and how long."""

from gateway.config.tables import Config
from gateway.core.costs import Bounds


def bounds_of(config: Config) -> Bounds:
    """Return the bounds in the units of the planner."""
    batching = config.batching
    return Bounds(
        inline_row_s=batching.inline_row_us / 1e6,
        inline_batch_s=batching.inline_budget_ms / 1e3,
        thread_batch_s=batching.thread_budget_ms / 1e3,
    )
