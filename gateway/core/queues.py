"""Queues: the calls of one shape class, and in which order they leave.

Queue   by priority, then earliest deadline, then arrival: nobody is late who need not be.
Stack   by priority, then the newest first: under overload somebody will be late, and the
        newest are those whose callers still wait. What has waited too long is given back.

As long as all that waits fits into one execution the order cannot matter, so nothing is
sorted; only a backlog is.

A call that left or is late costs nothing: `cut` drops it before a batch is made.
"""

import heapq
import math
from bisect import bisect_right
from collections import deque
from itertools import accumulate
from typing import NamedTuple

from gateway.types import Call

Entry = tuple[int, float, int, Call]
_NEVER = -math.inf


class Cut(NamedTuple):
    """What left a queue: to be run; too late; and what has waited too long."""

    live: list[Call]
    late: list[Call]
    stale: list[Call]


class Queue:
    """Leaves by priority, deadline and arrival.

    Mutable state: `_fresh` (calls since the last cut, unordered), `_backlog` (a heap),
    `_pushed` (breaks ties by arrival), `_ahead` (what is known of the order since the last
    cut), `rows`, `size_bytes` and `oldest`.
    """

    __slots__ = ("_ahead", "_backlog", "_fresh", "_pushed", "oldest", "rows", "size_bytes")

    def __init__(self) -> None:
        self._fresh: list[Call] = []
        self._backlog: list[Entry] = []
        self._pushed = 0
        self._ahead: tuple[list[tuple[int, float]], list[int], int] | None = None
        self.rows = 0  # of all that is held, calls that left included
        self.size_bytes = 0
        self.oldest = math.inf  # arrival of the first call since the queue was empty

    def push(self, call: Call) -> None:
        """Hold `call` until it is cut."""
        if not self.rows:
            self.oldest = call.arrived
        self._fresh.append(call)
        self.rows += call.rows
        self.size_bytes += call.size_bytes

    def cut(self, max_rows: int, soon: float, stale_at: float = _NEVER) -> Cut:
        """Take the next batch, of at most `max_rows`; who has no time beyond `soon` is late.

        A call that is done is dropped. One that does not fit ends the batch, so that
        nobody overtakes it; one that will never fit leaves alone.
        """
        self._ahead = None
        if not self._backlog and self.rows <= max_rows:
            calls, self._fresh = self._fresh, []
            self.rows = self.size_bytes = 0
        else:
            calls = self._pop(max_rows, soon)
        late = [call for call in calls if call.deadline <= soon and not call.done]
        live = [call for call in calls if call.deadline > soon and not call.done]
        return Cut(live, late, [])

    def sweep(self, now: float) -> list[Call]:
        """Remove what is done or expired; return what expired."""
        self._sort()
        self._ahead = None
        expired = [entry[3] for entry in self._backlog if entry[1] <= now and not entry[3].done]
        held = [entry for entry in self._backlog if entry[1] > now and not entry[3].done]
        if len(held) < len(self._backlog):
            heapq.heapify(held)
            self._backlog = held
        self.rows = sum(entry[3].rows for entry in self._backlog)
        self.size_bytes = sum(entry[3].size_bytes for entry in self._backlog)
        return expired

    def urgency(self) -> tuple[int, float]:
        """Return (priority, deadline) of the call that leaves first."""
        self._sort()
        return self._backlog[0][:2] if self._backlog else (0, math.inf)

    def earliest(self) -> float:
        """Return the earliest deadline of all that is held."""
        waiting = [call.deadline for call in self._fresh]
        return min([*waiting, *(entry[1] for entry in self._backlog)], default=math.inf)

    def ahead(self, priority: int, deadline: float) -> int:
        """Return the rows that leave before a call, at most; those pushed since the last cut
        are sorted once: of those who ask in between, all that came meanwhile is ahead.
        """
        if self._ahead is None:
            held = [(call.priority, call.deadline, call.rows) for call in self._fresh]
            held += [(entry[0], entry[1], entry[3].rows) for entry in self._backlog]
            held.sort()
            sums = [0, *accumulate(rows for _, _, rows in held)]
            self._ahead = [(rank, due) for rank, due, _ in held], sums, self.rows
        order, sums, known = self._ahead
        return sums[bisect_right(order, (priority, deadline))] + self.rows - known

    def empty(self) -> list[Call]:
        """Take everything, in the order of arrival."""
        backlog = sorted(self._backlog, key=lambda entry: entry[2])
        calls = [*(entry[3] for entry in backlog), *self._fresh]
        self._fresh, self._backlog, self._ahead = [], [], None
        self.rows = self.size_bytes = 0
        return calls

    def _sort(self) -> None:
        for call in self._fresh:
            self._pushed += 1
            heapq.heappush(self._backlog, (call.priority, call.deadline, self._pushed, call))
        self._fresh = []

    def _pop(self, max_rows: int, soon: float) -> list[Call]:
        self._sort()
        calls: list[Call] = []
        room = max_rows
        while self._backlog:
            call = self._backlog[0][3]
            is_live = not call.done and call.deadline > soon
            if is_live and call.rows > room and room < max_rows:
                break
            heapq.heappop(self._backlog)
            self.rows -= call.rows
            self.size_bytes -= call.size_bytes
            calls.append(call)
            if is_live:
                room -= call.rows
        return calls


class Stack:
    """Leaves by priority, the newest first; has the methods of a Queue.

    Mutable state: `_lines`, the calls of each priority in the order of arrival; `rows`,
    `size_bytes` and `oldest`.
    """

    __slots__ = ("_lines", "oldest", "rows", "size_bytes")

    def __init__(self) -> None:
        self._lines: dict[int, deque[Call]] = {}
        self.rows = 0
        self.size_bytes = 0
        self.oldest = math.inf

    def push(self, call: Call) -> None:
        """Hold `call` until it is cut."""
        if not self.rows:
            self.oldest = call.arrived
        line = self._lines.get(call.priority)
        if line is None:
            line = self._lines[call.priority] = deque()
        line.append(call)
        self.rows += call.rows
        self.size_bytes += call.size_bytes

    def cut(self, max_rows: int, soon: float, stale_at: float = _NEVER) -> Cut:
        """Take the next batch as a Queue does; what arrived before `stale_at` is stale."""
        cut = Cut([], [], [])
        for priority in sorted(self._lines):
            line = self._lines[priority]
            while line and line[0].arrived < stale_at:
                self._sort_out(self._took(line.popleft()), cut.stale, cut.late, soon)
        room = max_rows
        for priority in sorted(self._lines):
            line = self._lines[priority]
            while line:
                call = line[-1]
                if call.rows > room and not call.done and call.deadline > soon and cut.live:
                    return cut
                if self._sort_out(self._took(line.pop()), cut.live, cut.late, soon):
                    room -= call.rows
                if room <= 0:
                    return cut
            del self._lines[priority]
        return cut

    def sweep(self, now: float) -> list[Call]:
        """Remove what is done or expired; return what expired."""
        calls = self.empty()
        for call in calls:
            if not call.done and call.deadline > now:
                self.push(call)
        return [call for call in calls if call.deadline <= now and not call.done]

    def urgency(self) -> tuple[int, float]:
        """Return (priority, deadline) of the call that leaves first."""
        held = [priority for priority, line in self._lines.items() if line]
        if not held:
            return 0, math.inf
        return min(held), self._lines[min(held)][-1].deadline

    def earliest(self) -> float:
        """Return the earliest deadline of all that is held."""
        held = [call.deadline for line in self._lines.values() for call in line]
        return min(held, default=math.inf)

    def ahead(self, priority: int, _deadline: float) -> int:
        """Return the rows that leave before a call that comes now."""
        return sum(
            call.rows for rank, line in self._lines.items() if rank < priority for call in line
        )

    def empty(self) -> list[Call]:
        """Take everything, in the order of arrival."""
        calls = sorted(
            (call for line in self._lines.values() for call in line), key=lambda call: call.arrived
        )
        self._lines = {}
        self.rows = self.size_bytes = 0
        return calls

    def _took(self, call: Call) -> Call:
        self.rows -= call.rows
        self.size_bytes -= call.size_bytes
        return call

    @staticmethod
    def _sort_out(call: Call, into: list[Call], late: list[Call], soon: float) -> bool:
        """Put a call that is not done where it belongs; say whether it is among the first."""
        if call.done:
            return False
        is_late = call.deadline <= soon
        (late if is_late else into).append(call)
        return not is_late
