"""In which order calls leave, and which do not leave to be run."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.queues import Queue, Stack
from gateway.errors import ClientGone
from gateway.types import Call
from tests.fakes import a_call, rows_of

Either = Queue | Stack


def filled(*calls: Call) -> Queue:
    queue = Queue()
    for call in calls:
        queue.push(call)
    return queue


def left(call: Call) -> Call:
    """Return the call of a client who has gone."""
    call.fail(ClientGone("connection closed"))
    return call


def cut(queue: Either, max_rows: int, now: float = 0.0) -> list[list[float]]:
    """Return the rows of each call that leaves."""
    return [rows_of(call) for call in queue.cut(max_rows, now).live]


def test_what_fits_leaves_at_once_in_the_order_of_arrival() -> None:
    queue = filled(a_call(1), a_call(2, priority=-1), a_call(3, deadline=5))
    assert cut(queue, 3) == [[1], [2], [3]]
    assert queue.rows == 0
    assert cut(queue, 3) == []


def test_rows_are_counted_not_calls() -> None:
    queue = filled(a_call(1, 2, 3), a_call(4, 5), a_call(6))
    assert cut(queue, 5) == [[1, 2, 3], [4, 5]]
    assert queue.rows == 1


def test_a_backlog_leaves_by_priority_then_deadline_then_arrival() -> None:
    queue = filled(
        a_call(1, priority=1, deadline=5),
        a_call(2, deadline=9),
        a_call(3),
        a_call(4),
        a_call(5, deadline=7),
        a_call(6, priority=-1),
    )
    assert [cut(queue, 2) for _ in range(3)] == [[[6], [5]], [[2], [3]], [[4], [1]]]


def test_a_late_arrival_may_overtake_a_backlog() -> None:
    queue = filled(a_call(1), a_call(2), a_call(3))
    assert cut(queue, 1) == [[1]]
    queue.push(a_call(4, priority=-1))
    assert cut(queue, 2) == [[4], [2]]


def test_a_call_that_does_not_fit_is_not_overtaken_by_a_smaller_one() -> None:
    queue = filled(a_call(1, 2), a_call(3, 4, 5), a_call(6))
    assert cut(queue, 4) == [[1, 2]]
    assert cut(queue, 4) == [[3, 4, 5], [6]]


def test_a_call_larger_than_the_maximum_leaves_alone() -> None:
    """It was let in under another maximum: leaving it in the queue would block all the rest."""
    queue = filled(a_call(1, 2, 3), a_call(4))
    assert cut(queue, 2) == [[1, 2, 3]]
    assert cut(queue, 2) == [[4]]


@pytest.mark.parametrize("max_rows", [1, 64])
def test_an_expired_call_is_given_back_apart_and_takes_no_room(max_rows: int) -> None:
    late, live = a_call(1, deadline=2), a_call(2, deadline=3)
    queue = filled(late, live)
    assert queue.cut(max_rows, soon=2.0) == ([live], [late], [])
    assert queue.rows == 0


@pytest.mark.parametrize("max_rows", [1, 64])
def test_a_call_whose_client_left_is_dropped_without_a_word(max_rows: int) -> None:
    live = a_call(3)
    queue = filled(left(a_call(1, deadline=2)), left(a_call(2, 2, 2, priority=-1)), live)
    assert queue.cut(max_rows, soon=2.0) == ([live], [], [])
    assert queue.rows == 0


def test_a_sweep_removes_the_expired_and_the_gone_and_keeps_the_order_of_the_rest() -> None:
    late = a_call(1, deadline=2)
    queue = filled(
        a_call(5, priority=1), late, left(a_call(2, 2, deadline=1)), a_call(3), a_call(4)
    )
    assert queue.sweep(now=2.0) == [late]
    assert queue.rows == 3
    assert [cut(queue, 1) for _ in range(3)] == [[[3]], [[4]], [[5]]]


def test_after_a_sweep_the_most_urgent_still_leaves_first() -> None:
    queue = filled(a_call(1, deadline=1), a_call(2, deadline=9), a_call(3, deadline=5))
    queue.sweep(now=1.0)
    assert [cut(queue, 1, now=1.0) for _ in range(2)] == [[[3]], [[2]]]


def test_the_earliest_deadline_is_found_among_fresh_and_backlog() -> None:
    queue = filled(a_call(1, deadline=5), a_call(2, deadline=3))
    assert queue.earliest() == 3
    cut(queue, 1)
    assert queue.earliest() == 5
    queue.push(a_call(3, deadline=4))
    assert queue.earliest() == 4
    assert Queue().earliest() == math.inf


def test_urgency_is_that_of_the_call_that_leaves_first() -> None:
    queue = filled(a_call(1, deadline=5), a_call(2, priority=-1, deadline=9), a_call(3, deadline=1))
    assert queue.urgency() == (-1, 9)
    assert Queue().urgency() == (0, math.inf)


def test_the_oldest_is_the_first_since_the_queue_was_empty() -> None:
    queue = filled(a_call(1, arrived=1.0), a_call(2, arrived=2.0))
    assert queue.oldest == 1.0
    cut(queue, 2)
    queue.push(a_call(3, arrived=3.0))
    assert queue.oldest == 3.0


def test_emptying_takes_fresh_and_backlog_alike() -> None:
    queue = filled(a_call(1), a_call(2), a_call(3))
    cut(queue, 1)
    queue.push(a_call(4))
    assert sorted(rows_of(call) for call in queue.empty()) == [[2], [3], [4]]
    assert (queue.rows, queue.empty()) == (0, [])


@dataclass(frozen=True, slots=True)
class Take:
    max_rows: int
    later_s: int


CALLS = st.builds(
    lambda rows, priority, deadline, is_gone: (
        left(a_call(*rows, priority=priority, deadline=deadline))
        if is_gone
        else a_call(*rows, priority=priority, deadline=deadline)
    ),
    st.lists(st.just(1.0), min_size=1, max_size=4),
    st.integers(-1, 1),
    st.sampled_from([1, 2, 4, 8, math.inf]),
    st.booleans(),
)
CUTS = st.builds(Take, st.integers(4, 9), st.integers(0, 2))


@given(st.lists(st.one_of(CALLS, CALLS, CUTS, st.just("sweep")), max_size=30))
def test_each_cut_is_the_head_of_a_sorted_line(steps: list[Call | Take | str]) -> None:
    """A law, against a line that is sorted anew each time."""
    queue = Queue()
    line: list[tuple[int, float, int, Call]] = []
    now = 0
    for number, step in enumerate(steps):
        if isinstance(step, Call):
            queue.push(step)
            line.append((step.priority, step.deadline, number, step))
            continue
        if isinstance(step, str):
            swept = queue.sweep(now)
            assert {entry[3] for entry in line if entry[1] <= now and not entry[3].done} == {*swept}
            line = [entry for entry in line if entry[1] > now and not entry[3].done]
            assert queue.rows == sum(entry[3].rows for entry in line)
            continue
        now += step.later_s
        calls, expired, _ = queue.cut(step.max_rows, now)
        waiting = [entry for entry in sorted(line) if entry[1] > now and not entry[3].done]
        expected: list[Call] = []
        for entry in waiting:
            if sum(call.rows for call in expected) + entry[3].rows > step.max_rows:
                break
            expected.append(entry[3])
        if len(expected) < len(waiting):
            assert calls == expected
        assert set(calls) == set(expected)
        assert all(call.deadline <= now and not call.done for call in expired)
        gone = {*calls, *expired}
        line = [entry for entry in line if entry[3] not in gone]
        assert queue.rows <= sum(entry[3].rows for entry in line)
    waits = {entry[3] for entry in line if not entry[3].done}
    assert waits <= set(queue.empty())


# what is ahead


def test_ahead_of_a_call_is_what_has_a_higher_priority_or_an_earlier_deadline() -> None:
    queue = filled(
        a_call(1, deadline=5),
        a_call(2, 2, deadline=7),
        a_call(3, 3, 3, deadline=9),
        a_call(4, priority=-1, deadline=99),
    )
    assert [queue.ahead(0, deadline) for deadline in (4, 5, 6, 9)] == [1, 2, 2, 7]
    assert queue.ahead(-1, 1) == 0
    assert Queue().ahead(0, 1) == 0


def test_whoever_came_since_somebody_asked_is_taken_to_be_ahead() -> None:
    queue = filled(a_call(1, deadline=9))
    assert queue.ahead(0, 5) == 0
    queue.push(a_call(2, 2, deadline=9))
    assert queue.ahead(0, 5) == 2
    cut(queue, 1)
    assert queue.ahead(0, 5) == 0


@given(st.lists(CALLS, max_size=20), st.integers(-1, 1), st.sampled_from([1, 3, 8]))
def test_the_executions_before_a_call_that_joins_have_no_more_rows_than_it_was_told(
    calls: list[Call], priority: int, deadline: float
) -> None:
    queue = filled(*calls)
    told = queue.ahead(priority, deadline)
    newcomer = a_call(7.0, priority=priority, deadline=deadline)
    queue.push(newcomer)
    before = 0
    while newcomer not in (live := queue.cut(4, 0.0).live):
        before += sum(call.rows for call in live)
    assert before <= told


# bytes


@pytest.mark.parametrize("kind", [Queue, Stack])
def test_bytes_are_counted_as_calls_come_and_go(kind: type[Either]) -> None:
    queue = kind()
    calls = [a_call(float(place), deadline=place) for place in range(1, 6)]
    for place, call in enumerate(calls):
        call.size_bytes = 10**place
        queue.push(call)
    assert queue.size_bytes == 11111
    live = queue.cut(2, 0.0).live
    assert queue.size_bytes == 11111 - sum(call.size_bytes for call in live)
    queue.sweep(now=3.0)
    assert queue.size_bytes == sum(
        call.size_bytes for call in calls if call not in live and call.deadline > 3
    )
    queue.empty()
    assert (queue.rows, queue.size_bytes) == (0, 0)


# the newest first


def piled(*calls: Call) -> Stack:
    stack = Stack()
    for call in calls:
        stack.push(call)
    return stack


def test_under_overload_the_newest_leave_first() -> None:
    stack = piled(a_call(1, deadline=2), a_call(2, deadline=9), a_call(3, deadline=5))
    assert [cut(stack, 2), cut(stack, 2), cut(stack, 2)] == [[[3], [2]], [[1]], []]


def test_under_overload_too_a_higher_priority_leaves_before_a_lower_one() -> None:
    stack = piled(a_call(1, priority=-1), a_call(2), a_call(3, priority=1), a_call(4))
    assert stack.urgency() == (-1, math.inf)
    assert cut(stack, 3) == [[1], [4], [2]]
    assert stack.urgency() == (1, math.inf)


def test_what_has_waited_too_long_is_given_back_and_takes_no_room() -> None:
    stack = piled(
        a_call(1, arrived=1.0),
        left(a_call(2, arrived=1.0)),
        a_call(3, arrived=1.5, deadline=4),
        a_call(4, arrived=2.0),
        a_call(5, arrived=3.0),
    )
    live, late, stale = stack.cut(1, 5.0, stale_at=2.0)
    assert [rows_of(call) for call in live] == [[5]]
    assert [rows_of(call) for call in late] == [[3]]
    assert [rows_of(call) for call in stale] == [[1]]
    assert stack.rows == 1


def test_a_newer_call_that_does_not_fit_is_not_overtaken_by_an_older_one() -> None:
    stack = piled(a_call(1), a_call(2, 2, 2), a_call(3))
    assert cut(stack, 3) == [[3]]
    assert cut(stack, 3) == [[2, 2, 2]]
    assert cut(stack, 3) == [[1]]


def test_in_a_stack_nothing_of_the_same_priority_is_ahead_of_a_newcomer() -> None:
    stack = piled(a_call(1, deadline=1), a_call(2, 2, priority=-1), a_call(3, priority=1))
    assert stack.ahead(0, 99) == 2


def test_a_sweep_of_a_stack_removes_the_expired_and_the_gone() -> None:
    late = a_call(1, deadline=2)
    stack = piled(late, left(a_call(2)), a_call(3, deadline=3, arrived=1.0))
    assert (stack.earliest(), stack.sweep(now=2.0)) == (2, [late])
    assert (stack.rows, stack.earliest(), stack.oldest) == (1, 3, 1.0)
    assert (Stack().urgency(), Stack().earliest()) == ((0, math.inf), math.inf)


@given(st.sampled_from([Queue, Stack]), st.lists(st.one_of(CALLS, CUTS, st.just("sweep"))))
def test_nobody_who_waits_is_lost_and_nobody_leaves_twice(
    kind: type[Either], steps: list[Call | Take | str]
) -> None:
    """A law of both: each call that was not done is given back exactly once."""
    queue = kind()
    waiting: set[Call] = set()
    now = 0
    for step in steps:
        if isinstance(step, Call):
            queue.push(step)
            waiting.add(step)
            continue
        if isinstance(step, Take):
            now += step.later_s
            gone = queue.cut(step.max_rows, now, stale_at=now - 3)
            out = [*gone.live, *gone.late, *gone.stale]
            assert sum(call.rows for call in gone.live) <= step.max_rows
            assert all(call.deadline > now for call in (*gone.live, *gone.stale))
        else:
            out = queue.sweep(now)
        assert len(set(out)) == len(out)
        assert set(out) <= waiting
        waiting -= set(out)
        assert queue.rows >= sum(call.rows for call in waiting if not call.done)
    left_over = queue.empty()
    assert {call for call in waiting if not call.done} <= set(left_over) <= waiting
    assert (queue.rows, queue.size_bytes) == (0, 0)
