"""Where an execution happens: on the loop, or in threads of our own."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gateway.batch.batcher import Batcher
from gateway.core.batching import Policy
from gateway.execute.executors import Execute, Inline, Threads
from gateway.types import Call, Outputs
from tests.fakes import POISON, Answer, Client, FakeModel, Poisoned, a_call, a_record, answer_of

PATIENCE_S = 30.0  # how long a test waits for a thread before it calls it hung


@pytest.fixture(autouse=True)
def _switch_interval() -> Iterator[None]:
    """Threads make the interpreter switch sooner; the next test finds it as it was."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def nothing(calls: Sequence[Call]) -> Outputs:
    return Outputs([np.zeros((1, 1))], len(calls))


def fails(calls: Sequence[Call]) -> Outputs:
    raise Poisoned("nan")


def test_inline_finishes_before_it_returns() -> None:
    heard: list[Outputs | Exception] = []
    Inline(FakeModel().execute, 1.0).run([a_call(1), a_call(2)], heard.append)
    (outputs,) = heard
    assert isinstance(outputs, Outputs)
    assert outputs.arrays[0].tolist() == [[2], [4]]


def test_inline_gives_on_what_the_model_raises() -> None:
    heard: list[Outputs | Exception] = []
    Inline(fails, 1.0).run([a_call(1)], heard.append)
    assert [type(word) for word in heard] == [Poisoned]


def overruns(execute: Execute, budget_s: float, executions: int) -> list[int]:
    """Return after which executions `on_overrun` was called."""
    told: list[int] = []
    finished: list[object] = []
    inline = Inline(execute, budget_s, lambda: told.append(len(finished) + 1))
    for _ in range(executions):
        inline.run([a_call(1)], finished.append)
    assert len(finished) == executions
    return told


@pytest.mark.parametrize("execute", [nothing, fails])
def test_a_model_that_holds_the_loop_by_habit_is_told_of_once(execute: Execute) -> None:
    assert overruns(execute, -1.0, executions=50) == [16]


def test_a_model_that_keeps_within_its_budget_is_not_told_of() -> None:
    assert overruns(nothing, 1e9, executions=50) == []


def test_without_anybody_to_tell_nobody_is_told() -> None:
    finished: list[object] = []
    inline = Inline(nothing, -1.0)
    for _ in range(50):
        inline.run([a_call(1)], finished.append)
    assert len(finished) == 50


async def outcome(threads: Threads, *rows: float) -> Outputs | Exception:
    """Run one call and wait for the word about it, which must come on the loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Outputs | Exception] = loop.create_future()

    def finish(word: Outputs | Exception) -> None:
        assert asyncio.get_running_loop() is loop
        future.set_result(word)

    threads.run([a_call(*rows)], finish)
    async with asyncio.timeout(PATIENCE_S):
        return await future


def test_threads_finish_on_the_loop_with_what_the_model_gives_or_raises() -> None:
    async def scene() -> tuple[Outputs | Exception, ...]:
        async with Threads(FakeModel().execute, 1) as threads:
            return await outcome(threads, 1, 2), await outcome(threads, POISON)

    outputs, error = asyncio.run(scene())
    assert isinstance(outputs, Outputs)
    assert outputs.arrays[0].tolist() == [[2], [4]]
    assert isinstance(error, Poisoned)


def test_a_batch_fails_in_a_thread_and_only_the_guilty_call_hears_of_it() -> None:
    """The batcher and its executor together, on an ordinary loop."""

    async def scene() -> list[Answer]:
        client = Client()
        async with Threads(FakeModel().execute, 2) as threads:
            policy = Policy(max_rows=4, max_running=2)
            async with Batcher(threads.run, policy, a_record()) as batcher:
                calls = [client.call(row) for row in (1, 2, POISON, 3, 4, 5)]
                for call in calls:
                    batcher.offer(call)
            return [answer_of(call) for call in calls]

    answers = asyncio.run(scene())
    assert [answer for answer in answers if isinstance(answer, list)] == [[2], [4], [6], [8], [10]]
    assert not isinstance(answers[2], list)


def test_several_threads_run_at_the_same_time() -> None:
    """Two executions that wait for each other end only if both have started."""
    together = threading.Barrier(2, timeout=PATIENCE_S)

    def meets(calls: Sequence[Call]) -> Outputs:
        together.wait()
        return nothing(calls)

    async def scene() -> list[Outputs | Exception]:
        async with Threads(meets, 2) as threads:
            return list(await asyncio.gather(outcome(threads, 1), outcome(threads, 2)))

    assert [type(word) for word in asyncio.run(scene())] == [Outputs, Outputs]


def named(thread: str) -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith(thread)]


def test_no_thread_is_started_before_the_first_execution() -> None:
    async def scene() -> tuple[int, int]:
        before = len(named("execute-"))
        async with Threads(nothing, 2) as threads:
            idle = len(named("execute-")) - before
            await outcome(threads, 1)
            await outcome(threads, 1)
            return idle, len(threads._threads)  # noqa: SLF001 - ended threads are in no other list

    assert asyncio.run(scene()) == (0, 2)


def test_threads_end_when_they_have_run_what_was_queued() -> None:
    gate = threading.Event()
    ran: list[float] = []

    def waits(calls: Sequence[Call]) -> Outputs:
        assert gate.wait(PATIENCE_S)
        ran.extend(call.rows for call in calls)
        return nothing(calls)

    async def scene() -> list[threading.Thread]:
        heard: list[object] = []
        last = asyncio.get_running_loop().create_future()
        async with Threads(waits, 1) as threads:
            threads.run([a_call(1)], heard.append)
            threads.run([a_call(1, 2)], last.set_result)
            mine = list(threads._threads)  # noqa: SLF001 - ended threads are in no other list
        gate.set()
        async with asyncio.timeout(PATIENCE_S):
            await last
        assert len(heard) == 1
        return mine

    for thread in asyncio.run(scene()):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert ran == [1, 2]


def test_a_thread_that_outlives_its_loop_ends_quietly() -> None:
    """A model that hung through the whole drain comes back when nobody waits any more."""
    gate = threading.Event()

    def waits(calls: Sequence[Call]) -> Outputs:
        assert gate.wait(PATIENCE_S)
        return nothing(calls)

    async def scene() -> list[threading.Thread]:
        async with Threads(waits, 1) as threads:
            threads.run([a_call(1)], lambda _: None)
            return list(threads._threads)  # noqa: SLF001 - ended threads are in no other list

    (thread,) = asyncio.run(scene())
    assert thread.daemon
    gate.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def in_a_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread that ends with it: what it does to itself ends too."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result(PATIENCE_S)


@pytest.mark.parametrize("niceness", [0, 15])
def test_threads_yield_to_the_loop_and_never_take_back_what_they_yield(niceness: int) -> None:
    """A process that was started nice may not be allowed to become less so."""
    seen: list[int] = []

    def looks(calls: Sequence[Call]) -> Outputs:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return nothing(calls)

    async def scene() -> None:
        async with Threads(looks, 1) as threads:
            assert isinstance(await outcome(threads, 1), Outputs)

    def begin() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
        asyncio.run(scene())

    in_a_thread(begin)
    assert seen == [max(10, niceness)]


def test_the_interpreter_switches_sooner_and_never_later() -> None:
    async def scene(interval_s: float) -> float:
        sys.setswitchinterval(interval_s)
        async with Threads(nothing, 1) as threads:
            await outcome(threads, 1)
        return sys.getswitchinterval()

    assert asyncio.run(scene(0.005)) == pytest.approx(0.0005, rel=0.1)
    assert asyncio.run(scene(0.0001)) == pytest.approx(0.0001, rel=0.1)
