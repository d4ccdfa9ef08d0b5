"""What an execution says of its executor, and what hangs."""

import asyncio
from collections import Counter

import pytest

from gateway.core.breaker import Outcome, Reading, State
from gateway.core.costs import Cost
from gateway.core.slowness import Slowness
from gateway.core.suspects import Loss, WorkerLost
from gateway.errors import (
    BreakerOpen,
    ClientGone,
    DeadlineExceeded,
    Draining,
    ModelFailed,
    Overloaded,
)
from gateway.observe.counts import read
from gateway.types import Call
from tests.batch.guarded import Scene, staged, tick
from tests.fakes import POISON, a_call, answer_of, now

OPEN, CLOSED, HALF_OPEN = State.OPEN, State.CLOSED, State.HALF_OPEN


def counted(scene: Scene) -> tuple[int, float]:
    """Return the executions that count, and how many of them failed."""
    reading = scene.guard.breaker.reading(now())
    return reading.calls, round(reading.failure_ratio * reading.calls)


def test_an_execution_is_one_success_however_many_calls_it_holds() -> None:
    async def play(scene: Scene) -> tuple[int, float]:
        for _ in range(10):
            scene.ask(1.0)
        await tick()
        return counted(scene)

    assert staged(play) == (1, 0)


def test_a_call_that_fails_alone_is_a_failure_and_several_are_none_yet() -> None:
    """Of three, the halves are one success and a pair, of which one fails alone."""

    async def play(scene: Scene) -> tuple[tuple[int, float], list[object]]:
        for row in (1.0, 2.0, POISON):
            scene.ask(row)
        await asyncio.sleep(1.0)
        return counted(scene), [answer_of(call) for call in scene.client.heard]

    (calls, failures), answers = staged(play)
    assert (calls, failures) == (3, 1)
    assert sorted(map(str, answers)) == sorted(map(str, [[2.0], [4.0], ModelFailed]))


@pytest.mark.parametrize("together", [1, 2, 7, 50])
def test_one_poisoned_call_of_fifty_is_alone_and_opens_nothing(together: int) -> None:
    async def play(scene: Scene) -> Counter[object]:
        for number in range(1000):
            scene.ask(POISON if number % 50 == 49 else 1.0)
            if number % together == together - 1:
                await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)
        assert scene.shown == [("thread", CLOSED)]
        return Counter(type(call.error) for call in scene.client.heard)

    assert staged(play) == {type(None): 980, ModelFailed: 20}


def test_a_dead_model_is_asked_no_more_before_its_first_batch_is_halved_to_the_end() -> None:
    async def play(scene: Scene) -> Counter[object]:
        scene.machine.is_dead = True
        for _ in range(64):
            scene.ask(1.0)
        await asyncio.sleep(1.0)
        assert scene.state is OPEN
        assert scene.machine.executions == 63 + 20  # all halves, and then one by one
        assert read(scene.rows[0]).executions == 63 + 20  # and none that was only refused
        return Counter(type(call.error) for call in scene.client.heard)

    assert staged(play) == {ModelFailed: 20, BreakerOpen: 44}


@pytest.mark.parametrize(
    "error", [Overloaded("full"), Draining("leaving"), BreakerOpen("theirs"), ClientGone("left")]
)
def test_who_has_no_room_is_not_broken(error: Exception) -> None:
    async def play(scene: Scene) -> tuple[int, float]:
        scene.machine.is_dead, scene.machine.error = True, error
        for _ in range(50):
            scene.ask(1.0)
            await tick()
        return counted(scene)

    assert staged(play) == (0, 0)


def test_a_refusal_of_an_executor_is_told_to_each_caller_and_nobody_is_halved() -> None:
    async def play(scene: Scene) -> list[Call]:
        scene.machine.is_dead = True
        scene.machine.error = Overloaded("full", retry_after_s=7.0, shed="limit")
        for _ in range(4):
            scene.ask(1.0)
        await tick()
        assert scene.machine.executions == 1
        return scene.client.heard

    heard = staged(play)
    assert len({id(call.error) for call in heard}) == 4
    for call in heard:
        assert isinstance(call.error, Overloaded)
        assert (str(call.error), call.error.retry_after_s, call.error.shed) == (
            "full",
            7.0,
            "limit",
        )


@pytest.mark.parametrize(("after_s", "expected"), [(0.5, (0, 0)), (3.0, (1, 1))])
def test_what_an_executor_gave_up_for_its_callers_failed_if_it_was_slow(
    after_s: float, expected: tuple[int, float]
) -> None:
    async def play(scene: Scene) -> tuple[int, float]:
        scene.machine.hangs = True
        scene.ask(1.0)
        scene.ask(1.0)
        await asyncio.sleep(after_s)
        scene.machine.is_dead, scene.machine.error = True, DeadlineExceeded("killed")
        scene.machine.end()
        return counted(scene)

    assert staged(play) == expected


@pytest.mark.parametrize(
    ("loss", "calls", "after_s", "expected"),
    [
        ("crashed", 1, 0.1, (1, 1)),
        ("crashed", 2, 0.1, (0, 0)),  # they are tried one by one
        ("killed", 1, 0.1, (0, 0)),
        ("killed", 1, 9.0, (0, 0)),
        ("late", 1, 0.1, (0, 0)),
        ("late", 2, 1.5, (1, 1)),
        ("stalled", 1, 0.1, (1, 1)),
    ],
)
def test_a_process_that_is_lost_says_something_if_it_was_its_own_doing(
    loss: Loss, calls: int, after_s: float, expected: tuple[int, float]
) -> None:
    async def play(scene: Scene) -> tuple[int, float]:
        scene.machine.hangs = True
        for _ in range(calls):
            scene.ask(1.0)
        await asyncio.sleep(after_s)
        scene.machine.is_dead, scene.machine.error = True, WorkerLost("lost", loss)
        scene.machine.end()
        return counted(scene)

    assert staged(play) == expected


@pytest.mark.parametrize(("deadline_s", "expected"), [(1.5, (1, 1)), (100.0, (0, 0))])
def test_several_calls_that_fail_when_nobody_waits_any_more_will_not_be_run_again(
    deadline_s: float, expected: tuple[int, float]
) -> None:
    async def play(scene: Scene) -> tuple[int, float]:
        scene.machine.hangs = True
        for _ in range(2):
            scene.ask(1.0, deadline_s=deadline_s)
        await asyncio.sleep(1.9)
        scene.machine.is_dead = True
        scene.machine.end()
        return counted(scene)

    assert staged(play) == expected


def test_an_executor_may_raise_anything() -> None:
    async def play(scene: Scene) -> tuple[int, float]:
        def raise_it(*_: object) -> None:
            raise ZeroDivisionError

        scene.guard._run = raise_it  # noqa: SLF001 - no machine of ours does that
        scene.ask(1.0)
        await tick()
        return counted(scene)

    assert staged(play) == (1, 1)


def test_a_second_word_about_an_execution_is_not_heard() -> None:
    async def play(scene: Scene) -> tuple[int, float]:
        scene.machine.hangs = True
        scene.ask(1.0)
        await tick()
        ((calls, finish),) = scene.machine.held
        for _ in range(3):
            finish(scene.machine.result(calls))
        return counted(scene)

    assert staged(play) == (1, 0)


@pytest.mark.parametrize(("took_s", "is_slow"), [(0.9, False), (4.0, False), (6.0, True)])
def test_a_success_is_slow_beyond_a_multiple_of_what_it_cost(took_s: float, is_slow: bool) -> None:
    async def play(scene: Scene) -> Reading:
        scene.machine.hangs = True
        scene.ask(1.0)
        await asyncio.sleep(took_s)
        scene.machine.end()
        return scene.guard.breaker.reading(now())

    reading = staged(play, slowness=Slowness(Cost(0.25, 0.25)))
    assert (reading.calls, reading.failure_ratio, reading.slow_ratio) == (1, 0.0, is_slow)


def test_one_that_hangs_and_is_all_there_is_opens_when_its_callers_have_gone() -> None:
    """Who waits behind it is told at that moment, and not when its own time is over."""

    async def play(scene: Scene) -> list[tuple[object, float]]:
        told: list[tuple[object, float]] = []
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=3.0)
        await tick()
        waiting = scene.ask(2.0, deadline_s=60.0)
        waiting.on_done = lambda call: told.append((type(call.error), now()))
        await asyncio.sleep(2.9)
        assert scene.state is CLOSED
        await asyncio.sleep(0.2)
        assert scene.state is OPEN
        return told

    ((error, at_s),) = staged(play)
    assert error is BreakerOpen
    assert at_s == pytest.approx(3.0, abs=0.02)


def test_one_that_hangs_among_others_is_a_failure_and_no_more() -> None:
    async def play(scene: Scene) -> tuple[int, float]:
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=3.0)
        await asyncio.sleep(3.1)
        scene.machine.hangs = False
        for _ in range(3):
            scene.ask(1.0)
            await tick()
        assert scene.state is CLOSED
        return counted(scene)

    assert staged(play, running=2) == (4, 1)


def test_one_that_hangs_is_counted_once_however_often_somebody_looks() -> None:
    async def play(scene: Scene) -> State:
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=3.0)
        await asyncio.sleep(3.1)
        scene.ask(1.0, deadline_s=50.0)
        await asyncio.sleep(40.0)
        return scene.state

    assert staged(play, running=2) is CLOSED


def test_who_would_be_a_probe_is_told_when_nothing_can_run_it() -> None:
    """It was open already, for other reasons, when the last of its threads was found to hang."""

    async def play(scene: Scene) -> list[float]:
        told: list[float] = []
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=8.0)
        await tick()
        breaker = scene.guard.breaker
        for _ in range(20):
            breaker.record(breaker.generation, Outcome.FAILURE, False, now(), lambda: 0.5)
        await asyncio.sleep(6.0)
        probe = scene.ask(1.0, deadline_s=60.0)
        probe.on_done = lambda _: told.append(now())
        await asyncio.sleep(30.0)
        assert type(probe.error) is BreakerOpen
        return told

    assert staged(play) == pytest.approx([8.0], abs=0.02)


def test_a_drain_does_not_wait_for_those_who_were_refused() -> None:
    async def play(scene: Scene) -> float:
        scene.machine.hangs = True
        hung = scene.ask(1.0)
        await tick()
        hung.fail(ClientGone("left"))
        scene.ask(1.0, deadline_s=60.0)
        await scene.close(100.0)
        return now()

    assert staged(play) == pytest.approx(2.0, abs=0.02)


def test_an_execution_somebody_waits_for_does_not_hang() -> None:
    async def play(scene: Scene) -> State:
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=3.0)
        scene.ask(1.0, deadline_s=50.0)
        await asyncio.sleep(49.0)
        return scene.state

    assert staged(play) is CLOSED


def test_callers_with_no_patience_open_nothing() -> None:
    async def play(scene: Scene) -> tuple[State, tuple[int, float]]:
        scene.machine.hangs = True
        for _ in range(50):
            scene.ask(1.0, deadline_s=0.01)
            await asyncio.sleep(0.5)
            scene.machine.end()
        return scene.state, counted(scene)

    state, (_, failures) = staged(play)
    assert (state, failures) == (CLOSED, 0)


def test_clients_who_leave_are_no_evidence_until_the_execution_hangs() -> None:
    async def play(scene: Scene) -> None:
        scene.machine.hangs = True
        call = scene.ask(1.0)
        await tick()
        call.fail(ClientGone("left"))
        await asyncio.sleep(1.9)
        assert (scene.state, counted(scene)) == (CLOSED, (0, 0))
        await asyncio.sleep(0.2)
        assert scene.state is OPEN

    staged(play)


def test_what_hung_and_comes_back_late_teaches_nothing_and_may_be_probed() -> None:
    async def play(scene: Scene) -> None:
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=3.0)
        await asyncio.sleep(60.0)
        assert type(scene.ask(1.0).error) is BreakerOpen  # it has nothing to run a probe with
        scene.machine.hangs = False
        scene.machine.end()
        assert scene.state is OPEN
        probe = scene.ask(4.0)
        await tick()
        assert answer_of(probe) == [8.0]
        assert scene.state is HALF_OPEN

    staged(play)


def test_a_probe_that_hangs_is_found_out() -> None:
    async def play(scene: Scene) -> None:
        await scene.break_down()
        await asyncio.sleep(5.0)
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=3.0)
        await tick()
        assert scene.state is HALF_OPEN
        await asyncio.sleep(3.1)
        assert scene.state is OPEN

    staged(play)


def test_only_counting_a_hang_refuses_nobody() -> None:
    async def play(scene: Scene) -> list[object]:
        scene.machine.hangs = True
        scene.ask(1.0, deadline_s=3.0)
        await asyncio.sleep(4.0)
        waiting = scene.ask(1.0)
        await asyncio.sleep(1.0)
        assert counted(scene) == (1, 1)
        scene.machine.hangs = False
        scene.machine.end()
        await tick()
        return [scene.state, answer_of(waiting)]

    assert staged(play, state=State.METRICS_ONLY) == [State.METRICS_ONLY, [2.0]]


def test_where_nothing_hangs_nobody_looks_more_often_than_every_two_seconds() -> None:
    async def play(scene: Scene) -> int:
        looks = 0
        look = scene.guard._alarm._ring  # noqa: SLF001 - to count how often

        def count() -> None:
            nonlocal looks
            looks += 1
            look()

        scene.guard._alarm._ring = count  # noqa: SLF001 - as above
        scene.machine.hangs = True
        for _ in range(1000):
            scene.ask(1.0)
            await asyncio.sleep(0.01)
            scene.machine.end()
        busy = looks
        await asyncio.sleep(1000.0)
        assert looks <= busy + 1
        return busy

    assert staged(play) <= 5


def test_closed_it_lets_go_of_its_executor_and_refuses() -> None:
    async def play(scene: Scene) -> None:
        scene.machine.hangs = True
        running = scene.ask(3.0, deadline_s=1000.0)
        left = scene.ask(1.0)
        await tick()
        left.fail(ClientGone("left"))
        scene.guard.close()
        assert scene.guard._alarm._timer is None  # noqa: SLF001 - nobody looks any more
        late = scene.ask(1.0)
        scene.machine.hangs = False
        scene.machine.end()
        await tick()
        assert answer_of(running) == [6.0]
        assert type(late.error) is BreakerOpen
        assert scene.machine.executions == 1

    staged(play)


def test_a_failure_that_no_call_is_to_blame_for_counts_however_many_there_were() -> None:
    async def play(scene: Scene) -> tuple[int, float]:
        error = ModelFailed("nobody answered", by_a_call=False)
        guard = scene.gate.guarded("other", lambda _, finish: finish(error), Slowness())
        guard.run([a_call(1), a_call(2)], lambda _: None)
        reading = guard.breaker.reading(now())
        return reading.calls, reading.failure_ratio

    assert staged(play) == (1, 1.0)


def test_an_executor_with_servers_of_its_own_asks_and_tells_of_each_request() -> None:
    async def play(scene: Scene) -> tuple[list[bool], list[object]]:
        guard = scene.gate.guarded("remote/0", lambda _, finish: None, Slowness())
        sent = []
        for _ in range(30):
            permit = guard.permit()
            sent.append(permit is not None)
            if permit is not None:
                guard.count(permit, Outcome.FAILURE, 0.1, 1)
        return sent, [state for name, state in scene.shown if name == "remote/0"]

    sent, shown = staged(play)
    assert sent == sorted(sent, reverse=True)
    assert 0 < sum(sent) < 30
    assert shown == [CLOSED, OPEN]


def test_an_answer_that_took_too_long_is_a_slow_one() -> None:
    async def play(scene: Scene) -> float:
        guard = scene.gate.guarded("remote/0", lambda _, finish: None, Slowness(floor_s=1.0))
        for seconds in (0.5, 20.0):
            permit = guard.permit()
            assert permit is not None
            guard.count(permit, Outcome.SUCCESS, seconds, 1)
        return guard.breaker.reading(now()).slow_ratio

    assert staged(play) == 0.5


@pytest.mark.parametrize("loss", ["crashed", "stalled"])
def test_one_process_after_another_that_dies_opens_at_once(loss: Loss) -> None:
    """Each takes so long to start that there are never twenty executions in a window."""

    async def play(scene: Scene) -> list[State]:
        scene.machine.hangs = True
        scene.machine.is_dead, scene.machine.error = True, WorkerLost("lost", loss)
        seen = []
        for _ in range(5):
            scene.ask(1)
            await tick()
            scene.machine.end()
            await asyncio.sleep(2.5)
            seen.append(scene.state)
        return seen

    assert staged(play) == [State.CLOSED] * 4 + [State.OPEN]
