"""Loader: jobs beside the loop, one after another."""

import asyncio
import threading
from functools import partial

import pytest

from gateway.app.loader import Loader

WATCHDOG_S = 30.0


def test_what_a_job_returns_reaches_who_asked() -> None:
    async def scene() -> list[str]:
        loader = Loader()
        jobs = [loader.run(partial(str.upper, text)) for text in "ab"]
        return list(await asyncio.gather(*jobs))

    assert asyncio.run(scene()) == ["A", "B"]


def test_what_a_job_raises_is_raised_where_it_was_asked_for() -> None:
    async def scene() -> None:
        loader = Loader()
        with pytest.raises(ZeroDivisionError):
            await loader.run(lambda: 1 // 0)
        assert await loader.run(lambda: 1) == 1  # the thread lives on

    asyncio.run(scene())


def test_jobs_run_one_after_another_and_not_on_the_loop() -> None:
    at_work: list[int] = []
    most: list[int] = []

    def job(number: int) -> int:
        at_work.append(number)
        most.append(len(at_work))
        assert threading.current_thread() is not threading.main_thread()
        at_work.remove(number)
        return number

    async def scene() -> list[int]:
        loader = Loader()
        jobs = [loader.run(partial(job, number)) for number in range(20)]
        return list(await asyncio.gather(*jobs))

    assert asyncio.run(scene()) == list(range(20))
    assert max(most) == 1


def test_the_loop_turns_while_a_job_hangs() -> None:
    ends = threading.Event()

    async def scene() -> bool:
        loader = Loader()
        task = asyncio.create_task(loader.run(lambda: ends.wait(WATCHDOG_S)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        ends.set()
        return await task

    assert asyncio.run(scene())


def test_nobody_waits_for_a_job_that_was_given_up() -> None:
    ends = threading.Event()

    async def scene() -> int:
        loader = Loader()
        task = asyncio.create_task(loader.run(lambda: ends.wait(WATCHDOG_S)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ends.set()
        return await loader.run(lambda: 7)

    assert asyncio.run(scene()) == 7


def test_a_job_may_outlive_the_loop() -> None:
    ends, ended = threading.Event(), threading.Event()

    def job() -> None:
        ends.wait(WATCHDOG_S)
        ended.set()

    async def scene() -> None:
        task = asyncio.create_task(Loader().run(job))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(scene())
    ends.set()
    assert ended.wait(WATCHDOG_S)
