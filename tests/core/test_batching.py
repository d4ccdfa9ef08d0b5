"""When a batch leaves, and which calls leave in it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.batching import MAX_SHAPE_CLASSES, Backlog, Flush, Hold, Policy, Wait, plan
from gateway.core.queues import Queue, Stack
from gateway.errors import ClientGone
from gateway.types import Call
from tests.fakes import a_call, rows_of


def left(call: Call) -> Call:
    """Return the call of a client who has gone."""
    call.fail(ClientGone("connection closed"))
    return call


def cut(queue: Queue | Stack, max_rows: int, now: float = 0.0) -> list[list[float]]:
    """Return the rows of each call that leaves."""
    return [rows_of(call) for call in queue.cut(max_rows, now).live]


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


def held(*calls: Call) -> Backlog:
    backlog = Backlog()
    for call in calls:
        backlog.push(call)
    return backlog


def chosen(backlog: Backlog, now: float, policy: Policy) -> list[list[float]] | Wait | Hold:
    """Return the rows of what leaves next, or why nothing does."""
    step = backlog.next(now, 0, policy)
    return step if isinstance(step, Wait | Hold) else cut(step, policy.max_rows, now)


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
