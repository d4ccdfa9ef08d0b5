"""What a request declares of its inputs is held against the model before any element is read."""

import json
import tracemalloc
from typing import Any

import pytest

from gateway.core.datatypes import DATATYPES
from gateway.errors import InvalidTensor, Malformed
from gateway.types import Shape
from gateway.wire.decode import Limits
from tests.wire.bodies import BY_ORJSON, BY_SIMD, FLOATS, PAIR, body, one, read, tensor, version

WHOLE = "attempt to access JSON non-unsigned-integer as unsigned-integer"


def a(**changes: object) -> dict[str, object]:
    return tensor(name="a", shape=[1, 2], datatype="INT32", data=[1, 2]) | changes


def b(**changes: object) -> dict[str, object]:
    return tensor(name="b", shape=[1, 3], data=[1, 2, 3]) | changes


@pytest.mark.parametrize(
    ("member", "kind", "text"),
    [
        pytest.param(
            {"name": None},
            Malformed,
            "$.inputs[0].name: expected a string, got nothing",
            id="no name",
        ),
        pytest.param(
            {"name": 5},
            Malformed,
            "$.inputs[0].name: expected a string, got 5",
            id="a number for a name",
        ),
        pytest.param(
            {"name": ["x"]},
            Malformed,
            "$.inputs[0].name: expected a string, got an array",
            id="an array for a name",
        ),
        pytest.param(
            {"shape": None},
            Malformed,
            "$.inputs[0].shape: expected an array of whole numbers, got nothing",
            id="no shape",
        ),
        pytest.param(
            {"shape": "1,4"},
            Malformed,
            '$.inputs[0].shape: expected an array of whole numbers, got string "1,4"',
            id="a string for a shape",
        ),
        pytest.param(
            {"shape": 4},
            Malformed,
            "$.inputs[0].shape: expected an array of whole numbers, got 4",
            id="a number for a shape",
        ),
        pytest.param(
            {"shape": {}},
            Malformed,
            "$.inputs[0].shape: expected an array of whole numbers, got an object",
            id="an object for a shape",
        ),
        pytest.param(
            {"shape": [1.0, 4]},
            Malformed,
            WHOLE + " ($.inputs[0].shape[0]): expected a whole number, got 1.0",
            id="a float in a shape",
        ),
        pytest.param(
            {"shape": [1, -5]},
            Malformed,
            WHOLE + " ($.inputs[0].shape[1]): expected a whole number, got -5",
            id="a negative dimension",
        ),
        pytest.param(
            {"shape": [1, "4"]},
            Malformed,
            WHOLE + ' ($.inputs[0].shape[1]): expected a whole number, got string "4"',
            id="a string in a shape",
        ),
        pytest.param(
            {"shape": [True, 4]},
            Malformed,
            WHOLE + " ($.inputs[0].shape[0]): expected a whole number, got true",
            id="true in a shape",
        ),
        pytest.param(
            {"shape": [1, [4]]},
            Malformed,
            WHOLE + " ($.inputs[0].shape[1]): expected a whole number, got an array",
            id="an array in a shape",
        ),
        pytest.param({"shape": [1, 2**70]}, Malformed, WHOLE, id="a dimension beyond 64 bits"),
        pytest.param(
            {"datatype": None},
            Malformed,
            "invalid datatype for input x ($.inputs[0].datatype): expected one of ['BOOL','INT8',",
            id="no datatype",
        ),
        pytest.param(
            {"datatype": "int32"},
            Malformed,
            "invalid datatype for input x ($.inputs[0].datatype)",
            id="a datatype in small letters",
        ),
        pytest.param(
            {"datatype": "STRING"},
            Malformed,
            'got string "STRING"',
            id="a datatype of another protocol",
        ),
        pytest.param(
            {"datatype": 32},
            Malformed,
            "invalid datatype for input x",
            id="a number for a datatype",
        ),
        pytest.param(
            {"datatype": ["FP32"]}, Malformed, "got an array", id="an array for a datatype"
        ),
        pytest.param(
            {"datatype": "INT32"},
            InvalidTensor,
            "inference input 'x' data-type is 'INT32', but model 'm' expects 'FP32' "
            "($.inputs[0].datatype)",
            id="another datatype",
        ),
        pytest.param(
            {"shape": [1, 8]},
            InvalidTensor,
            "unexpected shape for input 'x' for model 'm'. Expected [-1,4], got [1,8] "
            "($.inputs[0].shape)",
            id="another width",
        ),
        pytest.param({"shape": [4]}, InvalidTensor, "Expected [-1,4], got [4]", id="no batch axis"),
        pytest.param({"shape": []}, InvalidTensor, "Expected [-1,4], got []", id="no axis at all"),
        pytest.param(
            {"shape": [1, 1, 4]},
            InvalidTensor,
            "Expected [-1,4], got [1,1,4]",
            id="an axis too many",
        ),
        pytest.param(
            {"shape": [9, 4]},
            InvalidTensor,
            "inference request batch-size must be <= 8 for 'm' "
            "($.inputs[0].shape[0]): expected 1 to 8, got 9",
            id="too large a batch",
        ),
        pytest.param(
            {"shape": [0, 4], "data": []},
            InvalidTensor,
            "batch-size must be >= 1 for 'm' ($.inputs[0].shape[0]): expected 1 to 8, got 0",
            id="a batch of nothing",
        ),
        pytest.param(
            {"shape": [2**32, 2**32]},
            InvalidTensor,
            "causes total element count to exceed maximum size of 9223372036854775807 "
            "($.inputs[0].shape)",
            id="elements beyond 63 bits",
        ),
        pytest.param(
            {"shape": [2**31, 2**31]},
            InvalidTensor,
            "byte size overflow for input 'x' ($.inputs[0].shape)",
            id="bytes beyond 63 bits",
        ),
        pytest.param(
            {"shape": [1] * 17},
            InvalidTensor,
            "$.inputs[0].shape: expected at most 16 axes (limits.max_rank), got 17",
            id="too many axes",
        ),
    ],
)
@pytest.mark.parametrize("limits", [BY_SIMD, BY_ORJSON], ids=["simdjson", "orjson"])
def test_an_input_that_does_not_fit_is_refused(
    member: dict[str, Any], kind: type[Exception], text: str, limits: Limits
) -> None:
    with pytest.raises(kind) as caught:
        read(one(**member), limits=limits)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        pytest.param(
            [],
            "expected 2 inputs but got 0 inputs for model 'm'. Got input(s) [], but "
            "missing required input(s) ['a','b']. Please provide all required input(s).",
            id="none",
        ),
        pytest.param(
            [b()],
            "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['b'], "
            "but missing required input(s) ['a']. Please provide all required input(s).",
            id="one missing",
        ),
        pytest.param(
            [a(), b(), tensor()],
            "unexpected inference input 'x' for model 'm' ($.inputs[2].name): "
            "expected one of ['a','b']",
            id="one unknown",
        ),
        pytest.param(
            [a(), a(), b()],
            "input 'a' already exists in request ($.inputs[1].name)",
            id="one twice",
        ),
        pytest.param(
            [a(), b(shape=[2, 3], data=[1, 2, 3, 4, 5, 6])],
            "input 'b' batch size does not match other inputs for 'm' "
            "($.inputs[1].shape[0]): expected 1, got 2",
            id="two batches",
        ),
    ],
)
def test_every_input_is_given_once(listed: list[object], text: str) -> None:
    with pytest.raises(InvalidTensor) as caught:
        read(body(inputs=listed), PAIR)
    assert text in str(caught.value)


def test_names_are_judged_before_shapes_and_shapes_before_elements() -> None:
    for listed, text in [
        ([a(shape=[9]), tensor()], "unexpected inference input"),
        ([a(data=["no"]), b(shape=[1])], "unexpected shape"),
    ]:
        with pytest.raises(InvalidTensor, match=text):
            read(body(inputs=listed), PAIR)


def test_inputs_come_in_any_order_and_leave_in_the_models() -> None:
    first, second = (read(body(inputs=listed), PAIR) for listed in ([a(), b()], [b(), a()]))
    assert first == second
    assert first.shapes == ((2,), (3,))


@pytest.mark.parametrize(
    ("model", "given", "rows", "beyond"),
    [
        pytest.param((-1, 4), [3, 4], 3, (4,), id="a batch of rows"),
        pytest.param((-1,), [3], 3, (), id="a batch of single values"),
        pytest.param((-1, -1, 2), [1, 5, 2], 1, (5, 2), id="a dynamic axis"),
        pytest.param((-1, -1), [1, 0], 1, (0,), id="a zero dimension"),
    ],
)
def test_a_model_that_batches_has_rows(
    model: Shape, given: list[int], rows: int, beyond: Shape
) -> None:
    count = rows
    for size in beyond:
        count *= size
    reading = read(one(shape=given, data=[1] * count), version(("x", "FP32", model)))
    assert (reading.rows, reading.shapes) == (rows, (beyond,))


@pytest.mark.parametrize(
    ("model", "given"),
    [
        pytest.param((4,), [4], id="fixed"),
        pytest.param((-1, 4), [9, 4], id="dynamic, beyond any batch"),
        pytest.param((), [], id="of rank 0"),
        pytest.param((-1, 3), [0, 3], id="with a zero dimension first"),
        pytest.param((1, 4), [1, 4], id="a fixed batch of one"),
    ],
)
def test_another_model_takes_its_whole_shape(model: Shape, given: list[int]) -> None:
    count = 1
    for size in given:
        count *= size
    one_row = version(("x", "FP32", model), max_batch_rows=0)
    reading = read(one(shape=given, data=[1] * count), one_row)
    assert (reading.rows, reading.shapes) == (1, (tuple(given),))


def test_a_model_without_batches_takes_no_batch_axis() -> None:
    with pytest.raises(InvalidTensor, match=r"Expected \[4\], got \[1,4\]"):
        read(one(), version(("x", "FP32", (4,)), max_batch_rows=0))


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param([1, 2**40], id="large"),
        pytest.param([1, 0, 2**62], id="empty but for one axis"),
        pytest.param([1, 2**30, 0, 2**30], id="empty in the middle"),
    ],
)
@pytest.mark.parametrize("limits", [BY_SIMD, BY_ORJSON], ids=["simdjson", "orjson"])
def test_a_huge_shape_costs_nothing(shape: list[int], limits: Limits) -> None:
    model = version(("x", "FP32", (-1,) * len(shape)))
    text = one(shape=shape, data=[1])
    tracemalloc.start()
    with pytest.raises(InvalidTensor, match=r"at most 16777216 elements \(limits.max_elements\)"):
        read(text, model, limits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_the_limits_are_settings() -> None:
    tight = Limits(max_tensors=1, max_rank=1, max_elements=3, max_id_bytes=2)
    for text, of, message in [
        (body(inputs=[a(), b()]), PAIR, r"\$.inputs: expected at most 1 tensors \(limits.max_ten"),
        (
            one(),
            FLOATS,
            r"\$.inputs\[0\].shape: expected at most 1 axes \(limits.max_rank\), got 2",
        ),
        (one(shape=[4]), version(("x", "FP32", (-1,))), r"at most 3 elements \(limits.max_elem"),
        (body(outputs=[{"name": "label"}] * 2), FLOATS, r"\$.outputs: expected at most 1 tensors"),
    ]:
        with pytest.raises(InvalidTensor, match=message):
            read(text, of, tight)


def test_a_name_in_a_message_is_cut() -> None:
    with pytest.raises(InvalidTensor) as caught:
        read(one(name="y" * 100_000))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_of_the_table_is_known(datatype: str) -> None:
    model = version(("x", datatype, (-1, 0)))
    request = {"inputs": [tensor(datatype=datatype, shape=[1, 0], data=[])]}
    if datatype in ("FP16", "BF16"):
        with pytest.raises(InvalidTensor, match=f"receiving {datatype} data via JSON"):
            read(json.dumps(request).encode(), model)
    else:
        assert len(read(json.dumps(request).encode(), model).payloads[0]) == 0
