"""A version behind its gate, with everything that it needs and nothing that takes time.

Job    an executor that obeys the scene, batchers behind one gate, and who hears what of it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeVar

from gateway.batch.admission import Admission
from gateway.batch.batcher import Batcher
from gateway.batch.gate import Gate
from gateway.batch.guard import Finish, Guard, Means
from gateway.core.batching import Policy
from gateway.core.breaker import Policy as BreakerPolicy
from gateway.core.breaker import State
from gateway.core.costs import Cost
from gateway.core.limiting import Bounds
from gateway.core.slowness import Slowness
from gateway.errors import ModelFailed
from gateway.observe.record import Record
from gateway.types import Call, Outputs
from tests.clock import play
from tests.fakes import Client, FakeModel, a_row, now

T = TypeVar("T")
FAR = 1e9  # nobody lives to see it
PACE = Slowness(Cost(1e-5, 1e-4))  # slow after a second, and hung after two


class Machine:
    """An executor: it doubles rows, fails each execution while it `is_dead`, and keeps those
    that it is given while it `hangs`, to end them when the scene says so.
    """

    def __init__(self) -> None:
        self.model = FakeModel()
        self.is_dead = self.hangs = False
        self.error: Exception = ModelFailed("dead")
        self.held: list[tuple[Sequence[Call], Finish]] = []
        self.executions = 0

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        self.executions += 1
        if self.hangs:
            self.held.append((calls, finish))
        else:
            finish(self.result(calls))

    def result(self, calls: Sequence[Call]) -> Outputs | Exception:
        return self.error if self.is_dead else self.model.result(calls)

    def end(self, at: int = 0) -> None:
        """End an execution that hung, with what would come of it now."""
        calls, finish = self.held.pop(at)
        finish(self.result(calls))


class Scene:
    """A gate whose executor is a machine, with a batcher behind it."""

    def __init__(
        self, policy: BreakerPolicy, state: State, slowness: Slowness, running: int
    ) -> None:
        self.shown: list[tuple[str, State | None]] = []
        self.rolled = 0.5
        self.is_closed = False
        means = Means(now, lambda: self.rolled)
        self.gate = Gate(
            "twice version 1", policy, state, lambda *told: self.shown.append(told), means
        )
        self.machine = Machine()
        self.guard: Guard = self.gate.guarded("thread", self.machine.run, slowness, running)
        self.rows: list[memoryview] = []  # the telemetry of each arm
        self.batcher = self.open_arm(Policy(max_rows=64, max_running=running))
        self.client = Client()

    def open_arm(self, policy: Policy) -> Batcher:
        self.rows.append(a_row())
        record = Record(self.rows[-1])
        admission = Admission(Bounds(), gate=self.gate)
        batcher = Batcher(self.guard.run, policy, record, now, admission=admission).open()
        self.gate.join(batcher.take_waiting)
        return batcher

    async def close(self, within_s: float) -> None:
        """Close the batcher, once."""
        if not self.is_closed:
            self.is_closed = True
            await self.batcher.close(within_s)

    @property
    def state(self) -> State:
        return self.guard.breaker.state

    def ask(self, *rows: float, deadline_s: float = 100.0) -> Call:
        call = self.client.call(*rows, deadline=now() + deadline_s)
        self.batcher.offer(call)
        return call

    async def break_down(self) -> None:
        """Fail often enough to be open, and work again."""
        self.machine.is_dead = True
        for _ in range(20):
            self.ask(1.0)
            await tick()
        self.machine.is_dead = False
        assert self.state is State.OPEN


async def tick() -> None:
    """Let the loop turn until an execution that begins now has been heard of."""
    for _ in range(3):
        await asyncio.sleep(0)


def staged(
    scene: Callable[[Scene], Coroutine[object, object, T]],
    policy: BreakerPolicy | None = None,
    state: State = State.CLOSED,
    slowness: Slowness = PACE,
    running: int = 1,
) -> T:
    """Play a scene behind an open gate."""

    async def run() -> T:
        made = Scene(policy or BreakerPolicy(), state, slowness, running)
        try:
            return await scene(made)
        finally:
            made.gate.close()
            await made.close(0.0)

    return play(run)
