"""Elements in JSON are packed without any silent change, or refused by their place."""

import json
import math
import struct
from typing import Any

import numpy as np
import pytest

from gateway.core.datatypes import DATATYPES
from gateway.errors import InvalidTensor, Malformed
from gateway.types import Array, Shape
from gateway.wire.decode import Limits
from tests.wire.bodies import BY_ORJSON, BY_SIMD, body, octets, one, outcome, read, version

EITHER = pytest.mark.parametrize("limits", [BY_SIMD, BY_ORJSON], ids=["simdjson", "orjson"])
INTEGERS = ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"]
MISMATCH = r"Shape does not match true shape of 'data' field \(\$\.inputs\[0\]\.data\)"


def packed(datatype: str, data: str, limits: Limits, rest: str = "") -> Array:
    """The elements of a row whose `data` is written as given, read back by numpy."""
    count = len(json.loads(data))
    text = (
        f'{{"inputs":[{{"name":"x","shape":[1,{count}],"datatype":"{datatype}",'
        f'"data":{data}}}]{rest}}}'
    )
    payload = read(text.encode(), version(("x", datatype, (-1, -1))), limits).payloads[0]
    assert not isinstance(payload, list)
    return np.frombuffer(payload, DATATYPES[datatype].numpy)


@EITHER
@pytest.mark.parametrize("datatype", INTEGERS)
def test_an_integer_keeps_every_bit(datatype: str, limits: Limits) -> None:
    bounds = np.iinfo(DATATYPES[datatype].numpy.str)
    values = [int(bounds.min), 0, 1, int(bounds.max) - 1, int(bounds.max)]
    if datatype.endswith("64"):
        values.append(2**53 + 1)
    assert packed(datatype, json.dumps(values), limits).tolist() == values


@EITHER
@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("side", ["below", "above"])
def test_an_integer_out_of_range_is_refused(datatype: str, side: str, limits: Limits) -> None:
    bounds = np.iinfo(DATATYPES[datatype].numpy.str)
    value = int(bounds.min) - 1 if side == "below" else int(bounds.max) + 1
    with pytest.raises(InvalidTensor) as caught:
        packed(datatype, f"[0,{value},1]", limits)
    assert f"$.inputs[0].data[1]: expected an integer from {bounds.min} to" in str(caught.value)


@EITHER
@pytest.mark.parametrize(
    ("datatype", "element", "text"),
    [
        *(("INT32", element, "expected an integer from") for element in
          ("1.0", '"1"', "true", "null", "[1]", "{}", "1e3", "NaN", "99999999999999999999")),
        *(("UINT8", element, "expected an integer from 0 to 255") for element in
          ("1.0", '"1"', "false", "null", "-1", "256")),
        *(("FP32", element, "expected a number within the range of FP32") for element in
          ('"1"', "true", "null", "[1]", "{}", '"NaN"', "1e300", "-1e300", "3.5e38")),
        *(("FP64", element, "expected a number within the range of FP64") for element in
          ('"1"', "false", "null", "[[1]]")),
        *(("BOOL", element, "expected true or false") for element in
          ("0", "1", '"true"', "null", "1.0")),
        *(("BYTES", element, "expected a string") for element in
          ("0", "1.5", "true", "null", '["a"]', "{}")),
    ],
)  # fmt: skip
def test_an_element_of_another_kind_is_refused_by_its_place(
    datatype: str, element: str, text: str, limits: Limits
) -> None:
    good = {"BOOL": "true", "BYTES": '"a"'}.get(datatype, "1")
    with pytest.raises(InvalidTensor) as caught:
        packed(datatype, f"[{good},{element},{good}]", limits)
    assert f"$.inputs[0].data[1]: {text}" in str(caught.value)
    assert "for input 'x' of model 'm', got " in str(caught.value)


@EITHER
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_integers_are_fine_where_floats_are_asked(datatype: str, limits: Limits) -> None:
    values = [1, -2, 0, 2**53 + 1, 2**64 - 1, 2.5]
    expected = np.array([float(value) for value in values]).astype(DATATYPES[datatype].numpy)
    assert packed(datatype, json.dumps(values), limits).tobytes() == expected.tobytes()


@EITHER
def test_an_integer_beyond_64_bits_is_a_float_where_one_is_asked(limits: Limits) -> None:
    assert packed("FP64", "[18446744073709551616,-9223372036854775809]", limits).tolist() == [
        2.0**64,
        -(2.0**63),
    ]


@EITHER
def test_fp64_keeps_its_extremes(limits: Limits) -> None:
    text = "[5e-324,1.7976931348623157e308,-0.0,0.1,1e-400]"
    expected = struct.pack("<5d", 5e-324, 1.7976931348623157e308, -0.0, 0.1, 0.0)
    assert packed("FP64", text, limits).tobytes() == expected


@EITHER
def test_fp32_is_the_nearest_float(limits: Limits) -> None:
    found = packed("FP32", "[0.1,0.10000000149011612,1e-45,3.4028234663852886e38,-0.0]", limits)
    expected = np.array([0.1, 0.1, 1e-45, 3.4028234663852886e38, -0.0], "<f4")
    assert found.tobytes() == expected.tobytes()


@EITHER
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_tokens_are_packed_and_never_refused(datatype: str, limits: Limits) -> None:
    found = packed(datatype, "[1,NaN,Infinity,-Infinity]", limits)
    assert math.isnan(found[1])
    assert [found[0], *found[2:]] == [1, math.inf, -math.inf]


@EITHER
def test_an_overflow_beside_an_infinity_is_still_refused(limits: Limits) -> None:
    with pytest.raises(InvalidTensor, match=r"data\[1\]: expected a number within .* got 1e\+300"):
        packed("FP32", "[Infinity,1e300]", limits)


@EITHER
def test_a_number_beyond_every_float_is_malformed(limits: Limits) -> None:
    with pytest.raises(Malformed, match="expected JSON text"):
        packed("FP64", "[1, 1e999]", limits)


@EITHER
def test_booleans_become_bytes(limits: Limits) -> None:
    assert packed("BOOL", "[true,false,true]", limits).tobytes() == b"\1\0\1"


@EITHER
def test_strings_stay_strings(limits: Limits) -> None:
    texts = ["", "a", "\0", "é", "\U0001f600", '"\\', "[[["]
    model = version(("x", "BYTES", (-1, 7)))
    reading = read(one(datatype="BYTES", shape=[1, 7], data=texts), model, limits)
    assert reading.payloads == (texts,)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_come_in_binary_only(datatype: str) -> None:
    model = version(("x", datatype, (-1, 4)))
    with pytest.raises(InvalidTensor, match=f"receiving {datatype} data via JSON is not supported"):
        read(one(datatype=datatype), model)


NESTED: list[Any] = [
    pytest.param([1, 2, 2], [[[1, 2], [3, 4]]], True, id="level by level"),
    pytest.param([1, 2, 2], [[1, 2], [3, 4]], True, id="without a batch axis of one"),
    pytest.param([1, 2, 2], [1, 2, 3, 4], True, id="flat"),
    pytest.param([2, 1, 2], [[[1, 2]], [[3, 4]]], True, id="a batch of two"),
    pytest.param([1, 4, 1], [[[1], [2], [3], [4]]], True, id="columns of one"),
    pytest.param([1, 0, 2], [[]], True, id="an empty row"),
    pytest.param([1, 0, 2], [], True, id="nothing for nothing"),
    pytest.param([1, 2, 0], [[[], []]], True, id="rows of nothing"),
    pytest.param([1, 2, 0], [[], []], True, id="rows of nothing, without the batch axis"),
    pytest.param([1, 2, 2], [[[1, 2], [3]]], False, id="a short row"),
    pytest.param([1, 2, 2], [[[1, 2, 3], [4]]], False, id="ragged, the count right"),
    pytest.param([1, 2, 2], [[1, 2, 3], [4]], False, id="ragged without the batch axis"),
    pytest.param([1, 2, 2], [[1, 2, 3, 4]], False, id="too few levels"),
    pytest.param([1, 2, 2], [[[[1, 2], [3, 4]]]], False, id="a level too many"),
    pytest.param([2, 1, 2], [[1, 2], [3, 4]], False, id="without a batch axis of two"),
    pytest.param([1, 2, 2], [[[1, 2], 3, 4]], False, id="a number for a row"),
    pytest.param([1, 2, 2], [[1, 2], 3, 4], False, id="rows, then numbers"),
    pytest.param([1, 2, 2], [1, 2, [3, 4]], False, id="numbers, then a row"),
    pytest.param([1, 2, 2], [[], 1, 2, 3], False, id="an empty row among numbers"),
    pytest.param([1, 2, 2], [1, 2, 3, [4]], False, id="an element in brackets"),
    pytest.param([1, 2, 2], [1, [2, 3], [], 4], False, id="flat but for inner arrays"),
    pytest.param([1, 2, 2], [[[1, [2, 3]], [[], 4]]], False, id="ragged within the elements"),
    pytest.param([1, 2, 2], [1, 2, 3], False, id="too few"),
    pytest.param([1, 2, 2], [1, 2, 3, 4, 5], False, id="too many"),
    pytest.param([1, 2, 2], [], False, id="nothing for something"),
    pytest.param([1, 2, 2], [[], []], False, id="empty rows for something"),
    pytest.param([1, 2, 2], [[[1, 2], "34"]], False, id="a string for a row"),
    pytest.param([1, 2, 2], [[[1, 2], {"a": 1, "b": 2}]], False, id="an object for a row"),
]


@EITHER
@pytest.mark.parametrize(("shape", "data", "fits"), NESTED)
@pytest.mark.parametrize("more", ["", "a [ inside"], ids=["plain", "a bracket in the id"])
def test_nesting_matches_the_shape_level_by_level(
    shape: list[int], data: list[object], fits: bool, more: str, limits: Limits
) -> None:
    model = version(("x", "FP32", (-1, -1, -1)))
    member = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}
    text = body(inputs=[member], id=more)
    if fits:
        payload = read(text, model, limits).payloads[0]
        assert octets(payload) == np.arange(1, 1 + math.prod(shape), dtype="<f4").tobytes()
    else:
        with pytest.raises(InvalidTensor, match=rf"{MISMATCH}|\$\.inputs\[0\]\.data\["):
            read(text, model, limits)


@EITHER
def test_a_model_without_batches_has_no_axis_to_leave_out(limits: Limits) -> None:
    model = version(("x", "FP32", (1, 2, 2)), max_batch_rows=0)
    with pytest.raises(InvalidTensor, match=MISMATCH):
        read(one(shape=[1, 2, 2], data=[[1, 2], [3, 4]]), model, limits)


@EITHER
def test_a_tensor_of_rank_0_is_one_element(limits: Limits) -> None:
    model = version(("x", "INT64", ()), max_batch_rows=0)
    reading = read(one(datatype="INT64", shape=[], data=[7]), model, limits)
    assert octets(reading.payloads[0]) == struct.pack("<q", 7)
    with pytest.raises(InvalidTensor, match=MISMATCH):
        read(one(datatype="INT64", shape=[], data=[[7]]), model, limits)


@EITHER
@pytest.mark.parametrize("data", [5, "abcd", True, {"0": 1}])
def test_data_is_an_array(data: object, limits: Limits) -> None:
    with pytest.raises(Malformed, match=r"\$\.inputs\[0\]\.data: expected an array, got"):
        read(one(data=data), limits=limits)


@EITHER
@pytest.mark.parametrize(
    ("shape", "at", "place"),
    [
        ((1, 3, 5), 7, "[0][1][2]"),
        ((3, 5), 14, "[2][4]"),  # nested without the batch axis
        ((15,), 14, "[14]"),  # flat
    ],
)
def test_a_strange_element_is_named_by_its_place(
    shape: Shape, at: int, place: str, limits: Limits
) -> None:
    values: list[object] = [1] * 15
    values[at] = "strange"
    array = np.array(values, object).reshape(shape).tolist()
    model = version(("x", "FP32", (-1, 3, 5)))
    _, text = outcome(one(shape=[1, 3, 5], data=array), model, limits)
    assert f"$.inputs[0].data{place}: expected a number within the range of FP32" in str(text)


@EITHER
@pytest.mark.parametrize("at", [0, 4095, 4096, 9999])
def test_the_first_strange_element_of_many_is_found(at: int, limits: Limits) -> None:
    values: list[object] = [1] * 10_000
    values[at] = True
    values[9999] = None
    model = version(("x", "INT8", (-1, 10_000)))
    _, text = outcome(one(datatype="INT8", shape=[1, 10_000], data=values), model, limits)
    assert f"$.inputs[0].data[{at}]: expected an integer from -128 to 127" in str(text)
