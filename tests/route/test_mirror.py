"""A shadow: asked what callers asked, compared with what they got, and never felt.

A thread wakes a loop from outside, so these scenes play on an ordinary loop, but for those
that end before anything is asked. What is waited for is a word, never a time.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.core.documents import Shadow
from gateway.errors import ClientGone, Overloaded
from gateway.route.asking import Disagreement, Execute
from gateway.route.mirror import Mirror, Policy
from gateway.route.tally import Outcome, Statistics
from gateway.types import Arm, Call, Outputs, Version
from tests.clock import Stuck, play
from tests.fakes import POISON, TWICE, FakeModel, Poisoned, a_call

PATIENCE_S = 30.0  # how long a test waits for a thread before it calls it hung
CANDIDATE = Version("twice", "2", TWICE.signature)
SOON = Policy(gather_s=0.0, retry_s=0.0, duty_ratio=1.0, held_ratio=1.0)
HOUR_S = 3600.0
MIB = 1 << 20


class Heard:
    """Counts what a mirror tells, and lets a scene wait for it."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.rows: Counter[int] = Counter()
        self.worst: list[Disagreement] = []
        self.executing = 0
        self.ran: list[int | None] = []  # rows by execution
        self._news = asyncio.Event()

    def shadowed(self, outcome: Outcome, calls: int) -> None:
        self.outcomes[outcome] += calls
        self._news.set()

    def disagreed(self, output: int, rows: int) -> None:
        self.rows[output] += rows

    def begin(self) -> None:
        self.executing += 1

    def finish(
        self, calls: Sequence[Call], outputs: Outputs | None, started: float, ended: float
    ) -> None:
        self.executing -= 1
        assert all(call.is_part and not call.done for call in calls), "these are no requests"
        self.ran.append(None if outputs is None else sum(call.rows for call in calls))

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    async def until_counted(self, calls: int) -> None:
        await self.until(lambda: self.outcomes.total() >= calls)


class Gate:
    """A shadow that hangs until it is let go, and says when it was asked."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()

    def execute(self, calls: Sequence[Call]) -> Outputs:
        self.entered.set()
        assert self.let_go.wait(PATIENCE_S)
        return FakeModel().execute(calls)

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE_S)


def always() -> bool:
    return True


def mirror(
    heard: Heard,
    execute: Execute | None = None,
    policy: Policy = SOON,
    sample_ratio: float = 1.0,
    **others: Any,
) -> Mirror:
    return Mirror(
        Shadow("new", "2", sample_ratio),
        CANDIDATE,
        execute or FakeModel().execute,
        heard,
        heard.worst.append,
        policy,
        **{"is_spare": always, **others},
    )


def told(*rows: float, wrong: bool = False) -> Call:
    """Return an answered call; the primary doubles, as the fake model does, or is wrong."""
    call = a_call(*rows)
    outputs = FakeModel().execute([call]).arrays[0] + np.float32(wrong)
    call.answer(Outputs([outputs], 1), 0, len(rows))
    return call


def raises(calls: Sequence[Call]) -> Outputs:
    raise Poisoned("nan")


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "mirror"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert threads() == []


def run(scene: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(scene())


def test_each_call_is_counted_once_as_it_turned_out() -> None:
    async def scene() -> tuple[Counter[str], Counter[int], list[str]]:
        heard = Heard()
        async with mirror(heard) as one:
            for call in (told(1), told(2, 3, wrong=True), told(4)):
                one.offer(call)
            await heard.until_counted(3)
        return heard.outcomes, heard.rows, [worst.output for worst in heard.worst]

    assert run(scene) == ({"agreed": 2, "disagreed": 1}, {0: 2}, ["y"])


def test_what_the_primary_has_not_answered_well_is_no_evidence() -> None:
    async def scene() -> Counter[str]:
        heard = Heard()
        async with mirror(heard) as one:
            refused, left, late = a_call(1), a_call(2), a_call(3)
            refused.fail(Overloaded("no room"))
            for call in (refused, left, late, told(4)):
                one.offer(call)
            left.fail(ClientGone("connection closed"))
            await heard.until_counted(1)
            outputs = FakeModel().execute([late])
            late.answer(outputs, 0, 1)
            await heard.until_counted(2)
            assert one.statistics().waiting == 0
        return heard.outcomes

    assert run(scene) == {"agreed": 2}


def test_a_call_that_is_not_answered_yet_is_looked_for_again() -> None:
    """And when nothing waits any longer, because its caller left, nobody looks."""

    async def scene() -> None:
        async with mirror(Heard(), policy=Policy(gather_s=1.0)) as one:
            call = a_call(1)
            one.offer(call)
            await asyncio.sleep(3.5)
            assert one.statistics().waiting == 1
            call.fail(ClientGone("connection closed"))
            await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        play(scene)


def test_where_all_disagree_none_agrees() -> None:
    async def scene() -> Counter[str]:
        heard = Heard()
        async with mirror(heard) as one:
            one.offer(told(1, wrong=True))
            await heard.until_counted(1)
        return heard.outcomes

    assert run(scene) == {"disagreed": 1}


@pytest.mark.parametrize(
    ("sample_ratio", "draws", "expected"),
    [(0.5, [0.0, 0.49, 0.5, 0.99], [True, True, False, False]), (0.0, [0.0], [False])],
)
def test_a_share_of_the_calls_is_drawn(
    sample_ratio: float, draws: list[float], expected: list[bool]
) -> None:
    async def scene() -> list[bool]:
        heard, drawn = Heard(), iter(draws)
        policy = Policy(gather_s=HOUR_S)
        one = mirror(heard, None, policy, sample_ratio, draw=lambda: next(drawn))
        waits = []
        async with one:
            for at in range(len(draws)):
                before = one.statistics().waiting
                one.offer(told(at))
                waits.append(one.statistics().waiting > before)
        return waits

    assert play(scene) == expected


def test_where_all_are_asked_nothing_is_drawn() -> None:
    def refuse() -> float:
        raise AssertionError("nobody asked for a number")

    async def scene() -> Counter[str]:
        heard = Heard()
        async with mirror(heard, draw=refuse) as one:
            one.offer(told(1))
            await heard.until_counted(1)
        return heard.outcomes

    assert run(scene) == {"agreed": 1}


def test_calls_gather_and_the_oldest_make_room() -> None:
    async def scene() -> tuple[Counter[str], Statistics]:
        heard = Heard()
        async with mirror(heard, policy=Policy(gather_s=HOUR_S, max_waiting=2)) as one:
            for row in range(5):
                one.offer(told(row))
            return Counter(heard.outcomes), one.statistics()

    outcomes, statistics = play(scene)
    assert outcomes == {"dropped": 3}
    assert statistics == Statistics(2, 8, 0, 0, "")


def test_what_waits_is_bounded_in_bytes() -> None:
    async def scene() -> Counter[str]:
        heard = Heard()
        async with mirror(heard, policy=Policy(gather_s=HOUR_S, max_waiting_bytes=8)) as one:
            for row in range(5):
                one.offer(told(row))
            return Counter(heard.outcomes)

    assert play(scene) == {"dropped": 3}


def answer_large(call: Call) -> None:
    """Answer with a mebibyte, which none of its mates shares."""
    call.answer(Outputs([np.zeros((1, MIB // 4), "<f4")], 1), 0, 1)


def test_answers_are_weighed_while_there_is_nothing_to_spare() -> None:
    async def scene() -> tuple[Counter[str], Statistics]:
        heard, calls = Heard(), [a_call(row) for row in range(100)]
        policy = Policy(max_waiting_bytes=8 * MIB)
        async with mirror(heard, policy=policy, is_spare=lambda: False) as one:
            for call in calls:
                one.offer(call)
            assert one.statistics().waiting_bytes == 100 * 4
            for call in calls:
                answer_large(call)
            await asyncio.sleep(0.1)
            return Counter(heard.outcomes), one.statistics()

    outcomes, statistics = play(scene)
    assert outcomes == {"dropped": 93}
    assert (statistics.waiting, statistics.waiting_bytes) == (7, 7 * (MIB + 4))


def test_answers_are_weighed_while_a_shadow_hangs() -> None:
    async def scene() -> Statistics:
        heard, gate = Heard(), Gate()
        policy = replace(SOON, max_waiting_bytes=8 * MIB, weigh_s=0.0)
        async with mirror(heard, gate.execute, policy) as one:
            early, *calls = [a_call(row) for row in range(101)]
            for call in (told(0), early):
                one.offer(call)
            await gate.until_entered()
            for call in calls:
                one.offer(call)
            await asyncio.sleep(0)  # somebody has looked, and will again
            for call in (early, *calls):
                answer_large(call)
            await heard.until_counted(94)
            statistics = one.statistics()
            gate.let_go.set()
        return statistics

    statistics = run(scene)
    assert (statistics.waiting, statistics.waiting_bytes) == (7, 7 * (MIB + 4))


def test_answers_are_weighed_while_a_thread_rests() -> None:
    async def scene() -> Statistics:
        heard, calls = Heard(), [a_call(row) for row in range(10)]
        policy = replace(SOON, duty_ratio=1e-9, max_waiting_bytes=8 * MIB, weigh_s=0.0)
        async with mirror(heard, policy=policy) as one:
            one.offer(told(0))
            await heard.until_counted(1)
            for call in calls:
                one.offer(call)
            for call in calls:
                answer_large(call)
            await heard.until_counted(4)
            return one.statistics()

    statistics = run(scene)
    assert (statistics.waiting, statistics.executions) == (7, 1)


def test_who_hangs_with_everything_weighed_is_looked_after_no_more() -> None:
    async def scene() -> list[float]:
        heard, gate = Heard(), Gate()
        loop = asyncio.get_running_loop()
        armed: list[float] = []
        later = loop.call_later

        def listens(delay_s: float, *rest: Any, **others: Any) -> asyncio.TimerHandle:
            armed.append(delay_s)
            return later(0.0, *rest, **others)

        async with mirror(heard, gate.execute, replace(SOON, weigh_s=5.0)) as one:
            one.offer(told(0))
            await gate.until_entered()
            loop.call_later = listens  # type: ignore[method-assign, assignment]  # to hear what is armed
            late = a_call(1)
            one.offer(late)
            for _ in range(10):
                await asyncio.sleep(0)
            late.answer(FakeModel().execute([late]), 0, 1)
            for _ in range(10):
                await asyncio.sleep(0)
            before = len(armed)
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(armed) == before
            gate.let_go.set()
            await heard.until_counted(2)
        return armed

    assert 5.0 in run(scene)


def test_nothing_is_asked_while_there_is_nothing_to_spare() -> None:
    """And whether there is, is looked at once a turn, not once a call."""
    looks: list[float] = []

    async def scene() -> Counter[str]:
        heard = Heard()
        loop = asyncio.get_running_loop()

        def never() -> bool:
            looks.append(loop.time())
            return False

        async with mirror(heard, policy=Policy(gather_s=2.0, retry_s=1.0), is_spare=never) as one:
            for row in range(5):
                one.offer(told(row))
            await asyncio.sleep(5.5)
            return Counter(heard.outcomes)

    assert play(scene) == {}
    assert looks == [2.0, 3.0, 4.0, 5.0]


def test_room_to_spare_is_looked_for_at_the_end_of_a_tick() -> None:
    """What was read in this tick is on its way to an executor, and would look like a queue."""
    seen: list[str] = []

    async def scene() -> None:
        heard = Heard()
        loop = asyncio.get_running_loop()

        def look() -> bool:
            seen.append("looked")
            return False

        async with mirror(heard, policy=Policy(gather_s=1.0, retry_s=HOUR_S), is_spare=look) as one:
            one.offer(told(1))
            loop.call_later(1.0, lambda: loop.call_soon(seen.append, "pumped"))
            await asyncio.sleep(2.0)

    play(scene)
    assert sorted(seen) == ["looked", "pumped"]


def test_without_anything_that_waits_there_is_no_timer() -> None:
    async def scene() -> None:
        async with mirror(Heard()):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        play(scene)


def test_a_thread_that_ran_rests_as_long_again() -> None:
    """By a clock that every look moves on by a second: an execution takes one."""
    now = iter(range(1000))
    delays: list[float] = []

    async def scene() -> None:
        heard = Heard()
        loop = asyncio.get_running_loop()
        later = loop.call_later

        def listens(delay_s: float, *rest: Any, **others: Any) -> asyncio.TimerHandle:
            delays.append(delay_s)
            return later(min(delay_s, 0.0), *rest, **others)

        policy = Policy(gather_s=0.0, weigh_s=HOUR_S, duty_ratio=0.25, held_ratio=1.0)
        async with mirror(heard, policy=policy, clock=lambda: float(next(now))) as one:
            one.offer(told(1))
            await heard.until_counted(1)
            loop.call_later = listens  # type: ignore[method-assign, assignment]  # to hear what is armed
            one.offer(told(2))
            await heard.until_counted(2)

    run(scene)
    assert delays[0] == 2.0  # three for the one it took, of which one has gone by


def test_what_keeps_the_interpreter_from_the_loop_rests_longer_than_what_only_runs() -> None:
    delays: list[float] = []
    now = iter(range(1000))

    def runs(calls: Sequence[Call]) -> Outputs:
        outputs = FakeModel().execute(calls)
        outputs.infer_ns = 900_000_000  # of the one second that the clock says it took
        return outputs

    async def scene() -> None:
        heard = Heard()
        loop = asyncio.get_running_loop()
        later = loop.call_later

        def listens(delay_s: float, *rest: Any, **others: Any) -> asyncio.TimerHandle:
            delays.append(delay_s)
            return later(min(delay_s, 0.0), *rest, **others)

        policy = Policy(gather_s=0.0, weigh_s=HOUR_S, duty_ratio=0.5, held_ratio=0.01)
        async with mirror(heard, runs, policy=policy, clock=lambda: float(next(now))) as one:
            one.offer(told(1))
            await heard.until_counted(1)
            loop.call_later = listens  # type: ignore[method-assign, assignment]  # to hear what is armed
            one.offer(told(2))
            await heard.until_counted(2)

    run(scene)
    assert delays[0] == pytest.approx(0.1 * 99 - 1)


def test_executions_are_told_with_their_rows_and_are_nobodys_requests() -> None:
    async def scene() -> Heard:
        heard = Heard()
        async with mirror(heard, policy=replace(SOON, max_rows=2)) as one:
            one.offer(told(1))
            assert heard.executing == 0
            await heard.until_counted(1)
            call = a_call(1, 2, 3)
            call.answer(FakeModel().execute([call]), 0, 3)
            one.offer(call)
            await heard.until_counted(2)
        return heard

    heard = run(scene)
    assert (heard.ran, heard.executing) == ([1, 2, 1], 0)


def test_an_execution_that_hangs_or_fails_ends_in_the_counts_too() -> None:
    async def scene() -> tuple[Heard, Heard]:
        failing, hanging, gate = Heard(), Heard(), Gate()
        async with mirror(failing, raises) as one:
            one.offer(told(1))
            await failing.until_counted(1)
        async with mirror(hanging, gate.execute, policy=replace(SOON, close_s=0.0)) as one:
            one.offer(told(1))
            await gate.until_entered()
            assert hanging.executing == 1
        (thread,) = threads()
        gate.let_go.set()
        thread.join(PATIENCE_S)
        return failing, hanging

    for heard in run(scene):
        assert (heard.ran, heard.executing) == ([None], 0)


def test_a_mirror_that_had_more_than_it_could_hold_dozes_away_its_rest() -> None:
    now = iter(range(100_000))

    async def scene() -> tuple[list[int], Counter[str]]:
        heard, sizes = Heard(), []
        policy = Policy(gather_s=0.0, max_waiting=2, duty_ratio=1e-6, held_ratio=1e-6)
        async with mirror(heard, policy=policy, clock=lambda: float(next(now))) as one:
            for row in range(5):
                one.offer(told(row))  # three more than there is room for
            await heard.until_counted(5)
            for row in range(4):
                one.offer(told(row))
                sizes.append(one.statistics().waiting)
        return sizes, heard.outcomes

    sizes, outcomes = run(scene)
    assert sizes == [0, 0, 0, 0]
    assert outcomes == {"agreed": 2, "dropped": 3 + 4}


def test_a_mirror_that_could_hold_all_holds_on_while_it_rests() -> None:
    now = iter(range(100_000))

    async def scene() -> int:
        heard = Heard()
        policy = Policy(gather_s=0.0, max_waiting=2, duty_ratio=1e-6, held_ratio=1e-6)
        async with mirror(heard, policy=policy, clock=lambda: float(next(now))) as one:
            one.offer(told(1))
            await heard.until_counted(1)
            one.offer(told(2))
            return one.statistics().waiting

    assert run(scene) == 1


def test_while_there_is_nothing_to_spare_a_full_queue_stays_as_it_is() -> None:
    spare = False

    async def scene() -> tuple[list[int], Counter[str], list[int | None]]:
        nonlocal spare
        heard, sizes = Heard(), []
        policy = replace(SOON, max_waiting=2)
        async with mirror(heard, policy=policy, is_spare=lambda: spare) as one:
            for row in range(5):
                one.offer(told(row))
            for _ in range(20):  # looks go by
                await asyncio.sleep(0)
                one.offer(told(9))
                sizes.append(one.statistics().waiting)
            spare = True
            await heard.until(lambda: heard.outcomes["agreed"] == 2)
        return sizes, heard.outcomes, heard.ran

    sizes, outcomes, ran = run(scene)
    assert sizes == [2] * 20
    assert outcomes == {"agreed": 2, "dropped": 3 + 20}
    assert ran == [2]


def test_when_all_that_is_held_fails_while_there_is_nothing_to_spare_others_are_asked() -> None:
    spare = False

    async def looks_go_by() -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def scene() -> Counter[str]:
        nonlocal spare
        heard, policy = Heard(), replace(SOON, max_waiting=2)
        async with mirror(heard, policy=policy, is_spare=lambda: spare) as one:
            calls = [a_call(row) for row in range(3)]
            for call in calls:
                one.offer(call)
            await looks_go_by()
            for call in calls:
                call.fail(ClientGone("connection closed"))
            await looks_go_by()
            assert one.statistics().waiting == 0
            spare = True
            one.offer(told(9))
            await heard.until(lambda: heard.outcomes["agreed"] == 1)
        return heard.outcomes

    assert run(scene) == {"agreed": 1, "dropped": 1}


def test_a_mirror_that_dozed_wakes_and_asks_again() -> None:
    async def scene() -> Counter[str]:
        heard = Heard()
        policy = Policy(gather_s=0.0, max_waiting=2, duty_ratio=0.5, held_ratio=0.5)
        async with mirror(heard, policy=policy) as one:
            for row in range(5):
                one.offer(told(row))
            await heard.until(lambda: heard.outcomes["agreed"] == 2)
            while heard.outcomes["agreed"] == 2:
                one.offer(told(1))
                await asyncio.sleep(0)
        return heard.outcomes

    assert run(scene)["agreed"] > 2


def test_a_shadow_that_fails_for_ever_is_counted_and_never_felt() -> None:
    async def scene() -> tuple[Counter[str], Statistics]:
        heard = Heard()
        async with mirror(heard, raises) as one:
            for row in range(20):
                call = told(row)
                one.offer(call)
                await heard.until_counted(row + 1)
                assert call.error is None
            return heard.outcomes, one.statistics()

    outcomes, statistics = run(scene)
    assert outcomes == {"failed": 20}
    assert statistics == Statistics(0, 0, 0, 20, "Poisoned: nan")


def test_a_shadow_that_cannot_be_asked_fails() -> None:
    other = Version("twice", "2", TWICE.signature)

    async def scene() -> Counter[str]:
        heard = Heard()
        call = a_call(POISON)
        call.arm = Arm(other)
        call.answer(Outputs([np.zeros((1, 1, 1))], 1), 0, 1)
        async with mirror(heard) as one:
            one.offer(call)
            await heard.until_counted(1)
        return heard.outcomes

    assert run(scene) == {"failed": 1}


def test_while_a_shadow_hangs_everything_after_is_dropped_and_counted() -> None:
    async def scene() -> tuple[Counter[str], Counter[str], Statistics]:
        heard, gate = Heard(), Gate()
        policy = Policy(gather_s=0.0, duty_ratio=1.0, held_ratio=1.0, max_waiting=3, close_s=0.0)
        async with mirror(heard, gate.execute, policy) as one:
            one.offer(told(0))
            await gate.until_entered()
            for row in range(10):
                one.offer(told(row))
            hung, statistics = Counter(heard.outcomes), one.statistics()
        closed = Counter(heard.outcomes)
        (thread,) = threads()
        gate.let_go.set()
        thread.join(PATIENCE_S)
        await asyncio.sleep(0)  # its late word arrives, and is not heard
        assert heard.outcomes == closed
        return hung, closed, statistics

    hung, closed, statistics = run(scene)
    assert hung == {"dropped": 7}
    assert closed == {"dropped": 11}
    assert (statistics.waiting, statistics.running) == (3, 1)


def test_a_shadow_that_comes_back_goes_on_with_the_latest() -> None:
    async def scene() -> Counter[str]:
        heard, gate = Heard(), Gate()
        policy = Policy(gather_s=0.0, duty_ratio=1.0, held_ratio=1.0, max_waiting=3)
        async with mirror(heard, gate.execute, policy) as one:
            one.offer(told(0))
            await gate.until_entered()
            for row in range(10):
                one.offer(told(row))
            gate.let_go.set()
            await heard.until_counted(11)
        return heard.outcomes

    assert run(scene) == {"dropped": 7, "agreed": 4}


def test_closing_waits_for_what_runs_and_drops_what_waits() -> None:
    async def scene() -> tuple[Counter[str], list[threading.Thread]]:
        heard, gate = Heard(), Gate()
        async with mirror(heard, gate.execute) as one:
            one.offer(told(1))
            await gate.until_entered()
            one.offer(told(2))
            gate.let_go.set()
        one.offer(told(3))  # by a call that was on its way
        return heard.outcomes, threads()

    assert run(scene) == ({"agreed": 1, "dropped": 2}, [])


def test_closing_between_the_ring_and_the_look_asks_nothing() -> None:
    async def scene() -> Counter[str]:
        heard = Heard()
        async with mirror(heard, policy=Policy(gather_s=1.0)) as one:
            loop = asyncio.get_running_loop()
            rung = loop.create_future()
            loop.call_later(1.0, rung.set_result, None)  # first, and so heard before the look
            one.offer(told(1))
            await rung
        await asyncio.sleep(1.0)
        return heard.outcomes

    assert play(scene) == {"dropped": 1}


def test_no_thread_is_started_before_there_is_something_to_ask() -> None:
    async def scene() -> list[threading.Thread]:
        async with mirror(Heard(), policy=Policy(gather_s=HOUR_S)) as one:
            one.offer(told(1))
            return threads()

    assert run(scene) == []


def test_a_thread_begins_as_it_is_told() -> None:
    began: list[str] = []

    async def scene() -> None:
        heard = Heard()
        begin = lambda: began.append(threading.current_thread().name)
        async with mirror(heard, begin=begin) as one:
            for calls in (1, 2):
                one.offer(told(calls))
                await heard.until_counted(calls)

    run(scene)
    assert began == ["mirror"]


def test_a_thread_that_outlives_its_loop_ends_quietly() -> None:
    gate = Gate()

    @asynccontextmanager
    async def left_open() -> Any:
        one = mirror(Heard(), gate.execute)
        yield await one.__aenter__()

    async def scene() -> None:
        async with left_open() as one:
            one.offer(told(1))
            await gate.until_entered()

    run(scene)
    (thread,) = threads()
    assert thread.daemon
    gate.let_go.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
