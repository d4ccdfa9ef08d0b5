"""Turns: batchers that share executors cut a batch when one is free, each in its turn."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch.batcher import Batcher, Finish, Statistics
from gateway.batch.turns import Turns
from gateway.core.batching import Policy
from gateway.errors import ClientGone, DeadlineExceeded, Draining, ModelFailed
from gateway.types import Call
from tests.clock import play
from tests.fakes import POISON, Client, FakeModel, a_record, answer_of, now

FAR = 1e9


class Floor:
    """Arms of a version that share so many executors, and what ran there."""

    def __init__(self, instances: int = 1, cost_s: float = 1.0, **policy: float) -> None:
        self.model = FakeModel(cost_s)
        self.client = Client()
        self.turns = Turns(instances)
        self.running = self.most = 0
        self.expired: list[Call] = []  # that were run all the same
        self.run = self.turns.counted(self._run)
        self.policy = Policy(max_rows=2, max_running=instances, max_wait_s=policy.get("wait_s", 0))

    def arm(self) -> Batcher:
        return Batcher(self.run, self.policy, a_record(), now, turns=self.turns)

    def ask(self, arm: Batcher, row: float, deadline: float = math.inf) -> Call:
        call = self.client.call(row, deadline=deadline)
        arm.offer(call)
        return call

    def _run(self, calls: Sequence[Call], finish: Finish) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.expired += [call for call in calls if call.done or call.deadline <= now()]

        def end(*result: object) -> None:
            self.running -= 1
            finish(*result)  # type: ignore[arg-type]  # what came is passed on

        self.model.run(calls, end)


async def ticks() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def floored(
    scene: Callable[[Floor, list[Batcher]], Coroutine[object, object, None]],
    arms: int = 2,
    instances: int = 1,
    cost_s: float = 1.0,
    wait_s: float = 0.0,
) -> Floor:
    async def play_it() -> Floor:
        floor = Floor(instances, cost_s, wait_s=wait_s)
        async with AsyncExitStack() as stack:
            made = [await stack.enter_async_context(floor.arm()) for _ in range(arms)]
            await scene(floor, made)
        return floor

    return play(play_it)


def test_an_arm_starts_nothing_while_another_holds_the_only_executor() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        for row, arm in enumerate(arms):
            floor.ask(arm, row)
        await asyncio.sleep(0.5)
        assert [arm.statistics() for arm in arms] == [Statistics(0, 1), Statistics(1, 0)]
        assert floor.model.batches == [[0]]

    assert floored(scene).model.started == [0.0, 1.0]


def test_what_waits_for_another_arm_goes_on_growing() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        floor.ask(arms[0], 0)
        await asyncio.sleep(0)
        for row in (1, 2):
            floor.ask(arms[1], row)
            await asyncio.sleep(0.4)

    assert floored(scene).model.batches == [[0], [1, 2]]


def test_a_call_that_expires_while_another_arm_runs_is_never_run() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        floor.ask(arms[0], 0)
        await asyncio.sleep(0)
        calls = [floor.ask(arm, row, deadline=0.2) for row, arm in enumerate(arms[1:], 1)]
        await asyncio.sleep(0.3)
        assert [answer_of(call) for call in calls] == [DeadlineExceeded] * 3

    floor = floored(scene, arms=4)
    assert floor.model.batches == [[0]]


def test_arms_take_turns_however_much_one_of_them_has() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        for row in range(6):
            floor.ask(arms[0], row)
        floor.ask(arms[1], 10)
        floor.ask(arms[2], 20)
        await asyncio.sleep(0.5)
        floor.ask(arms[1], 11)  # joins what waits there already

    batches = floored(scene, arms=3).model.batches
    assert batches == [[0, 1], [10, 11], [20], [2, 3], [4, 5]]


def test_all_executors_are_used_and_no_more() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        for row in range(20):
            floor.ask(arms[row % 3], row)
        await asyncio.sleep(0.5)
        assert floor.running == 2

    floor = floored(scene, arms=3, instances=2)
    assert floor.most == 2
    assert floor.model.started == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0]


def test_who_waits_and_has_nothing_left_lets_the_next_go() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        floor.ask(arms[0], 0)
        await asyncio.sleep(0)
        left = floor.ask(arms[1], 1)
        floor.ask(arms[1], 2, deadline=0.5)
        await asyncio.sleep(0)
        floor.ask(arms[2], 3)
        await asyncio.sleep(0)
        left.fail(ClientGone("connection closed"))

    floor = floored(scene, arms=3)
    assert (floor.model.batches, floor.model.started) == ([[0], [3]], [0.0, 1.0])


def test_who_waits_for_company_keeps_no_executor_from_others() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        floor.ask(arms[0], 0)  # waits until 4
        await asyncio.sleep(1.0)
        for row in (1, 2):
            floor.ask(arms[1], row)  # are full at once
        await asyncio.sleep(0.5)
        assert floor.model.batches == [[1, 2]]
        await asyncio.sleep(9.0)

    floor = floored(scene, wait_s=4.0)
    assert (floor.model.batches, floor.model.started) == ([[1, 2], [0]], [1.0, 4.0])


def test_an_executor_that_hangs_is_not_free_though_its_arm_was_closed() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        given_up = floor.ask(arms[0], 0)
        await asyncio.sleep(0)
        call = floor.ask(arms[1], 1, deadline=9.0)
        await arms[0].close(1.0)
        assert answer_of(given_up) is Draining
        await asyncio.sleep(1.0)
        assert (floor.running, floor.model.batches) == (1, [[0]])
        await asyncio.sleep(5.0)
        assert answer_of(call) == [2.0]

    assert floored(scene, cost_s=3.0).model.started == [0.0, 3.0]


def test_an_arm_that_is_closed_or_moved_stands_in_no_line() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        elsewhere = FakeModel()
        for row, arm in enumerate(arms):
            floor.ask(arm, row)
        await asyncio.sleep(0.1)
        await arms[1].close(0.1)
        arms[2].move(elsewhere.run, Policy())
        await asyncio.sleep(0.1)
        assert elsewhere.batches == [[2]]

    floor = floored(scene, arms=4)
    assert (floor.model.batches, floor.model.started) == ([[0], [3]], [0.0, 1.0])


def test_the_halves_of_a_batch_that_failed_take_turns_too() -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        good, bad = floor.ask(arms[0], 1), floor.ask(arms[0], POISON)
        await asyncio.sleep(0)
        floor.ask(arms[1], 5)
        await asyncio.sleep(9.0)
        assert answer_of(good) == [2.0]
        assert isinstance(bad.error, ModelFailed)

    assert floored(scene).model.batches == [[1, POISON], [5], [1], [POISON]]


def test_an_executor_that_cannot_start_has_no_turn() -> None:
    async def scene() -> tuple[list[bool], bool]:
        def refuses(calls: Sequence[Call], finish: Finish) -> None:
            raise RuntimeError("can't start new thread")

        turns, client = Turns(1), Client()
        run = turns.counted(refuses)
        async with Batcher(run, Policy(), a_record(), now, turns=turns) as batcher:
            for row in range(3):
                batcher.offer(client.call(row))
        return [isinstance(call.error, ModelFailed) for call in client.heard], turns.is_free()

    assert play(scene) == ([True] * 3, True)


# the line


class Line:
    """One executor, who was woken, and what ends the execution that runs."""

    def __init__(self) -> None:
        self.turns = Turns(1)
        self.woken: list[str] = []
        self.ends: list[Finish] = []
        self.wakes = {name: self.wake(name) for name in "abc"}

    def wake(self, name: str) -> Callable[[], None]:
        return lambda: self.woken.append(name)

    def may_start(self, name: str) -> bool:
        return self.turns.may_start(self.wakes[name])

    def start(self) -> None:
        self.turns.counted(lambda _calls, finish: self.ends.append(finish))([], unheard)

    def end(self) -> None:
        self.ends.pop()(RuntimeError("over"))


def unheard(_result: object) -> None:
    """Hear of an end, and forget it."""


def test_who_did_not_wait_comes_after_those_who_do() -> None:
    line = Line()
    assert line.may_start("a")
    line.start()
    assert not line.may_start("b")
    line.end()
    assert line.woken == ["b"]
    assert not line.turns.is_free()
    assert [line.may_start("c"), line.may_start("b")] == [False, True]


def test_to_ask_again_gives_nobody_another_place() -> None:
    line = Line()
    line.start()
    for name in "abab":
        assert not line.may_start(name)
    line.end()
    assert [line.may_start("b"), line.may_start("a")] == [False, True]
    line.start()
    line.end()
    assert line.may_start("b")
    assert line.woken == ["a", "b"]


def test_whoever_leaves_lets_the_next_one_know() -> None:
    line = Line()
    line.start()
    for name in "abc":
        line.may_start(name)
    line.turns.leave(line.wakes["b"])
    assert line.woken == []
    line.end()
    line.turns.leave(line.wakes["a"])
    assert line.woken == ["a", "c"]
    assert line.may_start("c")
    assert line.turns.is_free()


# the law


@dataclass(frozen=True)
class Ask:
    arm: int
    after_s: float
    patience_s: float
    row: float


ASKS = st.lists(
    st.builds(
        Ask,
        st.integers(0, 3),
        st.sampled_from([0.0, 0.0, 0.25, 1.0]),
        st.sampled_from([0.2, 0.7, 1.5, FAR]),
        st.sampled_from([1.0, 2.0, 3.0, POISON]),
    ),
    max_size=30,
)


@pytest.mark.parametrize("wait_s", [0.0, 0.5])
@given(ASKS, st.integers(1, 3), st.sampled_from([0.0, 0.3, 1.0]))
def test_whatever_is_asked_no_batch_waits_for_an_executor_and_none_is_idle_for_nothing(
    wait_s: float, asks: list[Ask], instances: int, cost_s: float
) -> None:
    async def scene(floor: Floor, arms: list[Batcher]) -> None:
        for ask in asks:
            floor.ask(arms[ask.arm], ask.row, now() + ask.patience_s)
            if ask.after_s:
                await asyncio.sleep(ask.after_s)
                await ticks()  # what ended in this moment is heard, and followed
                waiting = sum(arm.statistics().waiting_rows for arm in arms)
                assert not waiting or wait_s or not cost_s or floor.running == instances
        await asyncio.sleep(200.0)

    floor = floored(scene, 4, instances, cost_s, wait_s)
    assert len(floor.client.heard) == len(asks)
    assert floor.most <= instances
    assert floor.expired == []
    assert floor.turns.is_free()


# turns that come and go


def test_there_are_as_many_turns_as_are_allowed_and_who_waits_is_woken() -> None:
    turns, woken = Turns(0), list[str]()

    def wake() -> None:
        woken.append("first")

    assert turns.is_idle()
    assert not turns.may_start(wake)
    assert not turns.is_idle()
    turns.allow(1)
    assert woken == ["first"]
    assert turns.may_start(wake)
    assert turns.is_idle()


def test_what_runs_goes_on_when_fewer_are_allowed_and_nobody_starts_beside_it() -> None:
    turns, finishers, told = Turns(2), list[Finish](), list[object]()
    run = turns.counted(lambda _calls, finish: finishers.append(finish))
    for _ in range(2):
        run([], told.append)
    turns.allow(1)
    error = ModelFailed("enough")
    finishers[0](error)
    assert told == [error]
    assert not turns.is_free()
    assert not turns.is_idle()
    finishers[1](error)
    assert turns.is_free()
    assert turns.is_idle()


def test_a_batcher_waits_for_an_executor_to_come_and_its_calls_within_their_deadlines() -> None:
    async def scene() -> list[object]:
        floor = Floor(instances=2)
        floor.turns.allow(0)
        async with floor.arm() as arm:
            calls = [floor.ask(arm, 1, deadline=now() + 5.0), floor.ask(arm, 2), floor.ask(arm, 3)]
            await asyncio.sleep(10.0)
            assert floor.most == 0
            floor.turns.allow(1)
            await ticks()
            assert floor.running == 1
        return [answer_of(call) for call in calls]

    assert play(scene) == [DeadlineExceeded, [4.0], [6.0]]
