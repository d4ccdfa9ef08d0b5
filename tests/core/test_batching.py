"""When a batch leaves, and which calls leave in it."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.batching import MAX_SHAPE_CLASSES, Backlog, Flush, Hold, Policy, Queue, Wait, plan
from gateway.errors import ClientGone
from gateway.types import Call
from tests.fakes import a_call, rows_of


def filled(*calls: Call) -> Queue:
    queue = Queue()
    for call in calls:
        queue.push(call)
    return queue


def left(call: Call) -> Call:
    """Return the call of a client who has gone."""
    call.fail(ClientGone("connection closed"))
    return call


def cut(queue: Queue, max_rows: int, now: float = 0.0) -> list[list[float]]:
    """Return the rows of each call that leaves."""
    return [rows_of(call) for call in queue.cut(max_rows, now)[0]]


@pytest.mark.parametrize(
    ("waiting_rows", "oldest_s", "running", "policy", "expected"),
    [
        (0, 9.0, 0, Policy(), Hold()),
        (1, 0.0, 0, Policy(max_rows=8), Flush(8)),
        (1, 0.0, 1, Policy(max_rows=8), Hold()),
        (99, 9.0, 1, Policy(max_rows=8, max_wait_s=0.25), Hold()),
        (1, 0.0, 1, Policy(max_rows=8, max_running=2), Flush(8)),
        (7, 0.0, 0, Policy(max_rows=8, max_wait_s=0.25), Wait(0.25)),
        (7, 0.125, 0, Policy(max_rows=8, max_wait_s=0.25), Wait(0.125)),
        (7, 0.25, 0, Policy(max_rows=8, max_wait_s=0.25), Flush(8)),
        (7, math.inf, 0, Policy(max_rows=8, max_wait_s=0.25), Flush(8)),
        (8, 0.0, 0, Policy(max_rows=8, max_wait_s=0.25), Flush(8)),
    ],
)
def test_a_batch_leaves_when_it_can_start_and_has_waited_enough(
    waiting_rows: int, oldest_s: float, running: int, policy: Policy, expected: object
) -> None:
    assert plan(waiting_rows, oldest_s, running, policy) == expected


@given(
    st.integers(0, 100),
    st.floats(0, 10),
    st.integers(0, 4),
    st.builds(
        Policy,
        max_rows=st.integers(1, 64),
        max_wait_s=st.floats(0, 5),
        max_running=st.integers(1, 4),
    ),
)
def test_without_a_wait_asked_for_no_free_executor_is_kept_waiting(
    waiting_rows: int, oldest_s: float, running: int, policy: Policy
) -> None:
    """A law: work is held only behind busy executors, and never longer than `max_wait_s`."""
    step = plan(waiting_rows, oldest_s, running, policy)
    if not waiting_rows or running >= policy.max_running:
        assert step == Hold()
    elif isinstance(step, Wait):
        assert 0 < step.delay_s <= policy.max_wait_s
        assert waiting_rows < policy.max_rows
    else:
        assert step == Flush(policy.max_rows)


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
    assert queue.cut(max_rows, now=2.0) == ([live], [late])
    assert queue.rows == 0


@pytest.mark.parametrize("max_rows", [1, 64])
def test_a_call_whose_client_left_is_dropped_without_a_word(max_rows: int) -> None:
    live = a_call(3)
    queue = filled(left(a_call(1, deadline=2)), left(a_call(2, 2, 2, priority=-1)), live)
    assert queue.cut(max_rows, now=2.0) == ([live], [])
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
class Cut:
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
CUTS = st.builds(Cut, st.integers(4, 9), st.integers(0, 2))


@given(st.lists(st.one_of(CALLS, CALLS, CUTS, st.just("sweep")), max_size=30))
def test_each_cut_is_the_head_of_a_sorted_line(steps: list[Call | Cut | str]) -> None:
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
        calls, expired = queue.cut(step.max_rows, now)
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


def held(*calls: Call) -> Backlog:
    backlog = Backlog()
    for call in calls:
        backlog.push(call)
    return backlog


def chosen(backlog: Backlog, now: float, policy: Policy) -> list[list[float]] | Wait | Hold:
    """Return the rows of what leaves next, or why nothing does."""
    step = backlog.next(now, 0, policy)
    return cut(step, policy.max_rows, now) if isinstance(step, Queue) else step


def test_each_shape_class_has_its_own_queue() -> None:
    backlog = held(a_call(1), a_call(2, width=2), a_call(3), a_call(4, 5, width=2))
    assert backlog.rows() == 5
    assert [chosen(backlog, 0.0, Policy(max_rows=8)) for _ in range(3)] == [
        [[1], [3]],
        [[2], [4, 5]],
        Hold(),
    ]
    assert backlog.rows() == 0


def test_of_the_queues_that_may_leave_the_most_urgent_does() -> None:
    backlog = held(
        a_call(1, width=1, deadline=5),
        a_call(2, width=2, deadline=4),
        a_call(3, width=3, deadline=9, priority=-1),
    )
    assert [chosen(backlog, 0.0, Policy(max_rows=8)) for _ in range(3)] == [[[3]], [[2]], [[1]]]


def test_who_waits_for_company_keeps_nobody_else_from_leaving() -> None:
    policy = Policy(max_rows=8, max_wait_s=1.0)
    backlog = held(
        a_call(1, width=1, arrived=0.5, priority=-1),
        a_call(2, width=2, arrived=0.25),
        a_call(3, width=3, arrived=0.0),
    )
    assert chosen(backlog, 1.0, policy) == [[3]]
    assert chosen(backlog, 1.0, policy) == Wait(0.25)
    assert chosen(backlog, 1.25, policy) == [[2]]
    assert chosen(backlog, 1.25, policy) == Wait(0.25)
    assert isinstance(backlog.next(math.inf, 0, policy), Queue), "the end waits for no company"


def test_nothing_is_chosen_while_every_executor_is_busy() -> None:
    assert held(a_call(1)).next(0.0, 1, Policy()) == Hold()


def test_queues_that_ran_empty_make_room_for_other_shapes() -> None:
    """Shapes are the client's to choose: what is kept of each must end."""
    backlog = Backlog()
    for width in range(1, 3 * MAX_SHAPE_CLASSES):
        assert backlog.push(a_call(1, width=width))
        assert chosen(backlog, 0.0, Policy()) == [[1]]


def test_only_so_many_shapes_may_wait() -> None:
    backlog = held(*(a_call(1, width=width) for width in range(1, MAX_SHAPE_CLASSES + 1)))
    assert not backlog.push(a_call(1, width=MAX_SHAPE_CLASSES + 1))
    assert backlog.push(a_call(2, width=1))
    assert backlog.rows() == MAX_SHAPE_CLASSES + 1


def test_no_queue_that_holds_a_call_is_forgotten() -> None:
    backlog = held(*(a_call(width, width=width) for width in range(1, 65)))
    assert backlog.rows() == 64
    assert sorted(rows_of(call) for call in backlog.empty()) == [[width] for width in range(1, 65)]
    assert backlog.rows() == 0


def test_a_backlog_is_swept_in_all_its_queues() -> None:
    late = [a_call(1, deadline=2), a_call(2, width=2, deadline=1)]
    backlog = held(*late, a_call(3, deadline=3), left(a_call(4, width=2)))
    assert backlog.earliest() == 1
    assert backlog.sweep(now=2.0) == late
    assert (backlog.rows(), backlog.earliest()) == (1, 3)
    assert Backlog().earliest() == math.inf
