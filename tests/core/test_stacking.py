"""Joining calls into one execution's arrays, padding them, splitting a large call."""

import gc
import weakref

import numpy as np
import pytest

from gateway.core.stacking import bucket, pad, split, stack, zeros
from gateway.errors import ClientGone, ModelFailed
from gateway.types import Arm, Call, Outputs, Payload, Shape, Signature, TensorSpec, Version
from tests.fakes import TWICE, TWICE_ARM, a_call, answer_of, deaf, rows_of, untold

MIXED = Signature(
    (TensorSpec("number", "INT16", (-1, 2)), TensorSpec("name", "BYTES", (-1,))), (), 64
)


def mixed_call(number: Payload, name: Payload, rows: int) -> Call:
    return Call(Arm(Version("mixed", "1", MIXED)), (number, name), rows, ((2,), ()), deaf)


def test_rows_are_joined_in_the_order_of_the_calls() -> None:
    (array,) = stack([a_call(1, 2), a_call(3)], TWICE.signature)
    assert array.tolist() == [[1.0], [2.0], [3.0]]
    assert array.dtype == np.float32


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind_are_joined(kind: type[bytes | bytearray | memoryview]) -> None:
    one = mixed_call(kind(b"\1\0\2\0"), ["a"], 1)
    two = mixed_call(kind(b"\3\0\4\0\5\0\6\0"), ["b", "c"], 2)
    number, name = stack([one, two], MIXED)
    assert number.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert name.tolist() == ["a", "b", "c"]
    assert name.dtype == object


def test_the_array_of_a_single_call_is_made_without_copying() -> None:
    payload = bytearray(4)
    (array,) = stack([Call(TWICE_ARM, (payload,), 1, ((1,),), deaf)], TWICE.signature)
    payload[:] = np.float32(7).tobytes()
    assert array.tolist() == [[7.0]]


def test_tensors_without_elements_are_stacked_too() -> None:
    calls = [Call(TWICE_ARM, (b"",), rows, ((0,),), deaf) for rows in (1, 2)]
    (array,) = stack(calls, TWICE.signature)
    assert array.shape == (3, 0)


@pytest.mark.parametrize(
    ("datatype", "payload", "shape", "expected"),
    [
        ("FP32", np.arange(6, dtype="<f4").tobytes(), (2, 3), [[0, 1, 2], [3, 4, 5]]),
        ("FP32", np.float32(5).tobytes(), (), 5.0),
        ("BYTES", ["a", "b"], (2, 1), [["a"], ["b"]]),
    ],
)
def test_without_a_batch_axis_the_shape_is_the_tensors_own(
    datatype: str, payload: Payload, shape: Shape, expected: object
) -> None:
    signature = Signature((TensorSpec("x", datatype, shape),), (), 0)
    call = Call(Arm(Version("m", "1", signature)), (payload,), 1, (shape,), deaf)
    (array,) = stack([call], signature)
    assert array.tolist() == expected


@pytest.mark.parametrize(
    ("rows", "pad_to", "expected"),
    [(1, (4, 8), 4), (4, (4, 8), 4), (5, (4, 8), 8), (9, (4, 8), 9), (3, (), 3), (1, (8, 4), 4)],
)
def test_a_batch_goes_into_the_smallest_bucket_that_holds_it(
    rows: int, pad_to: tuple[int, ...], expected: int
) -> None:
    assert bucket(rows, pad_to) == expected


def test_padding_repeats_the_last_row_of_every_input() -> None:
    number, name = np.array([[1, 2], [3, 4]]), np.array(["a", "b"], dtype=object)
    padded = pad([number, name], 4)
    assert padded[0].tolist() == [[1, 2], [3, 4], [3, 4], [3, 4]]
    assert padded[1].tolist() == ["a", "b", "b", "b"]
    assert padded[1].dtype == object


@pytest.mark.parametrize("rows", [1, 2])
def test_what_is_large_enough_is_not_padded(rows: int) -> None:
    array = np.array([[1], [2]])
    (same,) = pad([array], rows)
    assert same is array


def test_a_large_call_is_cut_into_parts_that_carry_its_terms() -> None:
    call = a_call(1, 2, 3, 4, 5, width=2, deadline=9.0, priority=3, arrived=1.0)
    parts = split(call, 2, untold)
    assert (call.is_part, [part.is_part for part in parts]) == (False, [True] * 3)
    assert [rows_of(part) for part in parts] == [[1, 2], [3, 4], [5]]
    assert [part.rows for part in parts] == [2, 2, 1]
    assert {(p.arm, p.shapes, p.deadline, p.priority, p.arrived) for p in parts} == {
        (TWICE_ARM, ((2,),), 9.0, 3, 1.0)
    }


def test_strings_are_cut_by_rows() -> None:
    signature = Signature((TensorSpec("x", "BYTES", (-1, 2)),), (), 64)
    call = Call(Arm(Version("m", "1", signature)), (list("abcdef"),), 3, ((2,),), deaf)
    first, second = split(call, 2, untold)
    assert (first.payloads, second.payloads) == ((["a", "b", "c", "d"],), (["e", "f"],))


def told(call: Call) -> list[Call]:
    """Return the list in which the call's owner hears of its end."""
    heard: list[Call] = []
    call.on_done = heard.append
    return heard


def answer(part: Call, *rows: float) -> None:
    """Answer a part from the middle of a larger execution."""
    array = np.array([[-9.0], *([row] for row in rows), [-9.0]])
    part.answer(Outputs([array], 3), 1, 1 + len(rows))


def test_the_call_is_answered_with_its_last_part_whatever_the_order() -> None:
    call = a_call(1, 2, 3, 4, 5)
    heard = told(call)
    first, second, third = split(call, 2, untold)
    answer(third, 50)
    answer(first, 10, 20)
    assert heard == []
    answer(second, 30, 40)
    assert heard == [call]
    assert answer_of(call) == [10, 20, 30, 40, 50]
    assert (call.start, call.stop) == (0, 5)
    assert call.outputs is not None
    assert call.outputs.calls == 1


def test_somebody_hears_of_a_whole_call_before_its_owner_does() -> None:
    call = a_call(1, 2)
    heard = told(call)
    before: list[tuple[Call, Outputs, bool]] = []
    first, second = split(call, 1, lambda whole, last: before.append((whole, last, whole.done)))
    answer(second, 20)
    assert before == []
    answer(first, 10)
    assert first.outputs is not None
    assert before == [(call, first.outputs, False)]
    assert heard == [call]


def test_the_first_part_that_fails_fails_the_call_and_ends_the_other_parts() -> None:
    call = a_call(1, 2, 3)
    heard = told(call)
    first, second, third = split(call, 1, untold)
    error = ModelFailed("nan")
    answer(first, 10)
    second.fail(error)
    assert heard == [call]
    assert call.error is error
    assert third.done
    third.fail(ModelFailed("late"))
    answer(third, 30)
    assert heard == [call]
    assert (call.error, call.outputs) == (error, None)


def test_a_part_that_ends_without_a_word_fails_the_call() -> None:
    call = a_call(1, 2)
    heard = told(call)
    part = split(call, 1, untold)[0]
    part.done = True
    part.on_done(part)
    assert heard == [call]
    assert isinstance(call.error, ModelFailed)


def test_when_the_client_leaves_no_part_costs_anything_any_more() -> None:
    call = a_call(1, 2, 3)
    heard = told(call)
    parts = split(call, 2, untold)
    call.fail(ClientGone("connection closed"))
    assert heard == [call]
    assert [part.done for part in parts] == [True, True]
    answer(parts[0], 10, 20)
    assert heard == [call]


def test_whoever_runs_a_part_hears_that_nobody_waits_for_it() -> None:
    call = a_call(1, 2, 3)
    parts = split(call, 1, untold)
    heard: list[Call] = []
    for part in parts:
        part.on_done = heard.append
    parts[0].answer(Outputs([np.zeros((1, 1))], 1), 0, 1)
    gone = ClientGone("gone")
    call.fail(gone)
    assert heard == parts
    assert [part.error for part in parts] == [None, gone, gone]


@pytest.mark.parametrize(
    ("shape", "batches", "row", "expected"),
    [
        ((-1, 4), True, None, (3, 4)),
        ((-1, -1), True, None, (3, 1)),
        ((-1, -1), True, (7,), (3, 7)),
        ((2, -1), False, None, (2, 1)),
        ((-1, 2), False, None, (3, 2)),
        ((-1, 2), False, (5, 2), (5, 2)),
        ((), False, None, ()),
    ],
)
@pytest.mark.parametrize("datatype", ["INT8", "BYTES"])
def test_a_model_is_tried_with_zeros_of_a_shape_that_it_takes(
    shape: Shape, batches: bool, row: Shape | None, expected: Shape, datatype: str
) -> None:
    array = zeros(TensorSpec("x", datatype, shape), 3, batches, row)
    assert array.shape == expected
    assert set(array.ravel().tolist()) == {"" if datatype == "BYTES" else 0}


def test_a_part_may_be_split_again() -> None:
    call = a_call(1, 2, 3, 4, 5, 6, 7)
    heard = told(call)
    first, second = split(call, 4, untold)
    answer(second, 50, 60, 70)
    for part in split(first, 2, untold):
        answer(part, *(10 * row for row in rows_of(part)))
    assert heard == [call]
    assert answer_of(call) == [10, 20, 30, 40, 50, 60, 70]


def test_a_finished_call_leaves_nothing_to_collect() -> None:
    """A call and its rejoining know each other: at its end they forget, without the collector."""

    class Owner:
        def hear(self, call: Call) -> None:
            pass

    gc.collect()
    gc.disable()
    try:
        owner = Owner()
        call = a_call(1, 2, on_done=owner.hear)
        parts = split(call, 1, untold)
        answer(parts[0], 10)
        answer(parts[1], 20)
        of_owner, of_part = weakref.ref(owner), weakref.ref(parts[0].on_done)
        del owner, call, parts
        assert (of_owner(), of_part()) == (None, None)
    finally:
        gc.enable()


def test_parts_that_came_out_of_different_widths_fail_the_call() -> None:
    """An output may have a second axis that depends on the data."""
    call = a_call(1, 2)
    heard = told(call)
    before: list[Call] = []
    parts = split(call, 1, lambda whole, _last: before.append(whole))
    for width, part in enumerate(parts, start=1):
        part.answer(Outputs([np.zeros((1, width), np.float32)], 1), 0, 1)
    assert heard == [call]
    assert isinstance(call.error, ModelFailed)
    assert "do not rejoin" in str(call.error)
    assert before == []


@pytest.mark.parametrize("offset", range(8))
def test_a_tensor_that_begins_anywhere_in_its_body_reaches_the_model_aligned(offset: int) -> None:
    call = a_call(1, 2)
    body = bytes(offset) + bytes(memoryview(call.payloads[0]))  # type: ignore[arg-type]  # bytes here
    call.payloads = (memoryview(body)[offset:],)
    (array,) = stack([call], call.arm.version.signature)
    assert array.flags.aligned
    assert array[:, 0].tolist() == [1, 2]
