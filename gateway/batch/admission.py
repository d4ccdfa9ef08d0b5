"""Admission: whether one more call may wait for a version, and what waits too long.

Job    keep what core/limiting.py decides by: the rows and bytes that wait in all batchers of a
       version, the pace of its executions, how the queue stands and how much time its callers give.
Life   one for a version, shared by the batchers of its arms; as long as they.
Never  looks at answers' latencies, or refuses a call while nothing else waits or runs: without
       an execution now and then nobody would learn that the model is quick again.

Theory of operation. In the common case a batcher compares three numbers that it was told
when something last waited (`Room`): rows and bytes that may still join, and when a call that
joins would be answered. Only who seems to be one too many, or too late, is judged here. What
came to other arms since is not in those numbers: each tick in which a batcher cannot run at
once all that came gives it new ones. While all that waits fits into one execution, nothing is
strained and nothing is learned.
"""

import math
import random
from collections.abc import Callable, Sequence

from gateway.batch.failures import bytes_full, no_room, queue_full, too_late
from gateway.batch.gate import Gate
from gateway.batch.line import Line
from gateway.batch.recording import Recording
from gateway.core import limiting
from gateway.core.limiting import Bounds, Pace, Standing
from gateway.errors import GatewayError
from gateway.types import Call, Outputs

_SURELY = 1.1  # times what is known: else every second call at the edge would run and be late
_PROBE_EVERY = 10  # executions' time, in which there must have been one


class Room:
    """What may join a line unasked.

    Mutable state: rows and bytes, and the seconds that what is ahead takes, and each row more.
    """

    __slots__ = ("lag_s", "row_s", "rows", "size_bytes")

    def __init__(self, rows: int, size_bytes: int) -> None:
        self.rows = rows
        self.size_bytes = size_bytes
        self.lag_s = 0.0
        self.row_s = 0.0


class Admission:
    """Mutable state: `rows` and `size_bytes` that wait in all lines; `is_overload`: a queue stands
    that is longer than callers bear; `is_strained`: there was a queue at the last execution; the
    pace, None where the cost of executions is not known; how the queue stands; how much time
    callers give, usually; and when an execution began last.
    """

    def __init__(
        self,
        bounds: Bounds,
        pace: Pace | None = None,
        draw: Callable[[], float] = random.random,
        gate: Gate | None = None,
    ) -> None:
        """`gate` comes first: what no executor would take is not let in, whatever room there is."""
        self.gate = gate or Gate()
        self.rows = self.size_bytes = 0
        self.is_overload = False
        self.is_strained = False
        self._bounds = bounds
        self._pace = pace
        self._draw = draw
        self._standing = Standing()
        self._budget_s = bounds.ceiling_s / bounds.share_ratio
        self._began_at = -math.inf

    def room(self) -> Room:
        """Return what may join a line while no other has anything."""
        return Room(self._bounds.max_rows, self._bounds.max_bytes)

    def look(self, line: Line, room: Room, is_busy: bool) -> None:
        """Count a line, and write down what may join it unasked: what may at any priority, and
        wherever in the line it would stand.
        """
        self._count(line)
        others = self.rows - line.rows
        bounds, pace = self._bounds, self._pace
        room.rows = int(self._most_rows(bounds.levels)) - others
        room.size_bytes = bounds.max_bytes - (self.size_bytes - line.size_bytes)
        if pace is not None:
            room.row_s = pace.row_s
            room.lag_s = self._wait_s(pace, others, is_busy) + _SURELY * pace.full_s

    def refuse(self, call: Call, line: Line, is_busy: bool, now: float) -> GatewayError | None:
        """Return why a call may not join a line, or None."""
        self._count(line)
        bounds, pace = self._bounds, self._pace
        rows = self.rows + call.rows
        if rows > bounds.max_rows:
            return queue_full(call, bounds.max_rows, self._retry_after_s())
        if self.size_bytes + call.size_bytes > bounds.max_bytes:
            return bytes_full(call, bounds.max_bytes, self._retry_after_s())
        if pace is None or not (is_busy or self.rows):
            return None
        if rows > self._most_rows(call.priority):
            self._standing = self._standing.refused()
            return no_room(call, rows <= self._most_rows(bounds.usual), self._retry_after_s())
        waits_s = self._wait_s(pace, self.rows - line.rows + line.ahead(call), is_busy)
        takes_s = max(_SURELY * pace.service_s(call.rows), call.rows * pace.row_s)
        answered_at = now + waits_s + takes_s
        if answered_at > call.deadline:
            if waits_s > limiting.target_s(self._budget_s, pace, bounds):
                self._standing = self._standing.refused()  # else it was the call's own haste
            return too_late(call, now, answered_at)
        return None

    def began(self, calls: Sequence[Call], line: Line, now: float) -> None:
        """Hear that an execution begins with calls that left a line."""
        self._count(line)
        self.is_strained = True
        self._began_at = now
        pace = self._pace
        if pace is None:
            return
        first = calls[0]
        self._budget_s = limiting.blended(self._budget_s, first.deadline - first.arrived)
        standing, wait_s = self._standing, self.rows * pace.row_s
        if now >= standing.ends_at or wait_s < standing.least_s:
            target_s = limiting.target_s(self._budget_s, pace, self._bounds)
            self._standing = standing.after(wait_s, target_s, now, self._bounds.interval_s)
            self.is_overload = self._standing.is_overload

    def relax(self, calls: Sequence[Call], line: Line, now: float) -> None:
        """Hear that an execution begins with all that waits in a line."""
        self.began(calls, line, now)
        self.is_strained = self.is_overload or self.rows > 0

    def soon(self, rows: int, now: float) -> float:
        """Return when an execution of `rows` that begins now has surely ended, as far as is known.

        Now, where there has been none for long: what is known may not be so any more.
        """
        pace = self._pace
        if pace is None:
            return now
        service_s = pace.service_s(rows)
        if now - self._began_at > max(self._bounds.interval_s, _PROBE_EVERY * service_s):
            return now
        return now + _SURELY * service_s

    def stale_at(self, now: float) -> float:
        """Return before when a call must have arrived to have waited too long, in overload."""
        if self._pace is None or not self.is_overload:
            return -math.inf
        return now - 2 * limiting.target_s(self._budget_s, self._pace, self._bounds)

    def stale(self, call: Call) -> GatewayError:
        """Return what a call hears that has waited too long in overload."""
        self._standing = self._standing.refused()
        return no_room(call, False, self._retry_after_s(), has_waited=True)

    def ended(self, rows: int, took_s: float) -> None:
        """Hear how long an execution took that succeeded."""
        if self._pace is not None:
            self._pace.hear(rows, took_s)

    def leave(self, line: Line) -> None:
        """Count a line no more."""
        self.rows -= line.told_rows
        self.size_bytes -= line.told_bytes
        line.told_rows = line.told_bytes = 0

    def _count(self, line: Line) -> None:
        self.rows += line.rows - line.told_rows
        self.size_bytes += line.size_bytes - line.told_bytes
        line.told_rows, line.told_bytes = line.rows, line.size_bytes

    def _most_rows(self, priority: int) -> float:
        """Return how many rows may wait when a call of this priority joins them."""
        bounds, pace = self._bounds, self._pace
        if pace is None or not self.is_overload:
            return bounds.max_rows
        target_s = limiting.target_s(self._budget_s, pace, bounds)
        return limiting.room_rows(target_s, pace, bounds) * limiting.share(priority, bounds)

    def _wait_s(self, pace: Pace, rows: int, is_busy: bool) -> float:
        """Return when so many rows have left, and half of what runs, if an executor does."""
        return (pace.full_s / 2 if is_busy else 0.0) + rows * pace.row_s

    def _retry_after_s(self) -> float:
        if self._pace is None:
            return 1.0
        return limiting.retry_after_s(self.rows, self._pace, self._draw())


class Timed:
    """A recording that tells an admission how long executions take."""

    __slots__ = ("_admission", "_record", "begin", "complete")

    def __init__(self, record: Recording, admission: Admission) -> None:
        self._record = record
        self._admission = admission
        self.begin = record.begin
        self.complete = record.complete

    def finish(
        self, calls: Sequence[Call], outputs: Outputs | None, started: float, ended: float
    ) -> None:
        """Pass it on."""
        if outputs is not None and self._admission.is_strained:
            self._admission.ended(sum([call.rows for call in calls]), ended - started)
        self._record.finish(calls, outputs, started, ended)
