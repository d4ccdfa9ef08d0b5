"""Opened: a loaded version runs where it was placed, and lets go of its model when closed."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from gateway.app.opened import Opened, open_version
from gateway.batch.batcher import Batcher, Busy, Statistics
from gateway.config import Config, parse_model
from gateway.config.bounds import bounds_of
from gateway.core.batching import Policy
from gateway.core.breaker import State
from gateway.errors import BreakerOpen, Draining
from gateway.execute.session import Session
from gateway.observe.counts import read
from gateway.observe.record import Record
from gateway.repository.discover import discover
from gateway.repository.load import load
from gateway.repository.prove import prove
from gateway.types import Arm, Call
from tests.clock import play
from tests.fakes import TWICE, Client, FakeModel, a_record, a_row, answer_of, now
from tests.wire.harness import turns
from tests.zoo import write_shelf

T = TypeVar("T")
BEYOND = 99  # the shelf's end: the model fails


class Scene:
    """A version that is open, and its session, held by nobody but it."""

    def __init__(
        self, opened: Opened, session: "weakref.ref[Session]", busy: Busy, row: memoryview
    ) -> None:
        self.opened = opened
        self.row = row
        self.session = session
        self.busy = busy
        self.moves = 0
        self.answered = asyncio.Event()

    def ask(self, index: int, batcher: Batcher | None = None) -> Call:
        """Ask for one row of the shelf; what is beyond its table breaks the model."""
        payload = np.array([index], dtype="<i8").tobytes()
        call = Call(Arm(self.opened.version), (payload,), 1, ((1,),), lambda _: self.answered.set())
        (batcher or self.opened.batcher).offer(call)
        return call


def played(
    folder: Path,
    scene: Callable[[Scene], Coroutine[object, object, T]],
    config: Config | None = None,
) -> T:
    """Play a scene before the one version below `folder`."""
    configured = config or Config()
    (found,) = discover(folder, parse_model).found
    proof = prove(found, bounds_of(configured), configured.platform)

    async def play() -> T:
        moves: list[None] = []
        loaded = load(proof)
        session = weakref.ref(loaded.session)
        busy: Busy = set()
        row = a_row()
        opened = await open_version(
            loaded, configured, Record(row), lambda: moves.append(None), busy
        )
        del loaded
        made = Scene(opened, session, busy, row)
        result = await scene(made)
        made.moves = len(moves)
        return result

    return asyncio.run(play())


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_a_version_answers_where_it_was_placed(tmp_path: Path, executor: str) -> None:
    write_shelf(tmp_path, settings=f'[execution]\nexecutor = "{executor}"\n')

    async def scene(scene: Scene) -> None:
        call = scene.ask(7)
        await asyncio.wait_for(scene.answered.wait(), 30.0)
        assert call.outputs is not None
        assert call.outputs.arrays[0][call.start] == 70
        await scene.opened.close(5.0)

    played(tmp_path, scene)


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_a_version_is_busy_as_long_as_one_of_its_batchers_is(tmp_path: Path, executor: str) -> None:
    write_shelf(tmp_path, settings=f'[execution]\nexecutor = "{executor}"\n')

    async def scene(scene: Scene) -> None:
        arm = scene.opened.open_arm(a_record())
        assert not scene.busy
        for batcher in (scene.opened.batcher, arm):
            scene.answered.clear()
            scene.ask(7, batcher)
            assert scene.busy == {batcher}
            await asyncio.wait_for(scene.answered.wait(), 30.0)
            await turns()
            assert not scene.busy
        await scene.opened.close(5.0)

    played(tmp_path, scene)


@pytest.mark.parametrize("moves", [False, True])
def test_arms_take_turns_at_the_threads_of_their_version(tmp_path: Path, moves: bool) -> None:
    batching = {"inline_budget_ms": 0.000001, "inline_row_us": 1e9}
    write_shelf(tmp_path, settings="" if moves else '[execution]\nexecutor = "thread"\n')

    async def scene(scene: Scene) -> None:
        for _ in range(50 if moves else 0):
            scene.answered.clear()
            scene.ask(1)
            await asyncio.wait_for(scene.answered.wait(), 30.0)
        await turns()
        arm = scene.opened.open_arm(a_record())
        calls = [scene.ask(row, batcher) for row, batcher in enumerate((scene.opened.batcher, arm))]
        await asyncio.sleep(0)  # both have looked, and no thread has been heard
        told = {one.statistics() for one in (scene.opened.batcher, arm)}
        assert told == {Statistics(0, 1), Statistics(1, 0)}
        while not all(call.done for call in calls):
            scene.answered.clear()
            await asyncio.wait_for(scene.answered.wait(), 30.0)
        assert all(call.outputs is not None for call in calls)
        await scene.opened.close(5.0)

    played(tmp_path, scene, Config.model_validate({"batching": batching}))


@pytest.mark.parametrize("executor", ["auto", "thread"])
def test_closing_frees_the_model_though_collections_pass_it_over(
    tmp_path: Path, executor: str
) -> None:
    """What was frozen is looked at by no collection: only what nobody holds is freed."""
    write_shelf(tmp_path, settings=f'[execution]\nexecutor = "{executor}"\n')

    async def scene(scene: Scene) -> bool:
        scene.ask(7)
        await asyncio.wait_for(scene.answered.wait(), 30.0)
        gc.collect()
        gc.freeze()
        try:
            await scene.opened.close(5.0)
            del scene.opened
            for _ in range(1000):  # a thread of its own may just be leaving
                if scene.session() is None:
                    return True
                await asyncio.sleep(0.01)
            return False
        finally:
            gc.unfreeze()

    assert played(tmp_path, scene)


def test_who_asks_a_version_that_was_closed_is_refused(tmp_path: Path) -> None:
    write_shelf(tmp_path)

    async def scene(scene: Scene) -> object:
        await scene.opened.close(5.0)
        return scene.ask(7).error

    assert isinstance(played(tmp_path, scene), Draining)


def test_a_version_that_moves_to_a_thread_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batching = {"inline_budget_ms": 0.000001, "inline_row_us": 1e9}
    write_shelf(tmp_path)
    scenes: list[Scene] = []

    async def scene(scene: Scene) -> None:
        scenes.append(scene)
        for _ in range(50):
            scene.answered.clear()
            scene.ask(1)
            await asyncio.wait_for(scene.answered.wait(), 30.0)
        await turns()
        await scene.opened.close(5.0)

    with caplog.at_level(logging.WARNING):
        played(tmp_path, scene, Config.model_validate({"batching": batching}))
    assert scenes[0].moves == 1
    assert "shelf version 1 held the event loop too long too often" in caplog.text


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_a_version_that_keeps_failing_is_asked_no_more_by_any_of_its_arms(
    tmp_path: Path, executor: str
) -> None:
    write_shelf(tmp_path, settings=f'[execution]\nexecutor = "{executor}"\n')

    async def scene(scene: Scene) -> None:
        arm = scene.opened.open_arm(a_record())
        for _ in range(20):
            scene.answered.clear()
            scene.ask(BEYOND, arm)
            await asyncio.wait_for(scene.answered.wait(), 30.0)
        for batcher in (arm, scene.opened.batcher):
            assert type(scene.ask(7, batcher).error) is BreakerOpen
        (told,) = scene.opened.breakers()
        assert (told.model, told.version, told.executor) == ("shelf", "1", executor)
        assert (told.state, told.calls, told.failure_ratio) == ("OPEN", 20, 1.0)
        assert told.next_try is not None
        assert 4.0 <= told.next_try - told.since <= 6.1
        assert read(scene.row).breakers == {executor: State.OPEN}
        await scene.opened.close(5.0)
        assert scene.opened.breakers() == ()
        assert (read(scene.row).breakers, read(scene.row).openings) == ({}, 1)

    played(tmp_path, scene)


def test_what_waits_in_an_arm_is_refused_with_the_rest(tmp_path: Path) -> None:
    settings = 'max_execution_rows = 1\n[execution]\nexecutor = "thread"\n'
    write_shelf(tmp_path, settings=settings)

    async def scene(scene: Scene) -> list[type]:
        """Many failures; an arm's calls, of which there are more, take turns with them."""
        calls = [scene.ask(BEYOND) for _ in range(64)]
        arm = scene.opened.open_arm(a_record())
        calls += [scene.ask(7, arm) for _ in range(200)]
        while not all(call.done for call in calls):
            scene.answered.clear()
            await asyncio.wait_for(scene.answered.wait(), 30.0)
        refused = {type(call.error) for call in calls[64:] if call.error is not None}
        await scene.opened.close(5.0)
        return [*refused]

    assert played(tmp_path, scene) == [BreakerOpen]


def test_a_version_that_moved_to_a_thread_has_a_breaker_there(tmp_path: Path) -> None:
    batching = {"inline_budget_ms": 0.000001, "inline_row_us": 1e9}
    write_shelf(tmp_path)

    async def scene(scene: Scene) -> None:
        assert [told.executor for told in scene.opened.breakers()] == ["inline"]
        for _ in range(50):
            scene.answered.clear()
            scene.ask(1)
            await asyncio.wait_for(scene.answered.wait(), 30.0)
        assert [told.executor for told in scene.opened.breakers()] == ["thread"]
        assert read(scene.row).breakers == {"thread": State.CLOSED}
        await scene.opened.close(5.0)

    played(tmp_path, scene, Config.model_validate({"batching": batching}))


def test_a_breaker_that_is_off_says_so_and_refuses_nobody(tmp_path: Path) -> None:
    write_shelf(tmp_path)

    async def scene(scene: Scene) -> None:
        for _ in range(50):
            scene.answered.clear()
            scene.ask(BEYOND)
            await asyncio.wait_for(scene.answered.wait(), 30.0)
        assert scene.ask(7).error is None
        assert read(scene.row).breakers == {"inline": State.DISABLED}
        await scene.opened.close(5.0)

    played(tmp_path, scene, Config.model_validate({"breaker": {"mode": "off"}}))


# arms


class Bench:
    """A version that doubles its rows in a second, and when its executor was closed."""

    def __init__(self, cost_s: float = 1.0) -> None:
        self.model = FakeModel(cost_s)
        self.client = Client()
        self.closed_at: list[float] = []
        self.stack = AsyncExitStack()
        self.stack.callback(lambda: self.closed_at.append(now()))
        self.opened = Opened(TWICE, self.make, a_record(), self.stack, self.model.execute)

    def make(self, record: Record) -> Batcher:
        return Batcher(self.model.run, Policy(), record, now)

    def ask(self, batcher: Batcher, row: float) -> Call:
        call = self.client.call(row)
        batcher.offer(call)
        return call


def benched(scene: Callable[[Bench], Coroutine[object, object, T]], cost_s: float = 1.0) -> T:
    async def bench() -> T:
        return await scene(Bench(cost_s))

    return play(bench)


def test_an_arm_is_answered_by_the_same_model_in_executions_of_its_own() -> None:
    async def scene(bench: Bench) -> list[list[float]]:
        row = a_row()
        arm = bench.opened.open_arm(Record(row))
        calls = [bench.ask(arm, 1), bench.ask(bench.opened.batcher, 2), bench.ask(arm, 3)]
        await asyncio.sleep(5.0)
        assert [answer_of(call) for call in calls] == [[2.0], [4.0], [6.0]]
        assert (read(row).executions, read(row).inferences) == (1, 2)
        return sorted(bench.model.batches)

    assert benched(scene) == [[1, 3], [2]]


def test_an_arm_that_is_closed_answers_what_it_accepted_and_the_rest_goes_on() -> None:
    async def scene(bench: Bench) -> None:
        arm, other = bench.opened.open_arm(a_record()), bench.opened.open_arm(a_record())
        call = bench.ask(arm, 1)
        await bench.opened.close_arm(arm, 5.0)
        assert answer_of(call) == [2.0]
        assert answer_of(bench.ask(arm, 2)) is Draining
        calls = [bench.ask(other, 3), bench.ask(bench.opened.batcher, 4)]
        await asyncio.sleep(5.0)
        assert [answer_of(call) for call in calls] == [[6.0], [8.0]]
        assert bench.closed_at == []

    benched(scene)


def test_closing_a_version_closes_its_arms_before_its_executor() -> None:
    async def scene(bench: Bench) -> list[float]:
        arms = [bench.opened.open_arm(a_record()) for _ in range(2)]
        calls = [bench.ask(arm, row) for row, arm in enumerate(arms, start=1)]
        await turns()
        calls.append(bench.ask(arms[0], 3))  # waits behind the first, for another second
        await bench.opened.close(5.0)
        assert [answer_of(call) for call in calls] == [[2.0], [4.0], [6.0]]
        return bench.closed_at

    assert benched(scene) == [2.0]


def test_closing_a_version_waits_for_an_arm_that_is_being_closed() -> None:
    """Also where that one was given more time."""

    async def scene(bench: Bench) -> tuple[list[float], object]:
        arm = bench.opened.open_arm(a_record())
        call = bench.ask(arm, 1)
        await turns()
        closing = asyncio.create_task(bench.opened.close_arm(arm, 9.0))
        await turns()
        await bench.opened.close(0.5)
        assert closing.done()
        return bench.closed_at, answer_of(call)

    assert benched(scene, cost_s=3.0) == ([3.0], [2.0])


def test_an_arm_may_be_closed_again_at_any_time() -> None:
    async def scene(bench: Bench) -> list[float]:
        arm = bench.opened.open_arm(a_record())
        bench.ask(arm, 1)
        await turns()
        ends: list[float] = []

        async def close() -> None:
            await bench.opened.close_arm(arm, 2.0)
            ends.append(now())

        await asyncio.gather(close(), close())  # the second waits for the first
        await close()
        await bench.opened.close(5.0)
        await close()
        return ends

    assert benched(scene, cost_s=1e6) == [2.0, 2.0, 2.0, 2.0]


def test_whoever_waits_for_an_arm_is_let_go_when_its_closing_is_cancelled() -> None:
    async def scene(bench: Bench) -> object:
        arm = bench.opened.open_arm(a_record())
        call = bench.ask(arm, 1)
        await turns()
        first = asyncio.create_task(bench.opened.close_arm(arm, 1e3))
        second = asyncio.create_task(bench.opened.close_arm(arm, 1e3))
        await turns()
        first.cancel()
        await second
        assert first.cancelled()
        return answer_of(call)

    assert benched(scene, cost_s=1e6) is Draining


def test_arms_move_with_their_version_also_those_that_are_opened_later() -> None:
    async def scene(bench: Bench) -> tuple[list[list[float]], list[list[float]]]:
        elsewhere = FakeModel()
        before = bench.opened.open_arm(a_record())
        bench.opened.move(elsewhere.run, Policy())
        after = bench.opened.open_arm(a_record())
        for row, batcher in enumerate((bench.opened.batcher, before, after)):
            bench.ask(batcher, row)
        await turns()
        return bench.model.batches, elsewhere.batches

    assert benched(scene) == ([], [[0], [1], [2]])


def test_a_version_that_was_closed_opens_no_arm_and_executes_nothing() -> None:
    async def scene(bench: Bench) -> None:
        await bench.opened.close(1.0)
        with pytest.raises(Draining, match="this version was unloaded"):
            bench.opened.open_arm(a_record())
        with pytest.raises(Draining, match="this version was unloaded"):
            bench.opened.execute([])

    benched(scene)
