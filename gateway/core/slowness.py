"""Slowness: how long may an execution take before it is slow, and before it hangs?

Job    two thresholds for an execution of so many rows.
Life   a frozen value for each executor of a version.

An execution is slow beyond `factor` times what its rows cost when the version was tried. That
stands for four times the p99 of a healthy version, which is some 2.5 times its median, and is
known before there was any traffic: nobody has to call a time healthy first. Where the graph
leaves axes open, a trial says nothing of what callers send, and there is no such multiple.

Nothing is slow below `floor_s`: a latency that callers merely dislike is for whoever judges
versions, by comparison; a breaker keeps them from waiting for nothing. Everything is slow
beyond `most_s`, because no caller may wait longer. The deadline of a single caller does not
count: who allows a millisecond would open the breaker for all others.

An execution hangs if it is slow, older than `hang_s`, and nobody waits for it any longer.
"""

from dataclasses import dataclass

from gateway.core.costs import Cost
from gateway.types import Signature


@dataclass(frozen=True, slots=True)
class Slowness:
    """Units: seconds. `cost` None: no trial says what an execution takes."""

    cost: Cost | None = None
    factor: float = 10.0
    floor_s: float = 1.0
    most_s: float = 10.0
    hang_s: float = 2.0

    def slow_s(self, rows: int) -> float:
        """Return the seconds beyond which an execution of `rows` is slow."""
        if self.cost is None:
            return self.most_s
        return min(self.most_s, max(self.floor_s, self.factor * self.cost.of(rows)))

    def hung_s(self, rows: int) -> float:
        """Return the seconds beyond which one that nobody waits for hangs."""
        return max(self.hang_s, self.slow_s(rows))


def is_telling(signature: Signature) -> bool:
    """Say whether what a trial cost is what a caller's rows cost: every row has one shape."""
    rows = 1 if signature.max_batch_rows else 0
    return all(axis >= 0 for spec in signature.inputs for axis in spec.shape[rows:])
