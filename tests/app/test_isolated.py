"""Isolated: a version that runs in processes answers like any other, and leaves none behind."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from gateway.app.isolated import open_isolated
from gateway.app.opened import Opened
from gateway.batch.batcher import Batcher, Busy
from gateway.config import Config, parse_model
from gateway.config.bounds import bounds_of
from gateway.core.breaker import State
from gateway.errors import BreakerOpen, Draining, ModelFailed
from gateway.execute.session import LoadFailed
from gateway.observe.counts import read
from gateway.observe.record import Record
from gateway.repository.discover import discover
from gateway.repository.proof import Proof
from gateway.repository.prove import prove
from gateway.types import Arm, Call, Outputs
from tests.execute.stage import PATIENCE_S, acted, soon, state_of
from tests.fakes import a_record, a_row
from tests.zoo import write_shelf

pytestmark = pytest.mark.slow

T = TypeVar("T")
BEYOND = 99  # the shelf's end: the model fails


class Scene:
    """A version that is open in processes."""

    def __init__(self, opened: Opened, busy: Busy, row: memoryview) -> None:
        self.opened, self.busy, self.row = opened, busy, row
        self.answered = asyncio.Event()

    def call(self, index: int) -> Call:
        payload = np.array([index], dtype="<i8").tobytes()
        deadline = time.monotonic() + PATIENCE_S
        arm = Arm(self.opened.version)
        return Call(arm, (payload,), 1, ((1,),), lambda _: self.answered.set(), deadline)

    def ask(self, index: int, batcher: Batcher | None = None) -> Call:
        """Ask for one row of the shelf; what is beyond its table breaks the model."""
        call = self.call(index)
        (batcher or self.opened.batcher).offer(call)
        return call

    async def answers(self, *calls: Call) -> list[int | type[Exception]]:
        while not all(call.done for call in calls):
            self.answered.clear()
            await soon(self.answered.wait())
        return [told(call) for call in calls]


def told(call: Call) -> int | type[Exception]:
    if call.outputs is None:
        return type(call.error) if call.error is not None else AssertionError
    return int(call.outputs.arrays[0][call.start, 0])


def children() -> set[int]:
    """Our processes that work."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= set(map(int, (task / "children").read_text().split()))
    return {
        pid for pid in found if b"gateway.app.working" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


def proved(folder: Path, settings: str = "") -> Proof:
    write_shelf(folder, settings=f'[execution]\nexecutor = "process"\n{settings}')
    (found,) = discover(folder, parse_model).found
    return prove(found, bounds_of(Config()), "p")


def played(
    folder: Path,
    scene: Callable[[Scene], Coroutine[object, object, T]],
    settings: str = "",
    config: Config | None = None,
) -> T:
    """Play a scene before the one version below `folder`; none of its processes is left."""
    proof = proved(folder, settings)

    async def play() -> T:
        busy: Busy = set()
        row = a_row()
        opened = await soon(open_isolated(proof, config or Config(), Record(row), busy))
        try:
            return await scene(Scene(opened, busy, row))
        finally:
            pids = children()
            if pids:
                await soon(opened.close(5.0))
            assert [state_of(pid) for pid in pids] == [None] * len(pids)

    return acted(play)


def test_calls_are_answered_and_counted_and_the_guilty_one_fails_alone(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        calls = [scene.ask(index) for index in (3, 99, 7)]
        assert await scene.answers(*calls) == [30, ModelFailed, 70]
        counts = read(scene.row)
        assert (counts.inferences, counts.executions) == (
            2,
            5,
        )  # the batch, its halves, and those of the second
        assert counts.success_ns > 0

    played(tmp_path, scene)


def test_each_process_has_a_breaker_and_what_one_refuses_the_other_answers(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        one_at_a_time = [1, *[BEYOND] * 20]  # the first instance that is free runs each
        for index in one_at_a_time:
            await scene.answers(scene.ask(index))
        assert read(scene.row).breakers == {"process/0": State.OPEN, "process/1": State.CLOSED}
        calls = []
        for index in range(64):  # many come while the well one is busy with others
            calls.append(scene.ask(index % 10))
            await asyncio.sleep(0)
        assert await scene.answers(*calls) == [index % 10 * 10 for index in range(64)]
        for _ in range(20):
            await scene.answers(scene.ask(BEYOND))
        assert told(scene.ask(1)) is BreakerOpen
        assert {one.state for one in scene.opened.breakers()} == {"OPEN"}

    played(tmp_path, scene, "instances = 2")


def test_there_are_as_many_processes_as_instances(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> int:
        assert await scene.answers(scene.ask(1)) == [10]
        return len(children())

    assert played(tmp_path, scene, "instances = 3") == 3


def test_arms_share_the_processes_and_each_is_answered(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        arms = [scene.opened.open_arm(a_record()) for _ in range(3)]
        calls = [scene.ask(index, arms[index % 3]) for index in range(9)]
        assert await scene.answers(*calls) == [10 * index for index in range(9)]
        assert len(children()) == 1

    played(tmp_path, scene)


def test_nobody_notices_that_a_process_dies_and_the_version_is_busy_meanwhile(
    tmp_path: Path,
) -> None:
    async def scene(scene: Scene) -> None:
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        calls = [scene.ask(index) for index in range(5)]
        await asyncio.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.01)
        assert scene.busy
        assert await scene.answers(*calls) == [10 * index for index in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not scene.busy

    played(tmp_path, scene)


def test_a_version_whose_files_changed_is_refused_and_leaves_no_process(tmp_path: Path) -> None:
    proof = proved(tmp_path)
    proof.found.onnx.write_bytes(proof.found.onnx.read_bytes() + b"\0\0")

    async def scene() -> None:
        with pytest.raises(LoadFailed, match="changed since it was proved"):
            await soon(open_isolated(proof, Config(), a_record(), set()))
        assert children() == set()

    acted(scene)


def test_closing_answers_what_was_accepted_and_refuses_the_rest(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        calls = [scene.ask(index) for index in range(5)]
        await soon(scene.opened.close(10.0))
        assert [told(call) for call in calls] == [10 * index for index in range(5)]
        assert told(scene.ask(1)) is Draining
        assert children() == set()

    played(tmp_path, scene)


def test_closing_waits_for_no_process_that_hangs(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        call = scene.ask(1)
        await soon(scene.opened.close(0.1))
        assert told(call) is Draining
        assert state_of(pid) is None

    played(tmp_path, scene)


# A shadow's thread asks too.


def in_thread(scene: Scene, calls: Sequence[Call]) -> "asyncio.Future[Outputs]":
    """Execute calls as a mirror does, in a thread of its own."""
    return asyncio.ensure_future(asyncio.to_thread(scene.opened.execute, calls))


def waiting(scene: Scene) -> int:
    """How many of them wait for an instance."""
    aside = scene.opened.execute.__self__  # type: ignore[attr-defined]  # it is a method
    return len(aside._waiting)  # noqa: SLF001 - nobody else is told


def test_a_shadow_is_answered_in_its_turn(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        asked = in_thread(scene, [scene.call(2), scene.call(3)])
        call = scene.ask(1)
        outputs = await soon(asked)
        assert outputs.arrays[0].tolist() == [[20], [30]]
        assert await scene.answers(call) == [10]

    played(tmp_path, scene)


def test_a_shadow_hears_what_its_calls_broke(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        with pytest.raises(ModelFailed):
            await soon(in_thread(scene, [scene.call(99)]))
        assert await scene.answers(scene.ask(1)) == [10]

    played(tmp_path, scene)


def test_a_shadow_waits_for_a_process_and_is_not_tried_again(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        asked = in_thread(scene, [scene.call(2)])
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ModelFailed, match="SIGKILL"):
            await soon(asked)
        outputs = await soon(in_thread(scene, [scene.call(4)]))
        assert outputs.arrays[0].tolist() == [[40]]

    played(tmp_path, scene)


def test_an_instance_that_is_tried_again_is_given_to_nobody_else_meanwhile(tmp_path: Path) -> None:
    """Its breaker half opens while a batch is on its way there, and then more may be under way."""
    config = Config.model_validate({"breaker": {"minimum_calls": 2, "open_s": 1.0}})

    async def scene(scene: Scene) -> None:
        for _ in range(2):
            await scene.answers(scene.ask(BEYOND))
        ((_, first), (_, second)) = scene.opened.gate.readings()
        assert (first.state, second.state) == (State.OPEN, State.CLOSED)
        pids = children()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        call = scene.ask(1)  # the well instance has it
        asked = [in_thread(scene, [scene.call(index)]) for index in (2, 3)]
        while scene.opened.gate.readings()[0][1].next_try_s or waiting(scene) < len(asked):  # noqa: ASYNC110 - time itself is awaited
            await asyncio.sleep(0.01)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        outputs = await soon(asyncio.gather(*asked))
        assert [one.arrays[0].tolist() for one in outputs] == [[[20]], [[30]]]
        assert await scene.answers(call) == [10]

    played(tmp_path, scene, "instances = 2\nsuspect_after_s = 30.0", config)


def test_a_shadow_that_waits_when_its_version_closes_is_let_go(tmp_path: Path) -> None:
    async def scene(scene: Scene) -> None:
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        asked = [in_thread(scene, [scene.call(index)]) for index in range(2)]
        await asyncio.sleep(0.1)
        await soon(scene.opened.close(0.1))
        for one in asked:
            with pytest.raises((ModelFailed, Draining)):
                await soon(one)

    played(tmp_path, scene)
