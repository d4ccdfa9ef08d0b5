"""Who may wait for a version: by rows, bytes, time, and how the queue stands."""

import asyncio
import math
from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, integers

from gateway.batch.admission import Admission, Timed
from gateway.batch.batcher import Batcher
from gateway.batch.line import Line
from gateway.batch.turns import Turns
from gateway.core.batching import Policy
from gateway.core.costs import Cost
from gateway.core.limiting import Bounds, Pace
from gateway.errors import DeadlineExceeded, GatewayError, Overloaded
from gateway.types import Call, Outputs
from tests.clock import play
from tests.fakes import FakeModel, a_call, a_record, now, untold

SLOW = Cost(0.01, 0.0)  # 10 ms a row


def admission(bounds: Bounds | None = None, cost: Cost = SLOW, max_rows: int = 1) -> Admission:
    return Admission(bounds or Bounds(), Pace(cost, max_rows), lambda: 0.0)


def a_line(rows: int = 0, size_bytes: int = 0) -> Line:
    line = Line()
    line.rows, line.size_bytes = rows, size_bytes
    return line


def waiting(rows: int, deadline: float = 99.0) -> Line:
    """A line with so many calls in its backlog."""
    line = a_line(rows)
    line.arrived.extend(a_call(1, deadline=deadline) for _ in range(rows))
    line.settle(1, untold)
    return line


def refusal(
    one: Admission, call: Call, line: Line | None = None, *, is_busy: bool = True
) -> GatewayError | None:
    return one.refuse(call, line or a_line(), is_busy, call.arrived)


def overloaded(one: Admission, rows: int = 1000) -> Line:
    """A line that has stood too long."""
    line = a_line(rows)
    for at in (0.0, 0.05, 0.1):
        one.began([a_call(1, arrived=at, deadline=at + 1)], line, at)
    assert one.is_overload
    return line


def shed(error: GatewayError | None) -> str | None:
    assert error is not None
    return error.shed


# hard bounds


def test_rows_and_bytes_have_a_bound_though_nothing_is_known_of_the_model() -> None:
    one = Admission(Bounds(max_rows=3, max_bytes=100))
    call = a_call(1)
    call.size_bytes = 10
    line = a_line(2, 90)
    assert refusal(one, call, line) is None
    line.rows, line.size_bytes = 0, 91
    assert shed(refusal(one, call, line)) == "bytes"
    assert shed(refusal(one, call, a_line(3, 0))) == "rows"


def test_the_bound_is_of_all_lines_of_a_version_together() -> None:
    one, canary, stable = admission(Bounds(max_rows=5)), a_line(3), a_line(2)
    room = one.room()
    one.look(canary, room, is_busy=True)
    assert room.rows == 5
    one.look(stable, room, is_busy=True)
    assert room.rows == 2, "the others' rows are no room of its own"
    assert shed(refusal(one, a_call(1), stable)) == "rows"
    one.leave(canary)
    assert refusal(one, a_call(1), stable) is None


def test_bytes_are_bounded_over_all_lines_of_a_version_too() -> None:
    one, canary, stable = admission(Bounds(max_bytes=100)), a_line(1, 60), a_line(1, 30)
    room, call = one.room(), a_call(1)
    call.size_bytes = 11
    one.look(canary, room, is_busy=True)
    assert room.size_bytes == 100
    one.look(stable, room, is_busy=True)
    assert room.size_bytes == 40, "the others' bytes are no room of its own"
    assert shed(refusal(one, call, stable)) == "bytes"
    one.leave(canary)
    assert refusal(one, call, stable) is None
    one.look(stable, room, is_busy=True)
    assert room.size_bytes == 100


def test_arms_of_a_version_share_its_bytes_but_for_what_came_since_one_looked() -> None:
    async def scene() -> list[object]:
        one = Admission(Bounds(max_bytes=100))
        model, turns = FakeModel(1.0), Turns(1)
        policy, record = Policy(max_rows=1), a_record()
        make = partial(Batcher, turns.counted(model.run), policy, record, now, None, turns, one)
        calls = [a_call(float(at), deadline=99) for at in range(8)]
        async with make() as stable, make() as canary:
            for at, call in enumerate(calls):
                call.size_bytes = 30
                (canary if at % 2 else stable).offer(call)
                await asyncio.sleep(0.01)
        return [getattr(call.error, "shed", None) for call in calls]

    one_runs, fit, came_meanwhile = [None], [None] * 3, [None]
    assert play(scene) == [*one_runs, *fit, *came_meanwhile, *["bytes"] * 3]


def test_who_is_refused_hears_when_the_queue_will_have_left() -> None:
    error = refusal(admission(Bounds(max_rows=400)), a_call(1), a_line(400))
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == pytest.approx(4.0)


# deadlines


def test_a_call_that_could_not_be_in_time_is_refused_at_once() -> None:
    one = admission()
    line = waiting(10, 1.0)
    error = refusal(one, a_call(1, arrived=1.0, deadline=1.05), line)
    assert isinstance(error, DeadlineExceeded)
    assert (error.stage, error.shed) == ("admission", "deadline")
    assert "leaves 50 ms, and model 'twice' version 1 would take about 116 ms" in str(error)
    assert refusal(one, a_call(1, arrived=1.0, deadline=1.2), line) is None


def test_where_nothing_runs_or_waits_every_call_is_let_in() -> None:
    one = admission()
    assert refusal(one, a_call(1, deadline=0.001), is_busy=False) is None
    assert refusal(one, a_call(1, deadline=0.001)) is not None


def test_who_would_leave_before_those_that_wait_is_not_refused_for_them() -> None:
    one, line = admission(), waiting(50)
    assert refusal(one, a_call(1, deadline=0.1), line) is None
    assert refusal(one, a_call(1, deadline=0.1, priority=1), line) is not None


@given(rows=integers(1, 8), is_busy=booleans())
def test_whoever_is_let_in_at_the_edge_would_not_be_cut_as_late(rows: int, is_busy: bool) -> None:
    one, line = admission(max_rows=8), a_line()
    one.began([a_call(1, deadline=9)], line, 1.0)
    if not is_busy:
        line = waiting(1)  # in less of a hurry
    soonest = 1.0
    call = a_call(*[1.0] * rows, arrived=1.0, deadline=soonest)
    while refusal(one, call, line, is_busy=is_busy) is not None:
        soonest += 1e-4
        call = a_call(*[1.0] * rows, arrived=1.0, deadline=soonest)
    starts_at = 1.0 + (Pace(SLOW, 8).full_s / 2 if is_busy else 0.0)
    assert one.soon(rows, starts_at) <= soonest + 1e-9


def test_a_large_call_takes_the_time_of_all_its_executions() -> None:
    one = admission(max_rows=2)
    assert refusal(one, a_call(*[1.0] * 10, deadline=0.05)) is not None
    assert refusal(one, a_call(*[1.0] * 10, deadline=0.2)) is None


def test_a_batch_is_run_on_trial_where_there_was_none_for_long() -> None:
    one = admission()
    one.began([a_call(1, deadline=9)], a_line(), 1.0)
    assert one.soon(1, 1.01) == pytest.approx(1.021)
    assert one.soon(1, 1.5) == 1.5
    assert Admission(Bounds()).soon(1, 3.0) == 3.0


def test_the_pace_is_learned_while_something_waits() -> None:
    one = admission()
    timed = Timed(a_record(), one)
    timed.begin()
    timed.finish([a_call(1)], Outputs([], 1), 0.0, 0.02)
    assert one.soon(1, -math.inf) == -math.inf
    one.began([a_call(1, deadline=9)], a_line(), 0.0)
    for _ in range(80):
        timed.begin()
        timed.finish([a_call(1)], Outputs([], 1), 0.0, 0.02)
        timed.begin()
        timed.finish([a_call(1)], None, 0.0, 99.0)  # what failed says nothing of it
    assert one.soon(1, 0.0) == pytest.approx(0.022, rel=0.05)


# overload


def test_under_overload_no_more_may_wait_than_runs_within_the_target() -> None:
    one = admission()
    line = overloaded(one)
    line.rows = 5
    assert refusal(one, a_call(1, priority=2, deadline=9), line) is None
    line.rows = 999
    assert shed(refusal(one, a_call(1, priority=2, deadline=9), line)) == "limit"


def test_under_overload_lower_priorities_go_first() -> None:
    one = admission()
    line = overloaded(one)
    line.rows = 60
    fates = [refusal(one, a_call(1, priority=level, deadline=9), line) for level in (1, 2, 3, 4)]
    assert [fate and fate.shed for fate in fates] == [None, None, "priority", "priority"]


def test_what_may_join_unasked_is_what_the_lowest_priority_may() -> None:
    one = admission()
    room, line = one.room(), overloaded(one)
    line.rows = 0
    one.look(line, room, is_busy=True)
    most = room.rows
    line.rows = most
    assert refusal(one, a_call(priority=4, deadline=9), line) is None
    assert shed(refusal(one, a_call(1, priority=4, deadline=9), line)) == "priority"


@given(
    own=integers(0, 70),
    others=integers(0, 70),
    rows=integers(1, 12),
    priority=integers(1, 4),
    is_busy=booleans(),
    is_strained=booleans(),
    max_rows=integers(1, 8),
)
def test_nobody_who_may_join_unasked_would_be_refused_if_he_asked(
    own: int, others: int, rows: int, priority: int, is_busy: bool, is_strained: bool, max_rows: int
) -> None:
    one = admission(Bounds(max_rows=100, max_bytes=800), max_rows=max_rows)
    if is_strained:
        one.leave(overloaded(one))
    line, other, room = waiting(own), a_line(others, 10 * others), one.room()
    line.size_bytes = 10 * own
    one.look(other, room, is_busy)
    one.look(line, room, is_busy)
    soonest = 1.0 + room.lag_s + (own + rows) * room.row_s
    call = a_call(*[1.0] * rows, arrived=1.0, deadline=soonest + 1e-9, priority=priority)
    call.size_bytes = 10 * rows
    if own + rows <= room.rows and line.size_bytes + call.size_bytes <= room.size_bytes:
        assert refusal(one, call, line, is_busy=is_busy) is None


def test_what_waits_too_long_under_overload_is_stale() -> None:
    one = admission()
    assert one.stale_at(0.0) == -math.inf
    overloaded(one)
    assert -4.0 < one.stale_at(0.0) < -0.02
    assert shed(one.stale(a_call(1))) == "sojourn"


def test_a_line_that_fits_into_one_execution_ends_the_strain() -> None:
    one = admission()
    line, seen = a_line(3), [one.is_strained]
    one.began([a_call(1, deadline=9)], line, 0.0)
    seen.append(one.is_strained)
    line.rows = 0
    one.relax([a_call(1, deadline=9)], line, 0.2)
    assert [*seen, one.is_strained] == [False, True, False]


# all of it together, in virtual time


class Storm:
    """Poisson arrivals for a model that runs 8 rows in 8 ms; all give the same time."""

    COST = Cost(0.0005, 0.004)
    ROWS = 8

    def __init__(self, times: float, budget_s: float, seconds: float) -> None:
        self.saturated = self.ROWS / self.COST.of(self.ROWS)
        self.times, self.budget_s, self.seconds = times, budget_s, seconds
        self.heard: list[tuple[float, Call]] = []
        self.model = FakeModel(self.COST.of)
        self.asked = 0

    async def blow(self) -> None:
        """Ask `times` as much as can be answered, then half as much for a third of the time."""
        dice = Random(7)
        one = Admission(Bounds(), Pace(self.COST, self.ROWS), dice.random)
        policy, record = Policy(max_rows=self.ROWS), a_record()
        async with Batcher(self.model.run, policy, record, now, admission=one) as batcher:
            at = 0.0
            while at < self.seconds * 4 / 3:
                times = self.times if at < self.seconds else 0.5
                at += dice.expovariate(self.saturated * times)
                await asyncio.sleep(max(0.0, at - now()))
                self.asked += 1
                batcher.offer(
                    a_call(
                        1.0,
                        arrived=now(),
                        deadline=now() + self.budget_s,
                        priority=2,
                        on_done=lambda call: self.heard.append((now(), call)),
                    )
                )

    def good(self, since: float, until: float) -> list[float]:
        """Return how long those waited that arrived in between and were answered."""
        return [
            at - call.arrived
            for at, call in self.heard
            if call.error is None and since <= call.arrived < until
        ]


@pytest.mark.parametrize("times", [2, 10])
@pytest.mark.parametrize("budget_s", [0.05, 0.2, 10.0])
def test_a_storm_costs_those_who_are_let_in_nothing(times: int, budget_s: float) -> None:
    """Counted in virtual time, where the machine's noise is none."""
    storm = Storm(times, budget_s, seconds=3.0)
    play(storm.blow)
    assert len(storm.heard) == storm.asked
    assert len({id(call) for _, call in storm.heard}) == storm.asked
    during = storm.good(1.0, 3.0)
    assert len(during) >= 0.95 * 2.0 * storm.saturated
    assert max(during) <= budget_s + 1e-9
    ran = sum(len(batch) for batch in storm.model.batches)
    assert ran == len(storm.good(0.0, 99.0)), "what was run was run for nobody"
    after = [call.error for _, call in storm.heard if call.arrived > 3.5]
    assert after
    assert not any(after), "the storm is over, and somebody still suffers from it"


def test_a_caller_in_too_great_haste_makes_no_overload_last() -> None:
    one = admission()
    line = overloaded(one)
    line.rows = 0
    for tick in range(20, 60):
        at = tick / 100
        one.began([a_call(1, arrived=at, deadline=at + 1)], line, at)
        hasty = a_call(1, arrived=at, deadline=at + 0.001)
        assert one.refuse(hasty, line, True, at) is not None
    assert not one.is_overload


def test_what_was_counted_of_a_line_that_left_at_once_is_forgotten() -> None:
    async def scene() -> list[int]:
        one = admission(max_rows=64)
        model = FakeModel()
        async with Batcher(model.run, Policy(), a_record(), now, admission=one) as batcher:
            for _ in range(60):
                batcher.offer(a_call(1))
            one.refuse(a_call(1, deadline=0.001), batcher._line, True, 0.0)  # noqa: SLF001 - counts it
            seen = [one.rows]
            await asyncio.sleep(0)
            return [*seen, one.rows]

    assert play(scene) == [60, 0]
