"""Processes: a batch goes to an instance that is free; what one died of, to the refuge alone."""

import asyncio
import os
import select
import signal
import time
from collections.abc import Callable, Coroutine, Sequence

import pytest

from gateway.batch.batcher import Batcher
from gateway.batch.turns import Refuge, Turns
from gateway.core.batching import Policy
from gateway.core.suspects import WorkerLost
from gateway.errors import BreakerOpen, DeadlineExceeded, ModelFailed, NotReady
from gateway.execute.instance import Finish, Plan
from gateway.execute.processes import Around, Processes, Run
from gateway.execute.session import LoadFailed
from gateway.types import Call, Outputs
from tests.execute.child import BLOCK, CRASH, LOOP, POISON, STOP
from tests.execute.stage import PATIENCE_S, a_plan, acted, end_unnoticed, given_to, soon, state_of
from tests.fakes import Answer, a_call, a_record, answer_of

pytestmark = pytest.mark.slow


class Places:
    """Turns of instances and of the refuge, as the executor allows them."""

    def __init__(self) -> None:
        self.turns, self.refuge = Turns(0), Turns(0)
        self.allowed: list[tuple[int, int]] = []
        self.is_changed = asyncio.Event()

    def allow(self, batches: int, suspects: int) -> None:
        self.allowed.append((batches, suspects))
        self.is_changed.set()
        self.refuge.allow(suspects)
        self.turns.allow(batches)

    def is_wanted(self) -> bool:
        return not self.refuge.is_idle()


class Floor:
    """Processes, and a batcher before them."""

    def __init__(self, processes: Processes, places: Places, batcher: Batcher) -> None:
        self.processes, self.places, self.batcher = processes, places, batcher
        self.calls: list[Call] = []
        self.heard = asyncio.Event()

    def offer(self, *rows: float, within_s: float = PATIENCE_S) -> Call:
        deadline = time.monotonic() + within_s
        call = a_call(*rows, deadline=deadline, arrived=time.monotonic())
        call.on_done = lambda _: self.heard.set()
        self.calls.append(call)
        self.batcher.offer(call)
        return call

    async def answers(self) -> list[Answer]:
        """Wait until every call that was offered is answered."""
        while not all(call.done for call in self.calls):
            self.heard.clear()
            await soon(self.heard.wait())
        return [answer_of(call) for call in self.calls]

    def pids(self) -> list[int]:
        return [one.pid for one in self.processes.statistics() if one.pid is not None]

    async def whole(self, instances: int) -> None:
        """Wait until every instance can be given a batch."""
        while self.places.allowed[-1] != (instances, 0):
            self.places.is_changed.clear()
            await soon(self.places.is_changed.wait())


def floored(
    scene: Callable[[Floor], Coroutine[object, object, None]],
    instances: int = 1,
    plan: Plan | None = None,
    around: Around | None = None,
) -> None:
    """Act a scene before so many instances that are up; all of their processes are reaped."""

    async def act() -> None:
        places = Places()
        told = () if around is None else (around,)
        processes = Processes(plan or a_plan(suspect_after_s=0.3), instances, places, *told)
        counted = places.refuge.counted
        places.turns.refuge = Refuge(
            places.refuge, counted(processes.run_suspects), counted(processes.wait_for_suspects)
        )
        async with asyncio.timeout(PATIENCE_S), processes:
            run, policy = places.turns.counted(processes.run), Policy(8, max_running=instances)
            async with Batcher(run, policy, a_record(), turns=places.turns) as batcher:
                floor = Floor(processes, places, batcher)
                await scene(floor)
                await floor.whole(instances)
            pids = floor.pids()
            assert len(pids) == instances
        assert [state_of(pid) for pid in pids] == [None] * instances

    acted(act)


def twice(rows: Sequence[float]) -> list[list[float]]:
    return [[2 * row] for row in rows]


@pytest.mark.parametrize("instances", [1, 3])
def test_calls_are_answered_in_company_and_nobody_starts_again(instances: int) -> None:
    async def scene(floor: Floor) -> None:
        for row in range(50):
            floor.offer(row)
        assert await floor.answers() == twice(range(50))
        views = floor.processes.statistics()
        assert [one.name for one in views] == [f"process/{at}" for at in range(instances)]
        assert all(one.is_up and one.is_free and one.starts == 1 for one in views)

    floored(scene, instances)


def test_instances_run_at_the_same_time() -> None:
    async def scene(floor: Floor) -> None:
        stuck = floor.offer(BLOCK, within_s=0.5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        floor.offer(1)
        while not floor.calls[1].done:
            floor.heard.clear()
            await soon(floor.heard.wait())
        assert not stuck.done
        assert await floor.answers() == [DeadlineExceeded, [2.0]]

    floored(scene, 2, a_plan(floor_s=0.1, suspect_after_s=PATIENCE_S))


@pytest.mark.parametrize("instances", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nobody_notices_that_a_process_is_killed_under_a_batch(
    instances: int, number: signal.Signals
) -> None:
    async def scene(floor: Floor) -> None:
        victim = floor.pids()[0]
        os.kill(victim, signal.SIGSTOP)  # so that the batch is there when it dies
        for row in range(5):
            floor.offer(row)
        await asyncio.sleep(0.01)
        os.kill(victim, number)
        os.kill(victim, signal.SIGCONT)
        assert await floor.answers() == twice(range(5))

    floored(scene, instances)


@pytest.mark.parametrize("instances", [1, 2])
def test_nobody_notices_that_a_process_is_stopped(instances: int) -> None:
    async def scene(floor: Floor) -> None:
        os.kill(floor.pids()[0], signal.SIGSTOP)
        for row in range(5):
            floor.offer(row)
        assert await floor.answers() == twice(range(5))

    floored(scene, instances)


@pytest.mark.parametrize("instances", [1, 2])
@pytest.mark.parametrize("guilty", [CRASH, STOP, LOOP])
def test_only_the_guilty_call_of_a_batch_fails(instances: int, guilty: int) -> None:
    async def scene(floor: Floor) -> None:
        rows = [1, 2, guilty, 4, 5, 6]
        for row in rows:
            floor.offer(row, within_s=2.0 if row == guilty else PATIENCE_S)
        expected: list[Answer] = [[2.0 * row] for row in rows]
        expected[2] = ModelFailed if guilty == CRASH else DeadlineExceeded
        assert await floor.answers() == expected

    floored(scene, instances)


def test_who_waits_for_a_refuge_is_not_accused_of_a_death_before_it_was_heard() -> None:
    """It is handed over as soon as the process is ready, and that has died since it said so."""

    async def scene(floor: Floor) -> None:
        (victim,) = floor.pids()
        end_unnoticed(victim, signal.SIGSEGV)
        floor.offer(1)
        while floor.processes.statistics()[0].starts < 2 or not floor.pids():  # noqa: ASYNC110 - nobody is told of a start
            await asyncio.sleep(0)
        worker = floor.processes._instances[0]._worker  # noqa: SLF001 - its bell
        assert worker is not None
        select.select([worker._answered], [], [], PATIENCE_S)  # noqa: SLF001 - as above
        end_unnoticed(worker.pid, signal.SIGSEGV)
        assert await floor.answers() == [[2.0]]
        assert floor.processes.statistics()[0].starts == 3

    floored(scene)


def test_a_crash_costs_two_processes_and_those_one_after_the_other() -> None:
    async def scene(floor: Floor) -> None:
        for row in [1, 2, 3, 4, 5, 6, 7, CRASH]:
            floor.offer(row)
        await floor.answers()
        await floor.whole(3)
        assert sum(one.starts for one in floor.processes.statistics()) == 3 + 2
        # never fewer than two are up, the refuge among them
        assert min(sum(allowed) for allowed in floor.places.allowed[floor.places.allowed.index(
            (3, 0)):]) == 2  # fmt: skip

    floored(scene, 3)


def test_a_model_that_fails_costs_no_process() -> None:
    async def scene(floor: Floor) -> None:
        for row in [1, POISON, 3]:
            floor.offer(row)
        assert await floor.answers() == [[2], ModelFailed, [6]]
        assert floor.processes.statistics()[0].starts == 1

    floored(scene)


def test_calls_wait_for_a_process_within_their_deadlines() -> None:
    async def scene(floor: Floor) -> None:
        os.kill(floor.pids()[0], signal.SIGKILL)
        while floor.places.allowed[-1] != (0, 0):
            floor.places.is_changed.clear()
            await soon(floor.places.is_changed.wait())
        floor.offer(1, within_s=0.0)
        floor.offer(2)
        assert await floor.answers() == [DeadlineExceeded, [4]]

    floored(scene)


def test_a_version_that_cannot_be_loaded_is_refused_and_leaves_nobody() -> None:
    async def scene() -> None:
        processes = Processes(a_plan({"refuse": "it is no model"}), 3, Places())
        with pytest.raises(LoadFailed, match="it is no model"):
            async with processes:
                pass
        assert [one.pid for one in processes.statistics()] == [None] * 3

    acted(scene)


def test_an_opening_that_is_cancelled_leaves_nobody() -> None:
    async def scene() -> None:
        processes = Processes(a_plan({"ready": False}), 2, Places())
        opening = asyncio.ensure_future(processes.__aenter__())
        while None in (pids := [one.pid for one in processes.statistics()]):  # noqa: ASYNC110 - nobody is told of a start
            await asyncio.sleep(0.01)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(opening)
        assert [state_of(pid) for pid in pids if pid is not None] == [None] * 2

    acted(scene)


def test_who_asks_where_no_process_is_free_is_refused() -> None:
    """Whoever cuts batches knows how many there may be: see Room."""

    async def scene(floor: Floor) -> None:
        processes = floor.processes
        heard = given_to(processes.run, a_call(1))
        for run in (processes.run, processes.run_suspects, processes.wait_for_suspects):
            with pytest.raises(NotReady, match="no process"):
                given_to(run, a_call(2))
        assert await heard.rows() == [2]

    floored(scene)


class Barred:
    """Stands around an instance, and lets nothing through where it is barred."""

    barred: list[str]

    def __init__(self, name: str, run: Run) -> None:
        self.name, self._run = name, run
        self.due: list[str] = []
        self.executions = 0

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        self.executions += 1
        if self.may_start():
            self._run(calls, finish)
        else:
            finish(BreakerOpen("barred"))

    def may_start(self) -> bool:
        return self.name not in self.barred

    def is_due(self) -> bool:
        return self.name in self.due


@pytest.mark.parametrize("barred", [[], ["process/0"], ["process/1"]])
def test_what_would_be_refused_by_one_instance_waits_for_another(barred: list[str]) -> None:
    """No batch is cut for one that lets nothing through, as long as another does."""
    stood: list[Barred] = []
    barred = [*barred]  # it is opened at the end

    def around(name: str, run: Run) -> Barred:
        stood.append(Barred(name, run))
        stood[-1].barred = barred
        return stood[-1]

    async def scene(floor: Floor) -> None:
        rows = list(range(1, 60))
        for row in rows:
            floor.offer(row)
        assert await floor.answers() == twice(rows)
        ran = {one.name for one in stood if one.executions}
        assert ran == {"process/0", "process/1"} - {*barred}
        barred.clear()
        floor.processes.recount()

    floored(scene, instances=2, around=around)


def test_an_instance_that_is_due_to_be_tried_is_given_a_batch_though_another_is_free() -> None:
    stood: list[Barred] = []

    def around(name: str, run: Run) -> Barred:
        stood.append(Barred(name, run))
        stood[-1].barred = []
        return stood[-1]

    async def scene(floor: Floor) -> None:
        for row in (1, 2, 3):
            floor.offer(row)
            await floor.answers()
        assert [one.executions for one in stood] == [3, 0]
        stood[1].due.append("process/1")
        floor.offer(4)
        await floor.answers()
        assert [one.executions for one in stood] == [3, 1]

    floored(scene, instances=2, around=around)


def test_where_every_instance_refuses_its_callers_hear_so() -> None:
    def around(name: str, run: Run) -> Barred:
        one = Barred(name, run)
        one.barred = ["process/0", "process/1"]
        return one

    async def scene(floor: Floor) -> None:
        for row in range(20):
            floor.offer(row)
        assert set(map(str, await floor.answers())) == {str(BreakerOpen)}

    floored(scene, instances=2, around=around)


def test_who_stands_around_an_instance_hears_each_batch_and_what_became_of_it() -> None:
    told: list[tuple[str, int, str]] = []

    class Watched:
        def __init__(self, name: str, run: Run) -> None:
            self.name, self._run = name, run

        def run(self, calls: Sequence[Call], finish: Finish) -> None:
            def end(result: Outputs | Exception) -> None:
                told.append((self.name, len(calls), type(result).__name__))
                finish(result)

            self._run(calls, end)

        def may_start(self) -> bool:
            return True

        def is_due(self) -> bool:
            return False

    async def scene(floor: Floor) -> None:
        floor.offer(1)
        await floor.answers()
        for row in (2, CRASH):
            floor.offer(row)
        assert await floor.answers() == [[2], [4], ModelFailed]

    floored(scene, around=Watched)
    assert told == [
        ("process/0", 1, "Outputs"),
        ("process/0", 2, WorkerLost.__name__),
        ("process/0", 1, "Outputs"),
        ("process/0", 1, WorkerLost.__name__),
    ]
