"""Bounds: what the configuration allows an execution, and a process, in their own units."""

from gateway.config.tables import Config
from gateway.core.costs import Bounds

_OTHERS = 256  # descriptors that are no connections: models, logs, sockets, those just refused


def bounds_of(config: Config) -> Bounds:
    """Return the bounds in the units of the planner."""
    batching = config.batching
    return Bounds(
        inline_row_s=batching.inline_row_us / 1e6,
        inline_batch_s=batching.inline_budget_ms / 1e3,
        thread_batch_s=batching.thread_budget_ms / 1e3,
    )


def connections_of(config: Config, descriptors: int) -> int:
    """Return how many connections a replica takes that may have so many descriptors.

    Without one left it could neither refuse the next client nor open a file.
    """
    return min(config.limits.max_connections, max(1, descriptors - _OTHERS))
