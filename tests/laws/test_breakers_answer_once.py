"""Behind a breaker every call is answered exactly once, and none waits where nothing may start.

A story is what clients and an executor do, made by Hypothesis and played in virtual time.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.breaker import Policy, State
from gateway.errors import BreakerOpen, ClientGone, DeadlineExceeded, Draining, ModelFailed
from gateway.types import Call
from tests.batch.guarded import Scene, staged
from tests.fakes import POISON, answer_of, now

Habit = Literal["well", "dead", "hangs"]
SLACK_S = 0.011  # of two alarms


@dataclass(frozen=True, slots=True)
class Ask:
    """Some calls at once, perhaps one of them poisoned; the first client may leave."""

    calls: int
    rows: int
    patience_s: float
    is_poisoned: bool
    leaves: bool


@dataclass(frozen=True, slots=True)
class Pass:
    seconds: float


@dataclass(frozen=True, slots=True)
class Turn:
    """The executor is another from now on, and what it holds may end."""

    habit: Habit
    ends: int


steps = st.one_of(
    st.builds(
        Ask,
        calls=st.sampled_from([1, 1, 2, 5, 30]),
        rows=st.sampled_from([1, 1, 3, 150]),
        patience_s=st.sampled_from([0.2, 3.0, 30.0, 1000.0]),
        is_poisoned=st.booleans(),
        leaves=st.booleans(),
    ),
    st.builds(Pass, st.sampled_from([0.0, 0.01, 1.0, 2.5, 6.0, 11.0])),
    st.builds(Turn, habit=st.sampled_from(["well", "dead", "hangs"]), ends=st.integers(0, 3)),
)
policies = st.builds(
    Policy,
    minimum_calls=st.sampled_from([1, 3, 20]),
    probes=st.integers(1, 3),
    half_open_s=st.sampled_from([1.0, 10.0]),
)
ENDS = (ModelFailed, BreakerOpen, ClientGone, DeadlineExceeded, Draining)


class Told:
    """What every call was asked for, and how often it was answered."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.heard: Counter[int] = Counter()
        self.calls: list[tuple[Call, float]] = []

    def ask(self, step: Ask, number: int) -> None:
        row = POISON if step.is_poisoned and number == 0 else float(len(self.calls) + 1)
        call = self.scene.client.call(*[row] * step.rows, deadline=now() + step.patience_s)
        place = len(self.calls)
        self.calls.append((call, row))

        def hear(_call: Call) -> None:
            self.heard[place] += 1

        call.on_done = hear
        self.scene.batcher.offer(call)
        if step.leaves and number == 0:
            call.fail(ClientGone("left"))

    def check_that_nobody_waits_in_vain(self) -> None:
        """What is shut has nobody waiting, whatever else it has under way."""
        if self.scene.guard.is_shut(now()):
            assert self.scene.batcher.statistics().waiting_rows == 0

    def check(self) -> None:
        assert self.heard == dict.fromkeys(range(len(self.calls)), 1)
        for call, row in self.calls:
            if call.outputs is not None:
                assert answer_of(call) == [2 * row] * call.rows
            else:
                assert isinstance(call.error, ENDS)


async def play(scene: Scene, story: Sequence[Ask | Pass | Turn]) -> Told:
    told, machine = Told(scene), scene.machine
    for step in story:
        match step:
            case Ask():
                for number in range(step.calls):
                    told.ask(step, number)
            case Pass():
                await asyncio.sleep(step.seconds)
            case Turn():
                machine.is_dead, machine.hangs = step.habit == "dead", step.habit == "hangs"
                for _ in range(min(step.ends, len(machine.held))):
                    machine.end()
        await asyncio.sleep(SLACK_S)
        told.check_that_nobody_waits_in_vain()
    await scene.close(20.0)
    return told


@given(
    st.lists(steps, max_size=40),
    policies,
    st.integers(1, 3),
    st.sampled_from([State.CLOSED, State.CLOSED, State.METRICS_ONLY]),
)
def test_every_call_is_answered_exactly_once_and_none_waits_in_vain(
    story: list[Ask | Pass | Turn], policy: Policy, running: int, state: State
) -> None:
    told = staged(lambda scene: play(scene, story), policy, state, running=running)
    told.check()
