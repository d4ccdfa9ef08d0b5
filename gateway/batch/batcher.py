"""Batcher: many calls of one version, few executions.

Job    every Call offered is answered exactly once.
Life   `async with`. Leaving refuses new calls and runs what was accepted; past
       `drain_s` whatever is left is failed.
Never  polls, makes a task or future per call, or decides when a batch leaves
       (core/batching.py decides).

Theory of operation. Calls read in one tick are offered in that tick, and `_pump` is
scheduled once, for its end: they leave together without any timer. Where all of them
fit into one execution and nothing else waits, they never see a queue. `_pump` starts at
most as many executions as there are free executors; where batchers share these, they take
turns (batch/turns.py). An inline execution ends before
`_start` returns and wakes the next `_pump`, which the loop runs after it has looked
at its sockets again: between two inline batches everybody else gets a turn.

batch/running.py holds what runs, and the halves of batches that failed, which go before
all else.

One alarm per batcher stands at the earliest deadline of all that waits or runs, so a
hung executor hangs nobody.

Batchers share a set, in which each is as long as it has anything waiting or running: who
wants only what is to spare looks whether it is empty.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from gateway.batch.alarm import Alarm
from gateway.batch.failures import queue_full, too_many_shapes
from gateway.batch.gate import Gate
from gateway.batch.recording import Recording
from gateway.batch.running import Finish, Run, Running
from gateway.batch.turns import Turns
from gateway.core.batching import Backlog, Policy, Queue, Wait
from gateway.core.stacking import split
from gateway.errors import DeadlineExceeded, Draining
from gateway.types import Call

__all__ = ["Batcher", "Busy", "Finish", "Run", "Statistics"]

Busy = set[object]  # the batchers of a replica that have something waiting or running


@dataclass(frozen=True, slots=True)
class Statistics:
    waiting_rows: int  # not yet in an execution
    running: int  # executions in flight


class Batcher:
    """Every call offered is answered exactly once, alone or in company.

    Mutable state: `_arrived` (this tick's calls), `_backlog`, `_running`,
    `_waiting_rows`, two timers, `_is_awake` (a pump is scheduled) and `_is_closing`.
    """

    def __init__(
        self,
        run: Run,
        policy: Policy,
        record: Recording,
        clock: Callable[[], float] = time.monotonic,
        busy: Busy | None = None,
        turns: Turns | None = None,
        gate: Gate | None = None,
    ) -> None:
        """`run(calls, finish)` starts an execution and calls finish once, at once or
        later, with the outputs of all rows in order or with an exception. Where others
        run there too, it is counted by `turns`, which all of them share.
        """
        self._busy: Busy = set() if busy is None else busy
        self._run = run
        self._policy = policy
        self._turns = turns
        self._gate = gate or Gate()
        self._clock = clock
        self._arrived: list[Call] = []
        self._backlog = Backlog()
        self._running = Running(record, clock, self._follow)
        self._waiting_rows = 0
        self._pause: asyncio.TimerHandle | None = None  # a batch waits for company
        self._alarm = Alarm(self._sweep, clock)
        self._is_awake = False
        self._is_closing = False

    async def __aenter__(self) -> Self:
        return self.open()

    async def __aexit__(self, *_: object) -> None:
        if not self._is_closing:
            await self.close(self._policy.drain_s)

    def open(self) -> Self:
        """Take calls from now on, on the running loop; then somebody must `close`."""
        self._loop = asyncio.get_running_loop()
        self._drained = self._loop.create_future()
        return self

    async def close(self, within_s: float) -> None:
        """Take no more, and answer within so many seconds what was accepted; once.

        Cancel: safe; what is left is failed.
        """
        self._is_closing = True
        self._wake()
        try:
            async with asyncio.timeout(within_s):
                await self._drained
        except TimeoutError:
            pass  # what is left is failed below
        finally:
            self._abandon()

    def offer(self, call: Call) -> None:
        """Put `call` into some batch; it is answered, perhaps before this returns.

        A call larger than one execution is split and rejoined. Fails with Draining, BreakerOpen,
        Overloaded, DeadlineExceeded or ModelFailed. A call answered by anyone else
        meanwhile (its client left) harms no batchmate.
        """
        if self._is_closing:
            call.fail(Draining("this server is shutting down"))
            return
        if self._gate.is_narrow and not self._gate.admits(call):
            return
        rows = self._waiting_rows + call.rows
        if rows > self._policy.max_waiting_rows:
            call.fail(queue_full(call, self._policy))
            return
        self._waiting_rows = rows
        if call.deadline < self._alarm.due:
            self._alarm.set(call.deadline)
        self._arrived.append(call)
        if not self._is_awake:
            self._wake()

    def take_waiting(self) -> list[Call]:
        """Return what waits, to be answered by whoever asks; what runs is not among it."""
        left = [*self._arrived, *self._backlog.empty(), *self._running.take_halves()]
        self._arrived, self._waiting_rows = [], 0
        self._wake()  # there may be nothing left to do
        return left

    def move(self, run: Run, policy: Policy, turns: Turns | None = None) -> None:
        """Give the next batches to another executor.

        Of what was accepted before, a call larger than the new maximum leaves alone.
        """
        self._leave_line()
        self._run, self._policy, self._turns = run, policy, turns
        self._wake()

    def statistics(self) -> Statistics:
        return Statistics(self._waiting_rows, len(self._running.batches))

    def _enqueue(self) -> None:
        """Put this tick's calls into the backlog, the large ones in parts."""
        arrived, self._arrived = self._arrived, []
        most = self._policy.max_rows
        for call in arrived:
            is_whole = call.rows <= most or call.done
            for part in [call] if is_whole else split(call, most, self._running.complete):
                if not self._backlog.push(part):
                    part.fail(too_many_shapes())
        self._waiting_rows = self._backlog.rows() + sum([call.rows for call in self._arrived])

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._busy.add(self)
            self._loop.call_soon(self._pump)

    def _rest(self) -> None:
        """Be busy no more, if there is nothing left to do."""
        if not (self._waiting_rows or self._running.batches or self._running.halves):
            self._busy.discard(self)

    def _pump(self) -> None:
        """Start what the policy allows, at most one execution per free executor."""
        self._is_awake = False
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        now = self._clock()
        if self._may_skip_queue():
            calls, self._arrived = self._arrived, []
            self._waiting_rows = 0
            self._expire([call for call in calls if call.deadline <= now])
            if live := [call for call in calls if not call.done]:
                self._running.start(self._run, live, now)
            else:
                self._rest()
        else:
            self._start_queued(now)
            self._rest()
        if self._is_closing and not self._drained.done() and not self._is_needed():
            self._drained.set_result(None)

    def _is_needed(self) -> bool:
        running = self._running
        return bool(self._waiting_rows or running.halves) or running.is_wanted()

    def _may_skip_queue(self) -> bool:
        """Say whether this tick's calls are all there is, and make one execution."""
        arrived = self._arrived
        policy = self._policy
        running = self._running
        if not arrived or running.batches or running.halves or policy.max_wait_s:
            return False
        if self._waiting_rows > policy.max_rows:
            return False
        rows, shapes = 0, arrived[0].shapes
        for call in arrived:
            rows += call.rows
            if call.shapes is not shapes:
                return False
        return rows == self._waiting_rows and (self._turns is None or self._turns.is_free())

    def _start_queued(self, now: float) -> None:
        self._enqueue()
        for _ in range(self._policy.max_running - len(self._running.batches)):
            if self._turns is not None and self._is_held_up(self._turns):
                return  # and is woken when it is its turn
            batch = self._next(now)
            if not batch:
                break
            self._running.start(self._run, batch, now)
        self._leave_line()

    def _is_held_up(self, turns: Turns) -> bool:
        """Say whether what waits here has to wait for the executions of others."""
        has_work = self._waiting_rows or self._running.halves
        return bool(has_work) and not turns.may_start(self._wake)

    def _leave_line(self) -> None:
        if self._turns is not None:
            self._turns.leave(self._wake)

    def _next(self, now: float) -> list[Call]:
        """Take the calls of the next execution; none if there is nothing to start."""
        while self._running.halves:
            half = self._running.halves.popleft()
            self._expire([call for call in half if call.deadline <= now])
            if live := [call for call in half if not call.done]:
                return live
        until = math.inf if self._is_closing else now  # the end waits for no company
        running = len(self._running.batches)
        while isinstance(chosen := self._backlog.next(until, running, self._policy), Queue):
            before = chosen.rows
            calls, expired = chosen.cut(self._policy.max_rows, now)
            self._waiting_rows -= before - chosen.rows
            self._expire(expired)
            if calls:
                return calls
        if isinstance(chosen, Wait):
            self._pause = self._loop.call_later(chosen.delay_s, self._pump)
        return []

    def _follow(self) -> None:
        """After an execution: go on with what waits."""
        running = self._running
        if self._waiting_rows or running.halves or self._is_closing:
            self._wake()
        elif not running.batches:
            self._busy.discard(self)

    def _expire(self, calls: Sequence[Call]) -> None:
        for call in calls:
            call.fail(DeadlineExceeded("Request timeout expired in the queue", "queue"))

    def _sweep(self) -> None:
        """Fail what has expired, waiting or running, and stand at the next deadline."""
        now = self._clock()
        self._enqueue()
        expired = self._backlog.sweep(now)
        self._waiting_rows = self._backlog.rows()
        self._expire(expired)
        for call in self._running.in_hand():
            if call.deadline <= now:
                call.fail(DeadlineExceeded("Request timeout expired in execution", "execute"))
        running = [call.deadline for call in self._running.in_hand() if not call.done]
        self._alarm.set(min([self._backlog.earliest(), *running]))
        if self._is_closing:
            self._wake()
        else:
            self._rest()

    def _abandon(self) -> None:
        left = [*self.take_waiting(), *self._running.abandon()]
        self._busy.discard(self)
        self._leave_line()
        self._alarm.cancel()
        for call in left:
            call.fail(Draining("this server shut down before the call was answered"))
