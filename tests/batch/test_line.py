"""What waits in one batcher is counted, and given back once."""

import math

from gateway.batch.line import Line
from gateway.core.batching import MAX_SHAPE_CLASSES, Hold, Policy, Wait
from gateway.core.queues import Cut
from gateway.errors import Overloaded
from gateway.types import Call, Outputs
from tests.fakes import a_call, rows_of, untold

POLICY = Policy(max_rows=2)


def joined(*calls: Call) -> Line:
    line = Line()
    for call in calls:
        line.arrived.append(call)
        line.rows += call.rows
        line.size_bytes += call.size_bytes
    return line


def sized(call: Call, size_bytes: int) -> Call:
    call.size_bytes = size_bytes
    return call


def cut(line: Line, soon: float = 0.0, stale_at: float = -math.inf) -> list[list[float]]:
    """Return the rows of each call of the next execution."""
    step = line.cut(math.inf, 0, POLICY, soon, stale_at)
    assert isinstance(step, Cut)
    return [rows_of(call) for call in step.live]


def test_what_is_taken_at_once_leaves_nothing_behind() -> None:
    calls = [sized(a_call(1), 10), sized(a_call(2, 3), 20)]
    line = joined(*calls)
    assert line.take() == calls
    assert (line.rows, line.size_bytes, line.arrived) == (0, 0, [])


def test_rows_and_bytes_go_down_with_each_execution() -> None:
    line = joined(sized(a_call(1), 10), sized(a_call(2), 20), sized(a_call(3), 40))
    line.settle(2, untold)
    assert (line.rows, line.size_bytes) == (3, 70)
    assert cut(line) == [[1], [2]]
    assert (line.rows, line.size_bytes) == (1, 40)
    assert cut(line) == [[3]]
    assert (line.rows, line.size_bytes) == (0, 0)
    assert isinstance(line.cut(0.0, 0, POLICY, 0.0, 0.0), Hold)


def test_a_large_call_waits_in_parts_that_weigh_as_much_as_it_did() -> None:
    line = joined(sized(a_call(1, 2, 3, 4), 100))
    line.settle(2, untold)
    assert (line.rows, line.size_bytes) == (4, 100)
    assert [cut(line), cut(line)] == [[[1, 2]], [[3, 4]]]


def test_the_whole_of_a_large_call_is_told_of_its_last_part() -> None:
    told: list[tuple[Call, Outputs]] = []
    whole = a_call(1, 2, 3, 4)
    line = joined(whole)
    line.settle(2, lambda call, outputs: told.append((call, outputs)))
    outputs = Outputs([], 1)
    for _ in range(2):
        step = line.cut(0.0, 0, POLICY, 0.0, 0.0)
        assert isinstance(step, Cut)
        step.live[0].answer(outputs, 0, 2)
    assert [call for call, _ in told] == [whole]
    assert whole.done


def test_a_shape_class_too_many_is_refused_and_weighs_nothing() -> None:
    line = joined(*(sized(a_call(1, width=w), 1) for w in range(1, MAX_SHAPE_CLASSES + 2)))
    last = line.arrived[-1]
    line.settle(2, untold)
    assert isinstance(last.error, Overloaded)
    assert last.error.shed == "shapes"
    assert (line.rows, line.size_bytes) == (MAX_SHAPE_CLASSES, MAX_SHAPE_CLASSES)


def test_the_order_can_be_turned_and_nobody_is_lost() -> None:
    line = joined(a_call(1, arrived=1.0), a_call(2, arrived=2.0), a_call(3, arrived=3.0))
    line.settle(1, untold)
    line.turn(True)
    line.turn(True)
    assert cut(line) == [[3], [2]]
    line.turn(False)
    assert (line.rows, cut(line)) == (1, [[1]])


def test_ahead_of_a_call_is_the_backlogs_more_urgent_part_and_all_of_this_tick() -> None:
    line = joined(a_call(1, deadline=5), a_call(2, deadline=9))
    line.settle(1, untold)
    line.arrived.append(a_call(3, 3, deadline=99))
    line.rows += 2
    assert line.ahead(a_call(7, deadline=6)) == 3


def test_a_sweep_counts_anew() -> None:
    late = sized(a_call(1, deadline=1), 10)
    line = joined(late, sized(a_call(2, deadline=3), 20))
    line.settle(1, untold)
    assert (line.sweep(2.0), line.rows, line.size_bytes) == ([late], 1, 20)
    assert line.earliest() == 3


def test_the_end_takes_this_ticks_calls_and_the_backlog() -> None:
    line = joined(a_call(1), a_call(2))
    line.settle(1, untold)
    line.arrived.append(a_call(3))
    assert sorted(rows_of(call) for call in line.empty()) == [[1], [2], [3]]
    assert (line.rows, line.size_bytes, line.empty()) == (0, 0, [])


def test_who_waits_for_company_is_not_cut() -> None:
    line = joined(a_call(1))
    line.settle(2, untold)
    policy = Policy(max_rows=2, max_wait_s=1.0)
    assert line.cut(0.25, 0, policy, 0.0, 0.0) == Wait(0.75)
