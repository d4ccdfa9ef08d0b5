"""Costs: what an execution of b rows takes, and where it should therefore run.

    l(b) = alpha * b + tau0

Source: the affine batch cost of Clipper and Nexus (R2 0.9998 on ResNet-50).

A model whose single row costs less than a hop to a thread and back runs inline, on
the event loop, in batches short enough that nobody else on the loop notices. Any
other runs in a thread, in batches as long as its callers can bear.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_NO_LIMIT_ROWS = 1 << 30


@dataclass(frozen=True, slots=True)
class Cost:
    """The fitted line. Units: seconds a row, seconds an execution."""

    row_s: float
    start_s: float

    def of(self, rows: int) -> float:
        """Return the seconds that an execution of `rows` takes."""
        return self.row_s * rows + self.start_s

    def rows_within(self, budget_s: float) -> int:
        """Return the most rows that stay within `budget_s`, at least 1."""
        if self.row_s <= 0:
            return _NO_LIMIT_ROWS
        return max(1, int(min((budget_s - self.start_s) / self.row_s, _NO_LIMIT_ROWS)))


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where inline ends. Units: seconds."""

    inline_row_s: float = 150e-6  # a single row dearer than this leaves the loop
    inline_batch_s: float = 1e-3  # the longest the loop may be held
    thread_batch_s: float = 0.1  # the longest batch for a thread; or twice its start


@dataclass(frozen=True, slots=True)
class Placement:
    is_inline: bool
    max_rows: int


def fit(samples: Sequence[tuple[int, float]]) -> Cost:
    """Fit the line to (rows, seconds) by least squares of relative errors.

    Relative, so that the cost of one row is not drowned by the error at 128. Neither
    coefficient is negative.
    """
    weights = [1.0 / seconds**2 for _, seconds in samples]
    total = sum(weights)
    mean_rows = sum(w * rows for w, (rows, _) in zip(weights, samples, strict=True)) / total
    mean_s = sum(w * s for w, (_, s) in zip(weights, samples, strict=True)) / total
    spread = sum(w * (rows - mean_rows) ** 2 for w, (rows, _) in zip(weights, samples, strict=True))
    if not spread:
        return Cost(mean_s / mean_rows, 0.0)
    lean = sum(
        w * (rows - mean_rows) * (s - mean_s) for w, (rows, s) in zip(weights, samples, strict=True)
    )
    row_s = max(0.0, lean / spread)
    start_s = mean_s - row_s * mean_rows
    if start_s < 0:
        return Cost(mean_s / mean_rows, 0.0)
    return Cost(row_s, start_s)


def place(cost: Cost, bounds: Bounds, max_rows: int) -> Placement:
    """Choose inline or thread, and the largest execution, for a fitted cost."""
    if cost.of(1) < bounds.inline_row_s:
        return Placement(True, min(max_rows, cost.rows_within(bounds.inline_batch_s)))
    return Placement(False, thread_rows(cost, bounds, max_rows))


def thread_rows(cost: Cost, bounds: Bounds, max_rows: int) -> int:
    """Return the largest execution for a thread.

    Where merely starting takes longer than the bound, rows are nearly free: as many as
    double the time of one.
    """
    budget_s = max(bounds.thread_batch_s, 2 * cost.start_s)
    return min(max_rows, cost.rows_within(budget_s))


@dataclass(frozen=True, slots=True)
class Overruns:
    """Executions in a row that held the loop longer than they may."""

    limit: int = 16  # a noisy neighbour makes one slow; it takes a habit to move a model
    count: int = 0

    def after(self, elapsed_s: float, budget_s: float) -> "Overruns":
        """Return the state after one more execution."""
        count = self.count + 1 if elapsed_s > budget_s else 0
        return self if count == self.count else Overruns(self.limit, count)

    def has_exceeded(self) -> bool:
        """Say whether the model should leave the loop."""
        return self.count >= self.limit
