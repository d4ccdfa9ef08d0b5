"""Limiting: how many rows may wait, and who of those that come is let in.

Theory of operation. What waits for one version is a queue with a measured pace, so its
length is a time: by Little's law a row that comes behind W rows waits W times the time that
one row takes. Nothing here looks at answers' latencies, which batching moves in steps: the
pace is the fitted cost of full executions, times how much longer than fitted the last ones
took.

A queue that comes and goes is a burst, and does no harm. One that stands, because in no
moment of an interval it was shorter than the target, is overload: from then on only so many
rows may wait as are run within the target, the others are refused at once, and the newest
leave first, for they are those that somebody still waits for. Overload ends with an
interval in which nobody had to be refused and the queue was once within its target.
Source: CoDel, as in folly; adaptive LIFO, "Fail at Scale".

The target is a share of the time that callers give, because only they know what waiting
costs them: a fifth, no less than 5 ms or two full executions, no more than a second. So
many patient callers who keep one request each under way are no overload.

Who names a lower priority is refused earlier: of the room, the levels below the usual one
have each an equal share less; those above it have half as much more.
"""

import math
from dataclasses import dataclass, replace

from gateway.core.costs import Cost

_KEPT_RATIO = 0.9  # of what was known, at each execution
_FASTEST = 0.25
_SLOWER_AT_ONCE = 2.0  # one execution that was preempted says little
_MOST_BUDGET_S = 60.0
_URGENT_RATIO = 1.5


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may wait for one version.

    Units: the target is `share_ratio` of callers' time, within `floor_s` and `ceiling_s`.
    """

    max_rows: int = 65_536
    max_bytes: int = 256 << 20
    share_ratio: float = 0.2
    floor_s: float = 0.005
    ceiling_s: float = 1.0
    interval_s: float = 0.1
    levels: int = 4  # of priority; 1 is the highest
    usual: int = 2


class Pace:
    """How fast executions are: as fitted, times `slowdown`; `instances` of `max_rows` at once.

    Mutable state: `slowdown`, and by it `full_s`, what an execution of the most rows takes, and
    `row_s`, the time between two rows that leave a long queue.
    """

    __slots__ = ("_cost", "_fitted_s", "_instances", "full_s", "max_rows", "row_s", "slowdown")

    def __init__(self, cost: Cost, max_rows: int, instances: int = 1) -> None:
        self._cost = cost
        self._fitted_s = cost.of(max_rows)
        self._instances = instances
        self.max_rows = max_rows
        self._set(1.0)

    def service_s(self, rows: int) -> float:
        """Return what an execution of so many rows takes, of the most if they are more."""
        return self.slowdown * self._cost.of(rows) if rows < self.max_rows else self.full_s

    def least_rows(self) -> int:
        """Return how many rows must wait for no executor to run dry."""
        return self.max_rows * self._instances

    def hear(self, rows: int, took_s: float) -> None:
        """Know of an execution of `rows` that took so long."""
        fitted_s = self._cost.of(rows)
        if fitted_s > 0:
            seen = min(max(took_s / fitted_s, _FASTEST), _SLOWER_AT_ONCE * self.slowdown)
            self._set(_KEPT_RATIO * self.slowdown + (1 - _KEPT_RATIO) * seen)

    def _set(self, slowdown: float) -> None:
        self.slowdown = slowdown
        self.full_s = slowdown * self._fitted_s
        self.row_s = self.full_s / (self.max_rows * self._instances)


@dataclass(frozen=True, slots=True)
class Standing:
    """The queue of one interval: when that ends, and the least that was waited in it."""

    ends_at: float = -math.inf
    least_s: float = math.inf
    was_refused: bool = False
    is_overload: bool = False

    def after(self, wait_s: float, target_s: float, now: float, interval_s: float) -> "Standing":
        """Return what is known when the next to come would wait `wait_s`."""
        if now < self.ends_at:
            return self if wait_s >= self.least_s else replace(self, least_s=wait_s)
        if now >= self.ends_at + interval_s:  # nobody came or left for so long: nothing stands
            return Standing(now + interval_s, wait_s)
        stands = self.least_s > target_s
        is_overload = stands or (self.is_overload and self.was_refused)
        return Standing(now + interval_s, wait_s, is_overload=is_overload)

    def refused(self) -> "Standing":
        """Return it when somebody had to be refused for want of room."""
        return self if self.was_refused else replace(self, was_refused=True)


def target_s(budget_s: float, pace: Pace, bounds: Bounds) -> float:
    """Return how long the queue of callers who give so much time may stand."""
    least_s = max(bounds.floor_s, 2 * pace.full_s)
    return max(least_s, min(bounds.share_ratio * budget_s, bounds.ceiling_s))


def blended(budget_s: float, seen_s: float) -> float:
    """Return what callers usually give, after one more of them."""
    return _KEPT_RATIO * budget_s + (1 - _KEPT_RATIO) * min(seen_s, _MOST_BUDGET_S)


def room_rows(target: float, pace: Pace, bounds: Bounds) -> int:
    """Return how many rows may wait under overload: what runs within the target, and no less
    than each executor needs to go on.
    """
    if pace.row_s <= 0:
        return bounds.max_rows
    return min(bounds.max_rows, max(pace.least_rows(), int(target / pace.row_s)))


def share(priority: int, bounds: Bounds) -> float:
    """Return how much of the room is for a priority, as a ratio."""
    if priority < bounds.usual:
        return _URGENT_RATIO
    return (bounds.levels + 1 - priority) / (bounds.levels + 1 - bounds.usual)


def retry_after_s(rows: int, pace: Pace, draw: float) -> float:
    """Return when there may be room again: when what waits has left, at the earliest in a
    second, and half as much later for some than for others.

    Units: `draw` is in [0, 1).
    """
    return max(1.0, rows * pace.row_s) * (1 + draw / 2)
