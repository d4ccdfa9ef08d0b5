"""Batching: which calls leave together, and when.

Theory of operation. A queue holds the calls of one version and one shape class,
and counts rows, not calls. `plan` is work-conserving: while every executor is busy
the queue grows; when one is free, everything that waits leaves at the end of the
tick. Waiting longer gains at most 0.4 % of mean latency and costs up to 37 times,
so `max_wait_s` is 0 unless a model asks for it.
Source: Inoue 2021 (arXiv 1912.06322), computed exactly for this policy.

Order of leaving: priority, then earliest deadline, then arrival. As long as all that
waits fits into one execution the order cannot matter, so nothing is sorted; only a
backlog is put on a heap.

A call that left or expired costs nothing: `cut` drops it before a batch is made.
"""

import heapq
import math
from dataclasses import dataclass

from gateway.types import Call, Shape

# Each turn looks at every shape class that waits: a client that sends a new shape with
# each request must not make a turn long.
MAX_SHAPE_CLASSES = 256

Entry = tuple[int, float, int, Call]


@dataclass(frozen=True, slots=True)
class Policy:
    """How one version is batched."""

    max_rows: int = 64  # rows in one execution
    max_wait_s: float = 0.0  # longest a call waits for company; 0 = end of the tick
    max_running: int = 1  # executions in flight at once
    max_waiting_rows: int = 65_536  # beyond this we refuse
    drain_s: float = 20.0  # how long closing waits for what was accepted


@dataclass(frozen=True, slots=True)
class Flush:
    rows: int


@dataclass(frozen=True, slots=True)
class Wait:
    delay_s: float


@dataclass(frozen=True, slots=True)
class Hold:
    pass


_HOLD = Hold()


def plan(waiting_rows: int, oldest_s: float, running: int, policy: Policy) -> Flush | Wait | Hold:
    """Choose what to do with `waiting_rows` rows, the first of them `oldest_s` old.

    A batch leaves only when it can start: one that queues behind a busy executor
    could have kept growing instead.
    """
    if not waiting_rows or running >= policy.max_running:
        return _HOLD
    if waiting_rows >= policy.max_rows or oldest_s >= policy.max_wait_s:
        return Flush(policy.max_rows)
    return Wait(policy.max_wait_s - oldest_s)


class Queue:
    """The calls of one shape class, leaving by priority, deadline and arrival.

    Mutable state: `_fresh` (calls since the last cut, unordered), `_backlog` (a heap),
    `_pushed` (breaks ties by arrival), `rows` and `oldest`.
    """

    __slots__ = ("_backlog", "_fresh", "_pushed", "oldest", "rows")

    def __init__(self) -> None:
        self._fresh: list[Call] = []
        self._backlog: list[Entry] = []
        self._pushed = 0
        self.rows = 0  # of all that is held, calls that left included
        self.oldest = math.inf  # arrival of the first call since the queue was empty

    def push(self, call: Call) -> None:
        """Hold `call` until it is cut."""
        if not self.rows:
            self.oldest = call.arrived
        self._fresh.append(call)
        self.rows += call.rows

    def cut(self, max_rows: int, now: float) -> tuple[list[Call], list[Call]]:
        """Take the next batch: (calls to run, of at most `max_rows`; calls that expired).

        A call that is done is dropped. One that does not fit ends the batch, so that
        nobody overtakes it; one that will never fit leaves alone.
        """
        if not self._backlog and self.rows <= max_rows:
            calls, self._fresh = self._fresh, []
            self.rows = 0
        else:
            calls = self._pop(max_rows, now)
        expired = [call for call in calls if call.deadline <= now and not call.done]
        live = [call for call in calls if call.deadline > now and not call.done]
        return live, expired

    def sweep(self, now: float) -> list[Call]:
        """Remove what is done or expired; return what expired."""
        self._sort()
        expired = [entry[3] for entry in self._backlog if entry[1] <= now and not entry[3].done]
        held = [entry for entry in self._backlog if entry[1] > now and not entry[3].done]
        if len(held) < len(self._backlog):
            heapq.heapify(held)
            self._backlog = held
        self.rows = sum(entry[3].rows for entry in self._backlog)
        return expired

    def urgency(self) -> tuple[int, float]:
        """Return (priority, deadline) of the call that leaves first."""
        self._sort()
        return self._backlog[0][:2] if self._backlog else (0, math.inf)

    def earliest(self) -> float:
        """Return the earliest deadline of all that is held."""
        waiting = [call.deadline for call in self._fresh]
        return min([*waiting, *(entry[1] for entry in self._backlog)], default=math.inf)

    def empty(self) -> list[Call]:
        """Take everything, in no order."""
        calls = [*self._fresh, *(entry[3] for entry in self._backlog)]
        self._fresh, self._backlog, self.rows = [], [], 0
        return calls

    def _sort(self) -> None:
        for call in self._fresh:
            self._pushed += 1
            heapq.heappush(self._backlog, (call.priority, call.deadline, self._pushed, call))
        self._fresh = []

    def _pop(self, max_rows: int, now: float) -> list[Call]:
        self._sort()
        calls: list[Call] = []
        room = max_rows
        while self._backlog:
            call = self._backlog[0][3]
            is_live = not call.done and call.deadline > now
            if is_live and call.rows > room and room < max_rows:
                break
            heapq.heappop(self._backlog)
            self.rows -= call.rows
            calls.append(call)
            if is_live:
                room -= call.rows
        return calls


class Backlog:
    """All that waits for one version, a queue for each shape class.

    Mutable state: `_queues`; those that ran empty are dropped when there are many.
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[Shape, ...], Queue] = {}

    def push(self, call: Call) -> bool:
        """Hold `call` among those of its shapes; False if too many other shapes wait."""
        queue = self._queues.get(call.shapes)
        if queue is None:
            if len(self._queues) >= MAX_SHAPE_CLASSES:
                self._queues = {key: held for key, held in self._queues.items() if held.rows}
            if len(self._queues) >= MAX_SHAPE_CLASSES:
                return False
            queue = self._queues[call.shapes] = Queue()
        queue.push(call)
        return True

    def next(self, now: float, running: int, policy: Policy) -> Queue | Wait | Hold:
        """Return the queue to cut: of those that may leave, the most urgent.

        Where none may, say how long the first of them still waits for company: it keeps
        no other from leaving.
        """
        ready: list[Queue] = []
        delay_s = math.inf
        for queue in self._queues.values():
            step = plan(queue.rows, now - queue.oldest, running, policy)
            if isinstance(step, Flush):
                ready.append(queue)
            elif isinstance(step, Wait):
                # a call that cannot afford the wait, and as much again to run, leaves now
                if queue.earliest() <= now + step.delay_s + policy.max_wait_s:
                    ready.append(queue)
                else:
                    delay_s = min(delay_s, step.delay_s)
        if not ready:
            return _HOLD if delay_s == math.inf else Wait(delay_s)
        return ready[0] if len(ready) == 1 else min(ready, key=Queue.urgency)

    def rows(self) -> int:
        """Return the rows of all queues."""
        return sum([queue.rows for queue in self._queues.values()])

    def sweep(self, now: float) -> list[Call]:
        """Remove what is done or expired; return what expired."""
        return [call for queue in self._queues.values() for call in queue.sweep(now)]

    def earliest(self) -> float:
        """Return the earliest deadline of all that is held."""
        return min([queue.earliest() for queue in self._queues.values()], default=math.inf)

    def empty(self) -> list[Call]:
        """Take everything, in no order."""
        return [call for queue in self._queues.values() for call in queue.empty()]
