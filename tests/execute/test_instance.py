"""Instance: whichever process fills it, each batch ends once, and another process follows."""

import asyncio
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from gateway.core.suspects import Loss, WorkerLost
from gateway.errors import ModelFailed
from gateway.execute.instance import Instance, Plan
from gateway.execute.session import LoadFailed
from tests.execute.child import BABBLE, BLOCK, CRASH, EXIT, LOOP, NO_MEMORY, POISON, STOP, WIDE
from tests.execute.stage import (
    KILLS,
    PATIENCE_S,
    Heard,
    Loops,
    a_plan,
    acted,
    end_unnoticed,
    given_to,
    soon,
    state_of,
)
from tests.fakes import a_call

pytestmark = pytest.mark.slow


class Keeping:
    """Who keeps an instance, and what it was told."""

    def __init__(self, plan: Plan) -> None:
        self.instance = Instance("process/0", plan, self)
        self.losses = 0
        self._is_changed = asyncio.Event()

    def changed(self) -> None:
        self._is_changed.set()

    def lost(self, instance: Instance, tell: Callable[[], None]) -> None:
        assert instance is self.instance
        assert not instance.is_up
        self.losses += 1
        tell()
        self.changed()

    async def up(self) -> None:
        """Wait until it can be given work."""
        while not self.instance.is_free:
            self._is_changed.clear()
            await soon(self._is_changed.wait())

    async def begun(self) -> None:
        """Wait until its process has heard of the batch."""
        worker = self.instance._worker  # noqa: SLF001 - its bell
        assert worker is not None
        while select.select([worker._ask], [], [], 0)[0]:  # noqa: ASYNC110, SLF001 - nobody is told
            await asyncio.sleep(0.01)

    def ask(self, *rows: float, within_s: float = PATIENCE_S, is_patient: bool = False) -> Heard:
        call = a_call(*rows, deadline=time.monotonic() + within_s)
        return given_to(lambda calls, end: self.instance.run(calls, end, is_patient), call)


def kept(scene: Callable[[Keeping], Coroutine[object, object, None]], **stalls: float) -> None:
    """Act a scene before an instance that is open; nothing of it is left."""

    async def act() -> None:
        keeping = Keeping(a_plan(None, **stalls))
        await soon(keeping.instance.open())
        try:
            await scene(keeping)
        finally:
            pid = keeping.instance.pid
            await soon(keeping.instance.close())
            assert keeping.instance.pid is None
            assert pid is None or state_of(pid) is None

    acted(act)


async def loss_of(heard: Heard) -> Loss:
    error = await heard.error()
    assert isinstance(error, WorkerLost), error
    return error.loss


def test_one_process_answers_one_batch_after_another() -> None:
    async def scene(keeping: Keeping) -> None:
        for row in range(3):
            assert await keeping.ask(row, row + 1).rows() == [2 * row, 2 * row + 2]
        assert keeping.instance.starts == 1

    kept(scene)


@pytest.mark.parametrize("row", [POISON, NO_MEMORY])
def test_a_model_that_fails_keeps_its_process(row: int) -> None:
    async def scene(keeping: Keeping) -> None:
        error = await keeping.ask(row).error()
        assert type(error) is ModelFailed
        assert await keeping.ask(1).rows() == [2]
        assert (keeping.instance.starts, keeping.losses) == (1, 0)

    kept(scene)


@pytest.mark.parametrize("row", [CRASH, EXIT, BABBLE, WIDE])
def test_a_process_that_dies_or_lies_is_replaced(row: int) -> None:
    async def scene(keeping: Keeping) -> None:
        assert await loss_of(keeping.ask(row)) == "crashed"
        assert not keeping.instance.is_up
        await keeping.up()
        assert await keeping.ask(1).rows() == [2]
        assert (keeping.instance.starts, keeping.losses) == (2, 1)

    kept(scene)


@pytest.mark.parametrize("number", KILLS)
def test_a_process_that_is_killed_from_outside_is_replaced(number: signal.Signals) -> None:
    async def scene(keeping: Keeping) -> None:
        heard = keeping.ask(BLOCK)
        await keeping.begun()
        assert keeping.instance.pid is not None
        os.kill(keeping.instance.pid, number)
        expected = "killed" if number in (signal.SIGKILL, signal.SIGTERM) else "crashed"
        assert await loss_of(heard) == expected
        assert number.name in str(await heard.error())
        await keeping.up()
        assert await keeping.ask(1).rows() == [2]

    kept(scene)


def test_an_idle_process_that_is_killed_is_replaced() -> None:
    async def scene(keeping: Keeping) -> None:
        assert await keeping.ask(1).rows() == [2]
        for starts in (2, 3):
            assert keeping.instance.pid is not None
            os.kill(keeping.instance.pid, signal.SIGKILL)
            while keeping.instance.starts < starts:  # noqa: ASYNC110 - nobody is told of a start
                await asyncio.sleep(0.01)
            await keeping.up()
        assert await keeping.ask(1).rows() == [2]
        assert keeping.losses == 0

    kept(scene)


@pytest.mark.parametrize("row", [STOP, LOOP, BLOCK])
def test_a_process_that_does_not_go_on_is_killed_before_its_deadline(row: int) -> None:
    async def scene(keeping: Keeping) -> None:
        assert await loss_of(keeping.ask(row)) == "stalled"
        await keeping.up()
        assert await keeping.ask(1).rows() == [2]

    kept(scene, suspect_after_s=0.2)


@pytest.mark.parametrize("is_patient", [False, True])
@pytest.mark.parametrize("row", [STOP, LOOP])
def test_a_process_is_killed_when_nobody_waits_any_more(row: int, is_patient: bool) -> None:
    async def scene(keeping: Keeping) -> None:
        heard = keeping.ask(row, within_s=0.2, is_patient=is_patient)
        assert await loss_of(heard) == "late"
        await keeping.up()
        assert await keeping.ask(1).rows() == [2]

    kept(scene, suspect_after_s=0.05 if is_patient else PATIENCE_S, floor_s=0.1)


def test_an_answer_that_came_before_the_end_stands() -> None:
    """Both are there when the loop turns."""

    async def scene(keeping: Keeping) -> None:
        heard = keeping.ask(1)
        worker, pid = keeping.instance._worker, keeping.instance.pid  # noqa: SLF001 - its bell
        assert worker is not None
        assert pid is not None
        select.select([worker._answered], [], [], PATIENCE_S)  # noqa: SLF001 - as above
        end_unnoticed(pid, signal.SIGKILL)
        assert await heard.rows() == [2]
        await keeping.up()
        assert (keeping.instance.starts, keeping.losses) == (2, 0)

    kept(scene)


@pytest.mark.parametrize("number", KILLS)
def test_of_a_death_before_a_batch_was_heard_that_batch_is_not_accused(
    number: signal.Signals,
) -> None:
    async def scene(keeping: Keeping) -> None:
        assert keeping.instance.pid is not None
        end_unnoticed(keeping.instance.pid, number)
        assert await loss_of(keeping.ask(1)) == "killed"
        await keeping.up()
        assert await keeping.ask(1).rows() == [2]

    kept(scene)


@pytest.mark.parametrize(
    ("opening", "reason"),
    [
        ({"refuse": "it is no model"}, "it is no model"),
        ({"dies": 3}, "the model's process ended with code 3"),
    ],
)
def test_a_version_that_cannot_be_loaded_is_refused_with_its_reason(
    opening: dict[str, object], reason: str
) -> None:
    async def scene() -> None:
        keeping = Keeping(a_plan(opening))
        with pytest.raises(LoadFailed, match=reason):
            await soon(keeping.instance.open())
        await soon(keeping.instance.close())
        assert keeping.instance.pid is None

    acted(scene)


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("opening", [{"refuse": "it is no model"}, {"dies": 3}])
def test_a_version_that_cannot_be_loaded_is_started_once_before_that_is_said(
    opening: dict[str, object], loops: Loops
) -> None:
    async def scene() -> None:
        keeping = Keeping(a_plan(opening))
        with pytest.raises(LoadFailed):
            await soon(keeping.instance.open())
        for _ in range(10):  # nor is it after that, until somebody closes it
            await asyncio.sleep(0)
        assert (keeping.instance.starts, keeping.instance.pid) == (1, None)
        await soon(keeping.instance.close())

    acted(scene, loops)


def test_a_program_that_is_not_there_is_a_refusal() -> None:
    async def scene() -> None:
        plan = replace(a_plan(), command=["nowhere"])
        with pytest.raises(LoadFailed, match="no process can be started"):
            await Keeping(plan).instance.open()

    acted(scene)


def test_a_process_that_is_never_ready_is_killed_and_the_version_refused() -> None:
    async def scene() -> None:
        keeping = Keeping(replace(a_plan({"ready": False}), open_s=0.2))
        with pytest.raises(LoadFailed, match=r"not ready after 0\.2 s"):
            await soon(keeping.instance.open())
        await soon(keeping.instance.close())

    acted(scene)


def test_a_process_that_cannot_be_started_again_is_tried_again(tmp_path: Path) -> None:
    program = tmp_path / "python"

    def install() -> None:
        program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        program.chmod(0o700)

    install()
    plan = a_plan()
    plan = replace(plan, command=[str(program), *plan.command[1:]])

    async def scene() -> None:
        keeping = Keeping(plan)
        await soon(keeping.instance.open())
        pid = keeping.instance.pid
        assert pid is not None
        program.unlink()
        os.kill(pid, signal.SIGKILL)
        while keeping.instance.starts < 3:  # noqa: ASYNC110 - nobody is told of a start
            await asyncio.sleep(0.01)
        assert keeping.instance.pid is None
        install()
        await keeping.up()
        assert await keeping.ask(1).rows() == [2]
        await soon(keeping.instance.close())

    acted(scene)


@pytest.mark.parametrize("row", [STOP, LOOP])
def test_closing_ends_a_process_that_is_at_something_and_its_batch_is_lost(row: int) -> None:
    async def scene(keeping: Keeping) -> None:
        heard = keeping.ask(row)
        await soon(keeping.instance.close())
        assert await loss_of(heard) == "late"

    kept(scene)


@pytest.mark.parametrize("opening", [{"ready": False}, {}])
def test_closing_ends_a_process_that_has_not_loaded_yet(opening: dict[str, object]) -> None:
    async def scene() -> None:
        keeping = Keeping(a_plan(opening))
        starting = asyncio.ensure_future(keeping.instance.open())
        await asyncio.sleep(0)
        await soon(keeping.instance.close())
        assert keeping.instance.pid is None
        with pytest.raises(LoadFailed):
            await soon(starting)

    acted(scene)


def test_a_closing_that_is_cancelled_kills() -> None:
    async def scene(keeping: Keeping) -> None:
        pid = keeping.instance.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        closing = asyncio.ensure_future(keeping.instance.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    kept(scene)
