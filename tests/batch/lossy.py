"""Lossy: instances whose processes die, in virtual time, with the turns of the real ones.

Job    run batches as processes would: a `KILLER` row ends its process, a `SLOW` one takes long.
Life   one for each scene; `Lossy.batcher` is offered calls.
Never  a stand-in for processes themselves: tests/execute/test_processes.py holds the real ones
       to the same promises.
"""

import asyncio
from collections.abc import Callable, Sequence

from gateway.batch.batcher import Batcher
from gateway.batch.turns import Finish, Refuge, Turns
from gateway.core.batching import Policy
from gateway.core.suspects import Loss, WorkerLost
from gateway.types import Call, Outputs
from tests.fakes import FakeModel, a_record, now, rows_of

KILLER, SLOW = -7.0, -8.0
COST_S, STALL_S, SLOW_S, RESTART_S = 0.1, 1.0, 5.0, 0.5


class Lossy:
    """Mutable state: who is up, which of them is the refuge, what runs, and what was seen."""

    def __init__(self, instances: int = 1, max_rows: int = 8) -> None:
        self.model = FakeModel()
        self.is_up = [True] * instances
        self.refuge: int | None = None
        self.turns, self.refuge_turns = Turns(instances), Turns(0)
        self.turns.refuge = Refuge(
            self.refuge_turns,
            self.refuge_turns.counted(lambda calls, finish: self._retry(calls, finish, STALL_S)),
            self.refuge_turns.counted(lambda calls, finish: self._retry(calls, finish, 1e9)),
        )
        self.policy = Policy(max_rows=max_rows, max_running=instances)
        self.losses: list[list[float]] = []  # rows that ran in processes that died
        self.retries: list[list[float]] = []
        self.running: dict[int, Callable[[Loss], None]] = {}  # ends an execution, by instance

    def batcher(self) -> Batcher:
        run = self.turns.counted(self._run)
        return Batcher(run, self.policy, a_record(), now, turns=self.turns)

    def kill(self) -> None:
        """kill -9 of the process that has run the longest, if one runs."""
        if self.running:
            next(iter(self.running.values()))("killed")

    def is_whole(self) -> bool:
        """Say whether everybody is up, and idle, and nobody a refuge."""
        return self.refuge is None and self.refuge_turns.is_idle() and self.turns.is_idle() and (
            all(self.is_up) and not self.running
        )  # fmt: skip

    def _run(self, calls: Sequence[Call], finish: Finish) -> None:
        free = [at for at, is_up in enumerate(self.is_up) if is_up and at not in self.running]
        at = next(at for at in free if at != self.refuge)
        self._start(at, calls, finish, STALL_S)

    def _retry(self, calls: Sequence[Call], finish: Finish, stall_s: float) -> None:
        at = self.refuge
        assert at is not None
        assert self.is_up[at]
        assert at not in self.running
        self.retries.append([row for call in calls for row in rows_of(call)])

        def end(result: Outputs | Exception) -> None:
            finish(result)
            self._settle()

        self._start(at, calls, end, stall_s)

    def _start(self, at: int, calls: Sequence[Call], finish: Finish, stall_s: float) -> None:
        assert all(not call.done and call.deadline > now() for call in calls)
        rows = [row for call in calls for row in rows_of(call)]
        latest_s = max(call.deadline for call in calls) - now()

        def die(loss: Loss) -> None:
            if self.running.get(at) is die:
                del self.running[at]
                self.losses.append(rows)
                self._lose(at, lambda: finish(WorkerLost(f"it {loss}", loss)))

        def answer() -> None:
            if self.running.get(at) is die:
                del self.running[at]
                finish(self.model.result(calls))

        self.running[at] = die
        loop, takes_s = asyncio.get_running_loop(), SLOW_S if SLOW in rows else COST_S
        if KILLER in rows:
            loop.call_later(COST_S, die, "crashed")
        elif takes_s > min(stall_s, latest_s):
            why: Loss = "late" if latest_s <= stall_s else "stalled"
            loop.call_later(min(stall_s, latest_s), die, why)
        else:
            loop.call_later(takes_s, answer)

    def _lose(self, at: int, tell: Callable[[], None]) -> None:
        self.is_up[at] = False
        self.refuge = at if self.refuge is None else self.refuge
        self._allow()
        tell()
        self._settle()
        asyncio.get_running_loop().call_later(RESTART_S, self._come, at)

    def _come(self, at: int) -> None:
        self.is_up[at] = True
        self._settle()

    def _settle(self) -> None:
        self._allow()
        if self.refuge is not None and self.refuge_turns.is_idle():
            self.refuge = None
            self._allow()

    def _allow(self) -> None:
        up = [at for at, is_up in enumerate(self.is_up) if is_up]
        self.refuge_turns.allow(int(self.refuge in up))
        self.turns.allow(len([at for at in up if at != self.refuge]))
