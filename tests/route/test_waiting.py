"""What waits to be asked of a shadow: the latest, within a number and a size."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ClientGone
from gateway.route.waiting import Waiting
from gateway.types import Arm, Call, Outputs, Payload, Signature, TensorSpec, Version
from tests.fakes import TWICE, a_call, deaf, rows_of

ROOMY = 1 << 20
SINGLE = Version("single", "1", replace(TWICE.signature, max_batch_rows=0))
WORDS = Version("words", "1", Signature((TensorSpec("w", "BYTES", (-1,)),), (), 8))


def answered(*rows: float, width: int = 1, outputs: Outputs | None = None) -> Call:
    """Return a call whose caller has an answer."""
    call = a_call(*rows, width=width)
    call.answer(outputs or Outputs([np.zeros((len(rows), 1), "<f4")], 1), 0, len(rows))
    return call


def failed(*rows: float) -> Call:
    call = a_call(*rows)
    call.fail(ClientGone("connection closed"))
    return call


def waiting_with(*calls: Call, max_calls: int = 99, max_bytes: int = ROOMY) -> Waiting:
    waiting = Waiting(max_calls, max_bytes, sample_ratio=1.0)
    for call in calls:
        waiting.push(call)
    return waiting


def taken(waiting: Waiting, max_rows: int = 99) -> list[list[float]]:
    return [rows_of(call) for call in waiting.take(max_rows)]


def test_the_oldest_make_room_for_the_latest() -> None:
    waiting = Waiting(2, ROOMY, sample_ratio=1.0)
    dropped = [waiting.push(answered(row)) for row in (1, 2, 3, 4)]
    assert dropped == [0, 0, 1, 1]
    assert taken(waiting) == [[3], [4]]


def test_what_waits_is_bounded_in_bytes() -> None:
    waiting = Waiting(99, 100, sample_ratio=1.0)
    dropped = [waiting.push(answered(row, width=10)) for row in (1, 2, 3)]
    assert dropped == [0, 0, 1]
    assert waiting.size_bytes == 80


def test_a_call_larger_than_all_the_room_waits_alone() -> None:
    waiting = waiting_with(answered(1), answered(2, width=1024), max_bytes=100)
    assert taken(waiting) == [[2]]
    assert waiting.push(answered(3)) == 0


def test_a_large_call_makes_room_for_the_next() -> None:
    waiting = waiting_with(answered(1, width=1024), max_bytes=100)
    assert waiting.push(answered(2)) == 1
    assert taken(waiting) == [[2]]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"12345678", 8),
        (bytearray(b"1234"), 4),
        (memoryview(b"12345678").cast("i"), 8),
        (["", "four"], 2 * 64 + 4),
    ],
)
def test_payloads_of_any_kind_are_weighed(payload: Payload, expected: int) -> None:
    waiting = waiting_with(Call(Arm(WORDS), (payload,), 1, ((),), deaf))
    assert waiting.size_bytes == expected


def test_of_whom_the_caller_got_an_error_nothing_is_asked_and_nothing_counted() -> None:
    waiting = waiting_with(failed(1), answered(2), failed(3))
    assert taken(waiting) == [[2]]
    assert (len(waiting), waiting.size_bytes) == (0, 0)
    assert waiting_with(failed(1), answered(2)).clear() == 1
    assert waiting_with(failed(1), max_calls=1).push(answered(2)) == 0


def test_who_is_not_answered_yet_holds_nobody_up_and_is_asked_later() -> None:
    late = a_call(1)
    waiting = waiting_with(late, answered(2))
    assert taken(waiting) == [[2]]
    assert taken(waiting) == []
    late.answer(Outputs([np.zeros((1, 1))], 1), 0, 1)
    assert taken(waiting) == [[1]]


def test_only_so_many_rows_are_asked_together_and_the_rest_keeps_its_order() -> None:
    waiting = waiting_with(answered(1, 2), answered(3, 4), answered(5))
    assert taken(waiting, max_rows=3) == [[1, 2]]
    assert taken(waiting, max_rows=3) == [[3, 4], [5]]


def test_a_call_of_more_rows_than_that_is_asked_alone() -> None:
    waiting = waiting_with(answered(1, 2, 3), answered(4))
    assert taken(waiting, max_rows=2) == [[1, 2, 3]]
    assert taken(waiting, max_rows=2) == [[4]]


def test_only_equal_shapes_of_one_version_are_asked_together() -> None:
    other = Version("twice", "2", TWICE.signature)
    stranger = replace(answered(3), arm=Arm(other))
    twin = replace(answered(5), shapes=((1,),))  # equal, and not the same object
    waiting = waiting_with(answered(1), answered(2, width=2), stranger, answered(4), twin)
    batches = [taken(waiting) for _ in range(4)]
    assert batches == [[[1], [4], [5]], [[2]], [[3]], []]


def test_calls_of_a_model_without_a_batch_axis_are_asked_one_by_one() -> None:
    single = Arm(SINGLE)
    calls = [replace(answered(row), arm=single) for row in (1, 2)]
    waiting = waiting_with(*calls)
    assert [waiting.take(99) for _ in range(3)] == [[calls[0]], [calls[1]], []]


@pytest.mark.parametrize(
    ("sample_ratio", "expected"),
    [
        (1.0, 4 + 1000 // 10),  # all ten wait, and each keeps its share
        (0.2, 4 + 1000 // 2),
        (0.001, 4 + 1000),  # the only one of them that waits keeps all
    ],
)
def test_the_outputs_that_a_call_keeps_alive_are_weighed_by_those_before(
    sample_ratio: float, expected: int
) -> None:
    waiting = Waiting(99, ROOMY, sample_ratio)
    waiting.push(answered(1, outputs=Outputs([np.zeros((10, 25), "<f4")], 10)))
    assert (waiting.size_bytes, len(waiting.take(9))) == (4, 1)
    waiting.push(a_call(2))
    assert waiting.size_bytes == expected


def test_an_answer_is_weighed_once_however_many_of_its_calls_wait() -> None:
    waiting, calls = waiting_with(), [a_call(1), a_call(2), a_call(3)]
    for call in calls:
        waiting.push(call)
    shared = Outputs([np.zeros((2, 25), "<f4")], 2)
    for at, call in enumerate(calls[:2]):
        call.answer(shared, at, at + 1)
    assert (waiting.weigh(), waiting.unweighed) == (0, 1)
    # the share of the one that is not answered yet is guessed
    assert waiting.size_bytes == 3 * 4 + 200 + 100
    assert (waiting.weigh(), waiting.size_bytes) == (0, 3 * 4 + 200 + 100)
    assert taken(waiting, max_rows=1) == [[1]]
    assert waiting.size_bytes == 2 * 4 + 200 + 100, "its mate keeps all of it"
    assert taken(waiting) == [[2]]
    assert waiting.size_bytes == 4 + 100


def test_what_was_answered_meanwhile_makes_room_oldest_first() -> None:
    calls = [a_call(row) for row in range(5)]
    waiting = waiting_with(*calls, max_bytes=1000)
    for call in calls:
        call.answer(Outputs([np.zeros((1, 100), "<f4")], 1), 0, 1)
    assert (waiting.size_bytes, waiting.weigh()) == (20, 3)
    assert taken(waiting) == [[3], [4]]
    assert (waiting.weigh(), waiting.size_bytes, waiting.unweighed) == (0, 0, 0)


def test_to_drop_a_call_whose_mates_wait_frees_nothing_and_the_last_has_room() -> None:
    calls = [a_call(row) for row in range(4)]
    waiting = waiting_with(*calls, max_bytes=100)
    shared = Outputs([np.zeros((4, 100), "<f4")], 4)
    for at, call in enumerate(calls):
        call.answer(shared, at, at + 1)
    assert (waiting.weigh(), waiting.size_bytes) == (3, 1604)


def test_who_failed_meanwhile_is_let_go_and_counts_for_nothing() -> None:
    calls = [a_call(row) for row in range(3)]
    waiting = waiting_with(*calls)
    calls[1].fail(ClientGone("connection closed"))
    assert (waiting.weigh(), len(waiting), waiting.unweighed) == (0, 2, 2)
    assert waiting.size_bytes == 8


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "answer", "fail", "weigh", "take", "clear"]), st.integers(0, 5)
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_what_was_weighed_is_what_is_kept(steps: list[Step]) -> None:
    """To the byte, whoever was dropped, taken, failed or answered in company in between."""
    waiting = Waiting(6, 2000, sample_ratio=1.0)
    pushed: list[Call] = []
    for what, number in steps:
        if what == "push":
            pushed.append(a_call(number))
            waiting.push(pushed[-1])
        elif what == "answer":
            outputs = Outputs([np.zeros((1, 20 * number), "<f4")], 1)
            for call in pushed[-number:]:
                call.answer(outputs, 0, 1)
        elif what == "fail":
            for call in pushed[-number:]:
                call.fail(ClientGone("connection closed"))
        elif what == "weigh":
            waiting.weigh()
        elif what == "take":
            waiting.take(number)
        else:
            waiting.clear()
    waiting.weigh()
    assert waiting.size_bytes <= 2000 or len(waiting) == 1
    while len(waiting) > waiting.unweighed:
        waiting.take(9)
    waiting.clear()
    assert (waiting.size_bytes, waiting.unweighed) == (0, 0)
