"""Worker: one real process, what it says and how it ends."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from gateway.errors import ModelFailed
from gateway.execute.shared import KEPT_BYTES
from gateway.execute.worker import Babble, Worker
from gateway.types import Call, Outputs, Signature
from tests.execute.child import BABBLE, CRASH, EXIT, POISON, STOP, TWICE, WIDE
from tests.execute.stage import CHILD, acted, end_unnoticed, soon, state_of
from tests.fakes import a_call, first_column

pytestmark = pytest.mark.slow


def descriptors() -> set[str]:
    return {one.name for one in Path("/proc/self/fd").iterdir()}


class Keeping:
    """Who keeps a worker: what it heard, as it came."""

    def __init__(self, opening: bytes = b"{}", command: Sequence[str] = CHILD) -> None:
        self._heard: asyncio.Queue[object] = asyncio.Queue()
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.worker = Worker.spawn(command, opening, self)
        self._take: Callable[[], object] = self.worker.readiness

    def heard(self, worker: Worker) -> None:
        assert worker is self.worker
        try:
            self._heard.put_nowait(self._take())
        except Babble as error:
            self._heard.put_nowait(error)

    def ended(self, worker: Worker, code: int) -> None:
        self._ended.set_result(code)

    async def readiness(self) -> object:
        return await soon(self._heard.get())

    async def asked(
        self, *calls: Call, signature: Signature = TWICE, has_rows: bool = True
    ) -> Outputs | ModelFailed:
        rows = sum(call.rows for call in calls) if has_rows else None
        self._take = partial(self.worker.result, len(calls), rows, signature)
        self.worker.run(calls, signature)
        result = await soon(self._heard.get())
        if isinstance(result, Babble):
            raise result
        assert isinstance(result, Outputs | ModelFailed)
        return result

    async def code(self) -> int:
        return await soon(self._ended)


def test_a_worker_loads_answers_and_ends_when_it_is_dismissed() -> None:
    async def scene() -> None:
        keeping = Keeping()
        assert await keeping.readiness() is None
        outputs = await keeping.asked(a_call(1, 2), a_call(3))
        assert isinstance(outputs, Outputs)
        assert first_column(outputs.arrays[0]) == [2, 4, 6]
        assert outputs.calls == 2
        assert outputs.input_ns > 1  # what it took here, and there
        assert outputs.infer_ns == 2
        assert outputs.output_ns > 3
        keeping.worker.dismiss()
        assert await keeping.code() == 0
        assert state_of(keeping.worker.pid) is None  # reaped

    acted(scene)


def test_outputs_outlive_the_next_batch_and_the_process() -> None:
    async def scene() -> None:
        keeping = Keeping()
        await keeping.readiness()
        first = await keeping.asked(a_call(1))
        await keeping.asked(a_call(2, width=1000))
        keeping.worker.kill()
        assert await keeping.code() == -signal.SIGKILL
        assert isinstance(first, Outputs)
        assert first_column(first.arrays[0]) == [2]

    acted(scene)


def test_a_large_batch_leaves_little_behind_and_the_next_is_answered() -> None:
    async def scene() -> None:
        keeping = Keeping()
        await keeping.readiness()
        for rows in (1, 1 << 13, 1, 1 << 13):  # 4 KiB each
            outputs = await keeping.asked(a_call(*[3.0] * rows, width=1 << 10))
            assert isinstance(outputs, Outputs)
            assert outputs.arrays[0].shape == (rows, 1 << 10)
            assert (outputs.arrays[0] == 6).all()
            left = os.fstat(keeping.worker._shared.fd).st_blocks * 512  # noqa: SLF001 - nobody else says
            assert left <= KEPT_BYTES
        keeping.worker.kill()
        await keeping.code()

    acted(scene)


def test_what_a_model_raises_is_a_model_that_failed() -> None:
    async def scene() -> None:
        keeping = Keeping()
        await keeping.readiness()
        error = await keeping.asked(a_call(POISON))
        assert isinstance(error, ModelFailed)
        assert str(error) == "a row was poisoned"
        keeping.worker.kill()
        await keeping.code()

    acted(scene)


def test_a_worker_that_cannot_load_says_why_and_ends() -> None:
    async def scene() -> None:
        keeping = Keeping(b'{"refuse": "it is no model"}')
        assert await keeping.readiness() == "it is no model"
        assert await keeping.code() == 1

    acted(scene)


@pytest.mark.parametrize(("row", "expected"), [(CRASH, -signal.SIGABRT), (EXIT, 3)])
def test_the_end_is_heard_at_once_whoever_brought_it_about(row: int, expected: int) -> None:
    async def scene() -> int:
        keeping = Keeping()
        await keeping.readiness()
        keeping.worker.run([a_call(row)], TWICE)
        return await keeping.code()

    assert acted(scene) == expected


@pytest.mark.parametrize("is_unheard", [True, False])
def test_an_end_tells_whether_the_last_question_was_heard(is_unheard: bool) -> None:
    async def scene() -> None:
        keeping = Keeping()
        await keeping.readiness()
        if is_unheard:
            end_unnoticed(keeping.worker.pid, signal.SIGABRT)
        keeping.worker.run([a_call(CRASH)], TWICE)
        assert await keeping.code() == -signal.SIGABRT
        assert keeping.worker.is_unheard is is_unheard

    acted(scene)


def test_a_stopped_process_is_seen_and_can_be_killed() -> None:
    async def scene() -> None:
        keeping = Keeping()
        await keeping.readiness()
        keeping.worker.run([a_call(STOP)], TWICE)
        while (look := keeping.worker.look()) is None or look.state != "T":  # noqa: ASYNC110 - the system tells nobody
            await asyncio.sleep(0.01)
        assert look.cpu_s > 0
        keeping.worker.kill()
        assert await keeping.code() == -signal.SIGKILL
        assert keeping.worker.look() is None

    acted(scene)


@pytest.mark.parametrize("row", [WIDE, BABBLE])
def test_what_is_no_answer_is_not_believed(row: int) -> None:
    async def scene() -> None:
        keeping = Keeping()
        await keeping.readiness()
        with pytest.raises(Babble):
            await keeping.asked(a_call(row))
        keeping.worker.kill()
        await keeping.code()

    acted(scene)


def test_nothing_is_left_open_when_a_worker_has_ended() -> None:
    async def scene() -> None:
        before = descriptors()
        for _ in range(3):
            keeping = Keeping()
            await keeping.readiness()
            await keeping.asked(a_call(1, width=1000))
            keeping.worker.kill()
            await keeping.code()
        assert descriptors() <= before

    acted(scene)


def test_a_program_that_is_not_there_is_an_error_and_leaves_nothing_open() -> None:
    async def scene() -> None:
        before = descriptors()
        keeping = Keeping()
        await keeping.readiness()
        keeping.worker.kill()
        await keeping.code()
        with pytest.raises(OSError, match="nowhere"):
            Worker.spawn(["nowhere"], b"", keeping)
        assert descriptors() <= before

    acted(scene)
