"""Batching: which calls leave together, and when.

Theory of operation. A queue holds the calls of one version and one shape class,
and counts rows, not calls. `plan` is work-conserving: while every executor is busy
the queue grows; when one is free, everything that waits leaves at the end of the
tick. Waiting longer gains at most 0.4 % of mean latency and costs up to 37 times,
so `max_wait_s` is 0 unless a model asks for it.
Source: Inoue 2021 (arXiv 1912.06322), computed exactly for this policy.

In which order calls leave is a matter of core/queues.py.
"""

import math
from dataclasses import dataclass

from gateway.core.queues import Queue, Stack
from gateway.types import Call, Shape

# Each turn looks at every shape class that waits: a client that sends a new shape with
# each request must not make a turn long.
MAX_SHAPE_CLASSES = 256


@dataclass(frozen=True, slots=True)
class Policy:
    """How one version is batched."""

    max_rows: int = 64  # rows in one execution
    max_wait_s: float = 0.0  # longest a call waits for company; 0 = end of the tick
    max_running: int = 1  # executions in flight at once
    max_waiting_rows: int = 65_536  # beyond this we refuse
    drain_s: float = 20.0  # how long closing waits for what was accepted
    max_waiting_bytes: int = 256 << 20  # of bodies, as `max_waiting_rows`


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


class Backlog:
    """All that waits for one version, a queue for each shape class.

    Mutable state: `_queues`; those that ran empty are dropped when there are many; and
    whether the newest leave first.
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[Shape, ...], Queue | Stack] = {}
        self._is_newest_first = False

    def push(self, call: Call) -> bool:
        """Hold `call` among those of its shapes; False if too many other shapes wait."""
        queue = self._queues.get(call.shapes)
        if queue is None:
            if len(self._queues) >= MAX_SHAPE_CLASSES:
                self._queues = {key: held for key, held in self._queues.items() if held.rows}
            if len(self._queues) >= MAX_SHAPE_CLASSES:
                return False
            queue = self._queues[call.shapes] = Stack() if self._is_newest_first else Queue()
        queue.push(call)
        return True

    def turn(self, is_newest_first: bool) -> None:
        """Let calls leave in this order from now on."""
        if is_newest_first is self._is_newest_first:
            return
        self._is_newest_first = is_newest_first
        held, self._queues = self._queues, {}
        for queue in held.values():
            for call in queue.empty():
                self.push(call)

    def next(self, now: float, running: int, policy: Policy) -> Queue | Stack | Wait | Hold:
        """Return the queue to cut: of those that may leave, the most urgent.

        Where none may, say how long the first of them still waits for company: it keeps
        no other from leaving.
        """
        ready: list[Queue | Stack] = []
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
        return ready[0] if len(ready) == 1 else min(ready, key=_urgency)

    def rows(self) -> int:
        """Return the rows of all queues."""
        return sum([queue.rows for queue in self._queues.values()])

    def size_bytes(self) -> int:
        """Return the bytes of all queues."""
        return sum([queue.size_bytes for queue in self._queues.values()])

    def ahead(self, priority: int, deadline: float) -> int:
        """Return the rows that leave before a call that comes now, at most."""
        return sum([queue.ahead(priority, deadline) for queue in self._queues.values()])

    def sweep(self, now: float) -> list[Call]:
        """Remove what is done or expired; return what expired."""
        return [call for queue in self._queues.values() for call in queue.sweep(now)]

    def earliest(self) -> float:
        """Return the earliest deadline of all that is held."""
        return min([queue.earliest() for queue in self._queues.values()], default=math.inf)

    def empty(self) -> list[Call]:
        """Take everything, in no order."""
        return [call for queue in self._queues.values() for call in queue.empty()]


def _urgency(queue: Queue | Stack) -> tuple[int, float]:
    return queue.urgency()
