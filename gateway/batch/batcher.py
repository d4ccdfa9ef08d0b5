"""Batcher: many calls of one version, few executions.

Job    every Call offered is answered exactly once.
Life   `async with`. Leaving refuses new calls and runs what was accepted; past
       `drain_s` whatever is left is failed.
Never  polls, makes a task or future per call, or decides when a batch leaves
       (core/batching.py decides).

Theory of operation. Calls read in one tick are offered in that tick, and `_pump` is
scheduled once, for its end: they leave together without any timer, or some of them earlier
if the tick is long because much is read in it. Where all of them fit into one execution and
nothing else waits, they never see a queue. `_pump` starts at most as many executions as
there are free executors; where batchers share these, they take turns (batch/turns.py). An
inline execution ends at once and wakes the next `_pump`, which the loop runs after it has
looked at its sockets again: between two inline batches everybody else gets a turn.

batch/running.py holds what runs, and the halves of batches that failed, which go first.

One alarm per batcher stands at the earliest deadline of all that waits or runs, so a
hung executor hangs nobody.

Batchers share a set, in which each is as long as anything waits or runs: who wants only
what is to spare looks whether it is empty.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Self

from gateway.batch.admission import Admission, Timed
from gateway.batch.alarm import Alarm
from gateway.batch.failures import expire
from gateway.batch.line import Line, Statistics
from gateway.batch.recording import Recording
from gateway.batch.running import Running
from gateway.batch.turns import Finish, Run, Turns
from gateway.core.batching import Policy, Wait
from gateway.core.limiting import Bounds
from gateway.core.queues import Cut
from gateway.errors import Draining
from gateway.types import Call

__all__ = ["Batcher", "Busy", "Finish", "Run", "Statistics"]

_LONG_TURN_S = 0.005  # of the loop, spent with reading what others send

Busy = set[object]  # the batchers of a replica that have something waiting or running


class Batcher:
    """Every call offered is answered exactly once, alone or in company.

    Mutable state: `_line` (what waits), `_running`, `_room` (what may join unasked), two
    timers, `_is_awake` (a pump is scheduled; until `_turn_ends_at` it is soon enough),
    `_is_working` and `_is_closing`.
    """

    def __init__(
        self,
        run: Run,
        policy: Policy,
        record: Recording,
        clock: Callable[[], float] = time.monotonic,
        busy: Busy | None = None,
        turns: Turns | None = None,
        admission: Admission | None = None,
    ) -> None:
        """`run(calls, finish)` starts an execution and calls finish once, at once or later, with
        the outputs of all rows in order or with an exception. Where others run there too, it is
        counted by `turns`, and what waits by `admission`, which all of them share.
        """
        if admission is None:
            admission = Admission(Bounds(policy.max_waiting_rows, policy.max_waiting_bytes))
        self._busy: Busy = set() if busy is None else busy
        self._run = run
        self._policy = policy
        self._turns = turns
        self._clock = clock
        self._line = Line()
        refuge = None if turns is None else turns.refuge
        self._running = Running(Timed(record, admission), clock, self._follow, refuge)
        self._admission, self._gate = admission, admission.gate
        self._room = admission.room()
        self._pause: asyncio.TimerHandle | None = None  # a batch waits for company
        self._alarm = Alarm(self._sweep, clock)
        self._turn_ends_at = math.inf
        self._is_awake = self._is_working = self._is_closing = False

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
        line, room = self._line, self._room
        rows, size_bytes = line.rows + call.rows, line.size_bytes + call.size_bytes
        if (
            rows > room.rows
            or size_bytes > room.size_bytes
            or call.deadline < call.arrived + room.lag_s + rows * room.row_s
        ):
            refusal = self._admission.refuse(call, line, not self._is_idle(), self._clock())
            if refusal is not None:
                call.fail(refusal)
                return
        line.rows, line.size_bytes = rows, size_bytes
        if call.deadline < self._alarm.due:
            self._alarm.set(call.deadline)
        line.arrived.append(call)
        if not self._is_awake:
            self._wake()
            self._turn_ends_at = call.arrived + _LONG_TURN_S
        elif call.arrived >= self._turn_ends_at and not self._is_working and self._is_idle():
            self._work()
            self._turn_ends_at = self._clock() + _LONG_TURN_S

    def take_waiting(self) -> list[Call]:
        """Return what waits, to be answered by whoever asks; what runs is not among it."""
        left = [*self._line.empty(), *self._running.take_waiting()]
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
        return Statistics(self._line.rows, len(self._running.batches))

    def _is_idle(self) -> bool:
        """Say whether an execution can start at once."""
        is_free = self._turns is None or self._turns.is_free()
        return is_free and len(self._running.batches) < self._policy.max_running

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._busy.add(self)
            self._loop.call_soon(self._pump)

    def _rest(self) -> None:
        """Be busy no more, if there is nothing left to do."""
        if not self._line.rows and self._running.is_idle():
            self._busy.discard(self)

    def _pump(self) -> None:
        self._is_awake = False
        self._turn_ends_at = math.inf
        self._work()

    def _work(self) -> None:
        """Start what the policy allows, at most one execution per free executor."""
        self._is_working = True  # who is refused meanwhile may ask again at once
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        now = self._clock()
        if self._may_skip_queue():
            calls = self._line.take()
            expire([call for call in calls if call.deadline <= now])
            if self._admission.is_strained:
                self._admission.relax(calls, self._line, now)
            elif self._line.told_rows:
                self._admission.leave(self._line)
            if live := [call for call in calls if not call.done]:
                self._running.start(self._run, live, now)
            else:
                self._rest()
        else:
            self._start_queued(now)
            self._rest()
            self._admission.look(self._line, self._room, not self._is_idle())
        is_needed = self._line.rows or self._running.is_needed()
        if self._is_closing and not self._drained.done() and not is_needed:
            self._drained.set_result(None)
        self._is_working = False

    def _may_skip_queue(self) -> bool:
        """Say whether this tick's calls are all there is, and make one execution."""
        arrived = self._line.arrived
        policy = self._policy
        running = self._running
        if not arrived or running.batches or running.halves or policy.max_wait_s:
            return False
        if self._line.rows > policy.max_rows:
            return False
        rows, shapes = 0, arrived[0].shapes
        for call in arrived:
            rows += call.rows
            if call.shapes is not shapes:
                return False
        return rows == self._line.rows and (self._turns is None or self._turns.is_free())

    def _start_queued(self, now: float) -> None:
        self._line.settle(self._policy.max_rows, self._running.complete)
        self._line.turn(self._admission.is_overload)
        for _ in range(self._policy.max_running - len(self._running.batches)):
            has_work = bool(self._line.rows or self._running.halves)
            if self._turns is not None and has_work and not self._turns.may_start(self._wake):
                return  # and is woken when it is its turn
            batch = self._next(now)
            if not batch:
                break
            self._admission.began(batch, self._line, now)
            self._running.start(self._run, batch, now)
        self._leave_line()

    def _leave_line(self) -> None:
        if self._turns is not None:
            self._turns.leave(self._wake)

    def _next(self, now: float) -> list[Call]:
        """Take the calls of the next execution; none if there is nothing to start."""
        while self._running.halves:
            half = self._running.halves.popleft()
            expire([call for call in half if call.deadline <= now])
            if live := [call for call in half if not call.done]:
                return live
        until = math.inf if self._is_closing else now  # the end waits for no company
        soon, stale_at = self._admission.soon(self._line.rows, now), self._admission.stale_at(now)
        running, policy = len(self._running.batches), self._policy
        while isinstance(cut := self._line.cut(until, running, policy, soon, stale_at), Cut):
            expire(cut.late)
            for call in cut.stale:
                call.fail(self._admission.stale(call))
            if cut.live:
                return cut.live
        if isinstance(cut, Wait):
            self._pause = self._loop.call_later(cut.delay_s, self._pump)
        return []

    def _follow(self) -> None:
        """After an execution: go on with what waits."""
        if self._line.rows or self._running.halves or self._is_closing:
            self._wake()
        else:
            self._rest()

    def _sweep(self) -> None:
        """Fail what has expired, waiting or running, and stand at the next deadline."""
        now = self._clock()
        self._line.settle(self._policy.max_rows, self._running.complete)
        expire(self._line.sweep(now))
        self._alarm.set(min(self._running.expire(now), self._line.earliest()))
        if self._is_closing:
            self._wake()
        else:
            self._rest()

    def _abandon(self) -> None:
        left = [*self._line.empty(), *self._running.abandon()]
        self._admission.leave(self._line)
        self._busy.discard(self)
        self._leave_line()
        self._alarm.cancel()
        for call in left:
            call.fail(Draining("this server shut down before the call was answered"))
