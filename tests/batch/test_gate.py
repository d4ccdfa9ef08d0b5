"""Who is let in, who is refused, and who hears of it."""

import asyncio
import logging

import pytest

from gateway.batch.gate import Gate
from gateway.batch.guard import Means
from gateway.core.batching import Policy as BatchPolicy
from gateway.core.breaker import Outcome, Policy, State
from gateway.errors import BreakerOpen
from gateway.types import Call
from tests.batch.guarded import PACE, Machine, Scene, staged, tick
from tests.fakes import answer_of, now

OPEN, CLOSED, HALF_OPEN = State.OPEN, State.CLOSED, State.HALF_OPEN
ORDERED = [State.METRICS_ONLY, State.DISABLED]


def is_refused(call: Call) -> bool:
    return isinstance(call.error, BreakerOpen)


async def close_again(scene: Scene) -> None:
    """Break down, be probed, and be closed as of now."""
    await scene.break_down()
    await asyncio.sleep(5.0)
    for _ in range(2):
        scene.ask(1.0)
        await tick()
    assert scene.state is CLOSED


def test_as_long_as_it_is_closed_no_call_is_looked_at() -> None:
    async def play(scene: Scene) -> bool:
        for _ in range(100):
            scene.ask(1.0)
            await tick()
        return scene.gate.is_narrow

    assert staged(play) is False


def test_open_it_refuses_at_once_and_says_when_to_come_again() -> None:
    async def play(scene: Scene) -> None:
        await scene.break_down()
        await asyncio.sleep(2.0)
        before = scene.machine.executions
        call = scene.ask(1.0)
        assert isinstance(call.error, BreakerOpen)
        assert call.error.retry_after_s == pytest.approx(3.0)
        assert "twice version 1" in str(call.error)
        await tick()
        assert scene.machine.executions == before

    staged(play)


def test_what_waits_is_refused_when_it_opens_in_every_batcher_behind_it() -> None:
    async def play(scene: Scene) -> list[bool]:
        """One execution is under way; the halves of a batch and two batchers' calls wait."""
        other = scene.open_arm(BatchPolicy(max_rows=64))
        scene.machine.hangs = True
        scene.ask(1.0)
        await tick()
        waiting = [scene.ask(1.0, deadline_s=60.0) for _ in range(3)]
        await asyncio.sleep(1.0)
        waiting.append(scene.client.call(1.0, deadline=now() + 60.0))
        other.offer(waiting[-1])  # this one is in hand: it is executed beside the first
        await tick()
        waiting.append(scene.client.call(1.0, deadline=now() + 60.0))
        other.offer(waiting[-1])
        for _ in range(20):
            breaker = scene.guard.breaker
            breaker.record(breaker.generation, Outcome.FAILURE, False, now(), lambda: 0.5)
        scene.machine.is_dead = True
        scene.machine.end()
        assert scene.state is OPEN
        told = [is_refused(call) for call in waiting]
        await other.close(0.0)
        return told

    assert staged(play) == [True, True, True, False, True]


def test_half_open_three_calls_are_let_in_and_the_others_refused() -> None:
    async def play(scene: Scene) -> list[bool]:
        await scene.break_down()
        await asyncio.sleep(5.0)
        scene.machine.hangs = True
        first = [is_refused(scene.ask(1.0)) for _ in range(5)]
        await tick()
        assert scene.state is HALF_OPEN
        assert [len(calls) for calls, _ in scene.machine.held] == [3]
        assert scene.shown[-1] == ("thread", HALF_OPEN)
        last = scene.ask(1.0)
        assert isinstance(last.error, BreakerOpen)
        assert last.error.retry_after_s == 1.0
        return [*first, is_refused(last)]

    assert staged(play) == [False, False, False, True, True, True]


def test_a_probe_that_left_makes_room_for_another() -> None:
    async def play(scene: Scene) -> list[bool]:
        await scene.break_down()
        await asyncio.sleep(5.0)
        scene.machine.hangs = True
        probes = [scene.ask(1.0, deadline_s=0.5) for _ in range(3)]
        await asyncio.sleep(1.0)
        assert all(probe.done for probe in probes)
        return [is_refused(scene.ask(1.0)) for _ in range(4)]

    assert staged(play) == [False, False, False, True]


def test_probes_that_go_well_close_it_and_those_that_fail_open_it_again() -> None:
    async def play(scene: Scene, is_dead: bool) -> State:
        await scene.break_down()
        await asyncio.sleep(5.0)
        scene.machine.is_dead = is_dead
        for _ in range(2):
            assert not is_refused(scene.ask(1.0))
            await tick()
        return scene.state

    assert staged(lambda scene: play(scene, is_dead=False)) is CLOSED
    assert staged(lambda scene: play(scene, is_dead=True)) is OPEN


@pytest.mark.parametrize(("after_s", "rolled", "refused"), [
    (0.0, 0.05, False), (0.0, 0.15, True), (5.0, 0.5, False), (5.0, 0.6, True), (10.0, 0.99, False),
])  # fmt: skip
def test_after_closing_the_dice_choose_whom_it_takes(
    after_s: float, rolled: float, refused: bool
) -> None:
    async def play(scene: Scene) -> bool:
        await close_again(scene)
        await asyncio.sleep(after_s)
        scene.rolled = rolled
        return is_refused(scene.ask(1.0))

    assert staged(play) is refused


def test_once_it_takes_all_calls_they_are_looked_at_no_more() -> None:
    async def play(scene: Scene) -> list[bool]:
        await close_again(scene)
        seen = [scene.gate.is_narrow]
        await asyncio.sleep(10.0)
        scene.ask(1.0)
        return [*seen, scene.gate.is_narrow]

    assert staged(play) == [True, False]


def test_of_several_executors_one_that_is_well_is_enough() -> None:
    async def play(scene: Scene) -> list[bool]:
        other = Machine()
        well = scene.gate.guarded("process/1", other.run, PACE)
        told = []
        for guard in (scene.guard, well):
            told.append(scene.gate.is_narrow)
            guard.breaker.trip(now(), lambda: 0.5)
            guard._tell()  # noqa: SLF001 - nothing ran to find it out
        told.append(scene.gate.is_narrow)
        return [*told, is_refused(scene.ask(1.0))]

    assert staged(play) == [False, False, True, True]


def test_each_executor_has_its_own_probes() -> None:
    async def play(scene: Scene) -> int:
        scene.gate.guarded("process/1", Machine().run, PACE).breaker.trip(now(), lambda: 0.5)
        await scene.break_down()
        await asyncio.sleep(5.0)
        return sum(not is_refused(scene.ask(1.0)) for _ in range(20))

    assert staged(play) == 6


def test_an_executor_that_was_dropped_is_asked_no_more() -> None:
    async def play(scene: Scene) -> int:
        scene.gate.guarded("process/1", Machine().run, PACE)
        scene.gate.drop(scene.guard)
        assert [name for name, _ in scene.gate.readings()] == ["process/1"]
        assert is_refused(await asked(scene))
        return scene.machine.executions

    async def asked(scene: Scene) -> Call:
        call = scene.ask(1.0)
        await tick()
        return call

    assert staged(play) == 0


def test_what_has_left_has_nothing_taken_from_it() -> None:
    async def play(scene: Scene) -> bool:
        scene.gate.leave(scene.batcher.take_waiting)
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=3.0)
        await tick()
        waiting = scene.ask(1.0)
        await asyncio.sleep(10.0)
        assert scene.state is OPEN
        return waiting.done

    assert staged(play) is False


def test_an_executor_that_has_a_choice_asks_who_may_start() -> None:
    async def play(scene: Scene) -> list[bool]:
        may = [scene.guard.may_start()]
        await scene.break_down()
        may.append(scene.guard.may_start())
        await asyncio.sleep(5.0)
        may.append(scene.guard.may_start())
        return may

    assert staged(play) == [True, False, True]


def test_each_transition_is_shown_with_the_name_of_its_executor() -> None:
    async def play(scene: Scene) -> list[tuple[str, State | None]]:
        await close_again(scene)
        scene.gate.drop(scene.guard)
        return scene.shown

    told = [CLOSED, OPEN, HALF_OPEN, CLOSED, None]
    assert staged(play) == [("thread", state) for state in told]


def test_it_is_logged_why_it_opened(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        staged(Scene.break_down)
    (line,) = caplog.messages
    assert line == (
        "the breaker of twice version 1, thread, is OPEN: of 20 executions 100% failed and 0% "
        "were slow"
    )


def test_it_is_logged_that_an_executor_hangs(caplog: pytest.LogCaptureFixture) -> None:
    async def play(scene: Scene) -> None:
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=3.0)
        await asyncio.sleep(10.0)

    with caplog.at_level(logging.WARNING):
        staged(play)
    (line,) = caplog.messages
    assert line == "the breaker of twice version 1, thread, is OPEN: all that can run of it hangs"


@pytest.mark.parametrize("state", ORDERED)
def test_what_operators_switched_off_refuses_nobody(state: State) -> None:
    async def play(scene: Scene) -> tuple[bool, int]:
        scene.machine.is_dead = True
        for _ in range(50):
            scene.ask(1.0)
            await tick()
        ((name, reading),) = scene.gate.readings()
        assert (name, reading.state) == ("thread", state)
        return scene.gate.is_narrow, scene.machine.executions

    assert staged(play, state=state) == (False, 50)


def test_a_call_larger_than_an_execution_is_a_probe_too() -> None:
    async def play(scene: Scene) -> tuple[object, State]:
        await scene.break_down()
        await asyncio.sleep(5.0)
        whole = scene.ask(*[3.0] * 200)
        await asyncio.sleep(1.0)
        return answer_of(whole), scene.state

    assert staged(play) == ([6.0] * 200, CLOSED)


def test_without_an_executor_it_lets_everybody_in() -> None:
    gate = Gate(means=Means(lambda: 0.0, lambda: 0.0))
    assert not gate.is_narrow
    assert gate.readings() == ()


def test_when_nobody_knows_when_it_is_tried_again_come_back_soon() -> None:
    async def play(scene: Scene) -> float:
        scene.guard.breaker.force(State.FORCED_OPEN, now())
        scene.guard._tell()  # noqa: SLF001 - an operator's hand
        call = scene.ask(1.0)
        assert isinstance(call.error, BreakerOpen)
        return call.error.retry_after_s

    assert staged(play, Policy()) == 1.0
