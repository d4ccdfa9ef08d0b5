"""Line: what waits in one batcher, this tick's calls and the backlog before them.

Job    count rows and bytes, and give the calls of the next execution.
Life   its batcher's.
Never  decides who may join, or when a batch leaves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.batch.failures import too_many_shapes
from gateway.core.batching import Backlog, Hold, Policy, Wait
from gateway.core.queues import Cut
from gateway.core.stacking import split
from gateway.types import Call, Outputs


@dataclass(frozen=True, slots=True)
class Statistics:
    """How much there is before one batcher."""

    waiting_rows: int  # not yet in an execution
    running: int  # executions in flight


class Line:
    """Every call that joined is given back once: to be run, as late, as stale, or at the end.

    Mutable state: `arrived` (this tick's calls), the backlog, and of both together `rows`
    and `size_bytes`; `told_rows` and `told_bytes` are what whoever counts several lines knows of
    this one.
    """

    __slots__ = ("_backlog", "arrived", "rows", "size_bytes", "told_bytes", "told_rows")

    def __init__(self) -> None:
        self.arrived: list[Call] = []
        self._backlog = Backlog()
        self.rows = 0
        self.size_bytes = 0
        self.told_rows = self.told_bytes = 0

    def take(self) -> list[Call]:
        """Take this tick's calls, where nothing else waits."""
        calls, self.arrived = self.arrived, []
        self.rows = self.size_bytes = 0
        return calls

    def settle(self, most: int, complete: Callable[[Call, Outputs], None]) -> None:
        """Put this tick's calls into the backlog, those of more than `most` rows in parts."""
        arrived, self.arrived = self.arrived, []
        for call in arrived:
            is_whole = call.rows <= most or call.done
            for part in [call] if is_whole else split(call, most, complete):
                if not self._backlog.push(part):
                    part.fail(too_many_shapes())
        self._count()

    def cut(
        self, until: float, running: int, policy: Policy, soon: float, stale_at: float
    ) -> Cut | Wait | Hold:
        """Take the most urgent batch that may leave; else say what for it waits.

        Units: monotonic seconds: what may leave is judged as if it were `until`.
        """
        chosen = self._backlog.next(until, running, policy)
        if isinstance(chosen, Wait | Hold):
            return chosen
        rows, size_bytes = chosen.rows, chosen.size_bytes
        cut = chosen.cut(policy.max_rows, soon, stale_at)
        self.rows -= rows - chosen.rows
        self.size_bytes -= size_bytes - chosen.size_bytes
        return cut

    def turn(self, is_newest_first: bool) -> None:
        """Let calls leave in this order from now on."""
        self._backlog.turn(is_newest_first)

    def ahead(self, call: Call) -> int:
        """Return the rows that leave before a call that joins now, at most."""
        arrived = self.rows - self._backlog.rows()  # added up, each call would look at all others
        return self._backlog.ahead(call.priority, call.deadline) + arrived

    def sweep(self, now: float) -> Sequence[Call]:
        """Remove what is done or expired from the backlog; return what expired."""
        expired = self._backlog.sweep(now)
        self._count()
        return expired

    def earliest(self) -> float:
        """Return the earliest deadline in the backlog."""
        return self._backlog.earliest()

    def empty(self) -> list[Call]:
        """Take everything, in no order."""
        calls = [*self.arrived, *self._backlog.empty()]
        self.arrived = []
        self.rows = self.size_bytes = 0
        return calls

    def _count(self) -> None:
        """Count anew: of what was cut into parts or swept, nobody kept account."""
        self.rows = self._backlog.rows() + sum([call.rows for call in self.arrived])
        self.size_bytes = self._backlog.size_bytes() + sum(
            [call.size_bytes for call in self.arrived]
        )
