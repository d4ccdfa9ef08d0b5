"""Encode: what a client reads back is what the model gave, however the batch was mixed."""

import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.core.datatypes import DATATYPES
from gateway.errors import InvalidTensor
from gateway.types import Arm, Array, Call, Outputs, Shape, Signature, TensorSpec, Version
from gateway.wire.decode import Wanted
from gateway.wire.encode import Encoder, refuse_unwritable

JSON_TYPES = [name for name in DATATYPES if name not in ("FP16", "BF16")]
EVIL = ["", "a],[b", "],[", ",", '","', "%b %s %", "é😀", "null", "NaN", "\0\n", '"', "\\", "]]}"]


def version(outputs: Sequence[tuple[str, str, Shape]], *, batches: bool = True) -> Version:
    specs = tuple(TensorSpec(*output) for output in outputs)
    return Version("m %b", '7"', Signature((), specs, 64 if batches else 0))


def calls_of(rows: Sequence[int], arrays: Sequence[Array], of: Version) -> list[Call]:
    """Calls of so many rows each that were answered by one execution."""
    outputs = Outputs(arrays, len(rows))
    calls = []
    start = 0
    for count in rows:
        call = Call(Arm(of), (), count, (), lambda _call: None)
        call.answer(outputs, start, start + count)
        calls.append(call)
        start += count
    return calls


def read_value(kind: str, value: Any) -> Any:
    """What a number must be once it is read, so that NaN equals itself and bits count.

    JSON's NaN has one sign and no payload.
    """
    if kind in ("FP32", "FP64") and not math.isnan(value):
        return struct.pack("<f" if kind == "FP32" else "<d", value)
    return str(value) if isinstance(value, float) else value


def check(text: bytes, call: Call, identity: str | None) -> None:
    """Prove that an answer says exactly what the call was given."""
    assert call.outputs is not None
    answer = json.loads(text)
    expected = {"model_name": "m %b", "model_version": '7"'}
    if identity is not None:
        expected["id"] = identity
    assert {key: value for key, value in answer.items() if key != "outputs"} == expected
    signature = call.arm.version.signature
    assert len(answer["outputs"]) == len(signature.outputs)
    for spec, array, output in zip(
        signature.outputs, call.outputs.arrays, answer["outputs"], strict=True
    ):
        part = array[call.start : call.stop] if signature.max_batch_rows else array
        assert list(output) == ["name", "datatype", "shape", "data"]
        assert (output["name"], output["datatype"]) == (spec.name, spec.datatype)
        assert output["shape"] == list(part.shape)
        flat = part.reshape(-1).tolist()
        assert [type(value) for value in output["data"]] == [type(value) for value in flat]
        assert [read_value(spec.datatype, value) for value in output["data"]] == [
            read_value(spec.datatype, value) for value in flat
        ]


def elements(kind: str) -> st.SearchStrategy[Any]:
    match kind:
        case "BYTES":
            return st.sampled_from(EVIL) | st.text(max_size=5)
        case "BOOL":
            return st.booleans()
        case "FP32" | "FP64":
            odd = st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324])
            return odd.filter(lambda value: kind == "FP64" or value != 5e-324) | st.floats(
                width=32 if kind == "FP32" else 64
            )
        case _:
            bounds = np.iinfo(DATATYPES[kind].numpy.str)
            return st.integers(int(bounds.min), int(bounds.max))


@st.composite
def executions(draw: st.DrawFn) -> tuple[Version, list[int], list[Array]]:
    """A batch of some mix, and outputs of any datatypes and shapes."""
    one_row_each = st.lists(st.just(1), min_size=1, max_size=6)
    rows = draw(one_row_each | st.lists(st.integers(1, 3), min_size=1, max_size=4))
    specs: list[tuple[str, str, Shape]] = []
    arrays: list[Array] = []
    for at in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(JSON_TYPES))
        inner = tuple(draw(st.lists(st.integers(0, 3), max_size=2)))
        shape = (sum(rows), *inner)
        specs.append((draw(st.sampled_from(["y", "%b", "100%", '"', "],["])) + str(at), kind, ()))
        numpy = DATATYPES[kind].numpy
        if kind == "BYTES":
            flat = draw(
                st.lists(elements(kind), min_size=math.prod(shape), max_size=math.prod(shape))
            )
            array = np.empty(math.prod(shape), dtype=object)
            array[:] = flat
            arrays.append(array.reshape(shape))
        else:
            arrays.append(draw(hnp.arrays(numpy, shape, elements=elements(kind))))
    return version(specs), rows, arrays


@given(executions(), st.none() | st.text(max_size=5))
def test_every_call_reads_back_its_own_rows(
    execution: tuple[Version, list[int], list[Array]], identity: str | None
) -> None:
    of, rows, arrays = execution
    encoder = Encoder(of)
    for call in calls_of(rows, arrays, of):
        check(encoder.json(call, identity), call, identity)


@given(executions())
def test_a_mixed_answer_without_blobs_says_the_same_as_one_of_text(
    execution: tuple[Version, list[int], list[Array]],
) -> None:
    of, rows, arrays = execution
    encoder = Encoder(of)
    for call in calls_of(rows, arrays, of):
        body, json_length = encoder.mixed(call, "me", encoder.everything)
        assert json_length is None
        check(body, call, "me")


@pytest.mark.parametrize("kind", JSON_TYPES)
def test_every_datatype_keeps_its_extremes_in_every_mix(kind: str) -> None:
    values: list[Any]
    if kind == "BYTES":
        values = EVIL[:12]
    elif kind == "BOOL":
        values = [True, False] * 6
    elif kind.startswith("FP"):
        limits = np.finfo(DATATYPES[kind].numpy.str)
        odd = [math.nan, math.inf, -math.inf, -0.0, 0.1, float(limits.max), float(limits.tiny)]
        values = [*odd, 1.0, math.nan, 2.0, math.inf, math.nan]
    else:
        bounds = np.iinfo(DATATYPES[kind].numpy.str)
        values = [int(bounds.min), int(bounds.max), 0, 1] * 3
    wide = np.array(values, dtype=DATATYPES[kind].numpy).reshape(6, 2)
    of = version([("a", kind, (-1, 2)), ("b", kind, (-1,)), ("c", kind, (-1, 1, 2))])
    arrays = [wide, wide[:, 1], wide.reshape(6, 1, 2)]
    for rows in ([1] * 6, [6], [2, 1, 3], [1, 5]):
        for call in calls_of(rows, arrays, of):
            check(Encoder(of).json(call, None), call, None)


@pytest.mark.parametrize("kind", [*JSON_TYPES])
@pytest.mark.parametrize("shape", [(3, 0), (3, 2, 0), (3, 0, 2)])
def test_an_output_without_elements_is_an_empty_list(kind: str, shape: Shape) -> None:
    of = version([("a", kind, (-1,) * len(shape))])
    array: Array = np.empty(shape, DATATYPES[kind].numpy)
    for rows in ([1, 1, 1], [3], [1, 2]):
        for call in calls_of(rows, [array], of):
            check(Encoder(of).json(call, None), call, None)


@pytest.mark.parametrize("kind", JSON_TYPES)
@pytest.mark.parametrize("shape", [(), (2,), (1, 3), (0, 2)])
def test_a_model_without_a_batch_axis_answers_with_its_whole_shape(kind: str, shape: Shape) -> None:
    of = version([("a", kind, shape)], batches=False)
    array: Array = np.zeros(shape, DATATYPES[kind].numpy)
    if kind == "BYTES":
        array = np.full(shape, "a],[b", dtype=object)
    (call,) = calls_of([1], [array], of)
    check(Encoder(of).json(call, "x"), call, "x")
    body, json_length = Encoder(of).mixed(call, "x", Encoder(of).everything)
    assert json_length is None
    check(body, call, "x")


def test_tokens_stand_where_the_odd_numbers_stood() -> None:
    of = version([("a", "FP32", (-1, 2))])
    array = np.array([[math.nan, 1], [-math.inf, math.inf], [2, math.nan]], np.float32)
    texts = [Encoder(of).json(call, None) for call in calls_of([1, 2], [array], of)]
    assert [text[text.index(b'"data":') :] for text in texts] == [
        b'"data":[NaN,1.0]}]}',
        b'"data":[-Infinity,Infinity,2.0,NaN]}]}',
    ]


def test_single_precision_is_written_as_short_as_it_reads_back() -> None:
    of = version([("a", "FP32", (-1,))])
    (call,) = calls_of([2], [np.array([0.1, 16777216], np.float32)], of)
    assert b'"data":[0.1,16777216.0]' in Encoder(of).json(call, None)


def test_the_text_of_an_execution_is_made_once() -> None:
    of = version([("a", "INT64", (-1,))])
    first, second = calls_of([1, 1], [np.array([1, 2])], of)
    encoder = Encoder(of)
    encoder.json(first, None)
    assert first.outputs is not None
    texts = first.outputs.texts
    encoder.json(second, "b")
    assert first.outputs.texts is texts is not None


def test_an_array_that_is_not_contiguous_is_written_as_it_reads() -> None:
    of = version([("a", "INT64", (-1, 2))])
    array = np.arange(12).reshape(3, 4)[:, ::2]
    for rows in ([3], [1, 1, 1], [1, 2]):
        for call in calls_of(rows, [array], of):
            check(Encoder(of).json(call, None), call, None)


# binary


def wanted(*binary: bool) -> tuple[Wanted, ...]:
    return tuple(Wanted(at, is_binary) for at, is_binary in enumerate(binary))


def split(body: bytes, json_length: int | None) -> tuple[Any, bytes]:
    size = len(body) if json_length is None else json_length
    return json.loads(body[:size]), body[size:]


def test_blobs_follow_the_text_in_the_order_of_the_outputs() -> None:
    of = version([("a", "FP32", (-1, 2)), ("b", "INT64", (-1,)), ("c", "BYTES", (-1,))])
    arrays: list[Array] = [
        np.arange(6, dtype="<f4").reshape(3, 2),
        np.array([7, 8, 9]),
        np.array(["", "é", "],["], dtype=object),
    ]
    _, call = calls_of([1, 2], arrays, of)
    answer, blobs = split(*Encoder(of).mixed(call, "me", wanted(True, False, True)))
    assert answer == {
        "model_name": "m %b",
        "model_version": '7"',
        "id": "me",
        "outputs": [
            {
                "name": "a",
                "datatype": "FP32",
                "shape": [2, 2],
                "parameters": {"binary_data_size": 16},
            },
            {"name": "b", "datatype": "INT64", "shape": [2], "data": [8, 9]},
            {
                "name": "c",
                "datatype": "BYTES",
                "shape": [2],
                "parameters": {"binary_data_size": 13},
            },
        ],
    }
    assert blobs == struct.pack("<4f", 2, 3, 4, 5) + b"\2\0\0\0\xc3\xa9" + b"\3\0\0\0],["


@pytest.mark.parametrize("kind", DATATYPES)
def test_every_datatype_leaves_in_binary_bit_by_bit(kind: str) -> None:
    of = version([("a", kind, (-1, 2))])
    size_bytes = DATATYPES[kind].size_bytes
    if size_bytes:
        raw = bytes([1, 0] * size_bytes) if kind == "BOOL" else bytes(range(2 * size_bytes))
        raw = raw[: 2 * size_bytes]
        array: Array = np.frombuffer(raw, DATATYPES[kind].numpy).reshape(1, 2)
    else:
        raw = b"\1\0\0\0a\0\0\0\0"
        array = np.array([["a", ""]], dtype=object)
    (call,) = calls_of([1], [array], of)
    answer, blobs = split(*Encoder(of).mixed(call, None, wanted(True)))
    assert blobs == raw
    assert answer["outputs"][0]["parameters"] == {"binary_data_size": len(raw)}
    assert "data" not in answer["outputs"][0]


def test_answers_of_one_layout_and_of_others_are_not_mixed_up() -> None:
    """What an answer that is all binary begins with is remembered by its layout."""
    of = version([("a", "INT8", (-1,)), ("b", "BYTES", (-1,)), ("c", "INT8", (-1,))])
    encoder = Encoder(of)
    for rows in (1, 2, 1, 2, *range(3, 400), 1):
        for strings in ("", "ab"):
            arrays: list[Array] = [
                np.arange(rows).astype(np.int8),
                np.array([strings] * rows, dtype=object),
                np.zeros(rows, np.int8),
            ]
            (call,) = calls_of([rows], arrays, of)
            for identity in (None, "me"):
                answer, blobs = split(*encoder.mixed(call, identity, wanted(True, True)))
                sizes = [one["parameters"]["binary_data_size"] for one in answer["outputs"]]
                assert sizes == [rows, rows * (4 + len(strings))]
                assert [one["shape"] for one in answer["outputs"]] == [[rows], [rows]]
                assert (sum(sizes), answer.get("id")) == (len(blobs), identity)
            for at, name in ((0, "a"), (2, "c"), (1, "b")):
                answer, _ = split(*encoder.mixed(call, None, (Wanted(at, binary=True),)))
                assert [one["name"] for one in answer["outputs"]] == [name]


def test_only_the_outputs_that_are_wanted_are_answered() -> None:
    of = version([("a", "INT64", (-1,)), ("b", "INT64", (-1,))])
    (call,) = calls_of([1], [np.array([1]), np.array([2])], of)
    for one in (Wanted(1, binary=True), Wanted(1, binary=False)):
        answer, _ = split(*Encoder(of).mixed(call, None, (one,)))
        assert [output["name"] for output in answer["outputs"]] == ["b"]
    assert split(*Encoder(of).mixed(call, None, ()))[0]["outputs"] == []


def test_blobs_without_a_byte_leave_as_plain_json() -> None:
    of = version([("a", "FP32", (-1, 0)), ("b", "BYTES", (-1, 0)), ("c", "INT8", (-1,))])
    arrays: list[Array] = [
        np.empty((1, 0), "<f4"),
        np.empty((1, 0), object),
        np.array([3], np.int8),
    ]
    (call,) = calls_of([1], arrays, of)
    body, json_length = Encoder(of).mixed(call, None, wanted(True, True, False))
    outputs = json.loads(body)["outputs"]
    assert json_length is None
    assert [output.get("parameters") for output in outputs] == [
        {"binary_data_size": 0},
        {"binary_data_size": 0},
        None,
    ]


@pytest.mark.parametrize("kind", ["FP16", "BF16"])
def test_half_precision_is_refused_as_json_and_leaves_in_binary(kind: str) -> None:
    of = version([("a", "INT64", (-1,)), ("b", kind, (-1,))])
    refuse_unwritable(of, wanted(False, True))
    refuse_unwritable(of, wanted(False))
    message = rf"sending {kind} data via JSON is not supported .*'b'"
    with pytest.raises(InvalidTensor, match=message):
        refuse_unwritable(of, wanted(False, False))


def test_everything_is_every_output_as_json() -> None:
    of = version([("a", "INT64", (-1,)), ("b", "INT64", (-1,))])
    assert Encoder(of).everything == wanted(False, False)
