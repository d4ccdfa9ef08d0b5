"""V2: what is sent is what the gateway itself reads, and what it answers comes out as it was."""

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.http import InferenceServerClient, InferInput

from gateway.core.datatypes import DATATYPES
from gateway.execute.v2 import (
    JSON_LENGTH,
    BadAnswer,
    Request,
    error_of,
    metadata_of,
    of_arrays,
    of_calls,
    outputs_of,
)
from gateway.types import Arm, Array, Call, Outputs, Payload, Shape, Signature, TensorSpec, Version
from gateway.wire.decode import Limits, Wanted, decode
from gateway.wire.encode import Encoder
from tests.fakes import deaf

Model = Sequence[tuple[str, str, Shape]]
TEXTS = st.text(max_size=6)


def version(inputs: Model, outputs: Model, max_rows: int = 64) -> Version:
    given, made = (tuple(TensorSpec(*one) for one in side) for side in (inputs, outputs))
    return Version("m", "1", Signature(given, made, max_rows))


def arrays_of(kind: str, shape: Shape) -> st.SearchStrategy[Array]:
    if kind == "BYTES":
        return hnp.arrays(object, shape, elements=TEXTS)
    dtype = DATATYPES[kind].numpy
    return hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype))


def payload_of(array: Array) -> Payload:
    return array.ravel().tolist() if array.dtype == object else array.tobytes()


@st.composite
def batches(draw: st.DrawFn) -> tuple[Version, list[Call], list[Array]]:
    """A model, calls of it with equal shapes, and the whole arrays that they are together."""
    kinds = draw(st.lists(st.sampled_from(list(DATATYPES)), min_size=1, max_size=3))
    shapes = [draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)) for _ in kinds]
    of = version(
        [(f"in{at}", kind, (-1, *[-1] * len(shapes[at]))) for at, kind in enumerate(kinds)],
        [("y", "FP32", (-1,))],
    )
    rows = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    pieces = [
        [draw(arrays_of(kind, (count, *shape))) for kind, shape in zip(kinds, shapes, strict=True)]
        for count in rows
    ]
    calls = [
        Call(Arm(of), tuple(map(payload_of, some)), count, tuple(shapes), deaf)
        for some, count in zip(pieces, rows, strict=True)
    ]
    return of, calls, [np.concatenate(column) for column in zip(*pieces, strict=True)]


def same_bits(one: Payload, array: Array) -> bool:
    return one == payload_of(array) if isinstance(one, list) else bytes(one) == array.tobytes()


def whole(request: Request) -> bytes:
    return b"".join((request.json, *request.blobs))


@given(batches())
def test_the_gateway_reads_a_batch_as_what_its_calls_hold(
    batch: tuple[Version, list[Call], list[Array]],
) -> None:
    of, calls, arrays = batch
    for request in (of_calls(calls, of.signature), of_arrays(arrays, of.signature)):
        reading = decode(whole(request), len(request.json), of, Limits())
        assert reading.rows == request.rows == sum(call.rows for call in calls)
        assert reading.shapes == calls[0].shapes
        assert all(map(same_bits, reading.payloads, arrays))
        assert reading.wanted == (Wanted(0, binary=True),)
        assert request.size_bytes == len(whole(request))


@st.composite
def answers(draw: st.DrawFn) -> tuple[Version, list[Array]]:
    kinds = draw(st.lists(st.sampled_from(list(DATATYPES)), min_size=1, max_size=3))
    rows = draw(st.integers(1, 4))
    shapes = [draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)) for _ in kinds]
    of = version(
        [("x", "FP32", (-1,))],
        [(f"out{at}", kind, (-1, *[-1] * len(shapes[at]))) for at, kind in enumerate(kinds)],
    )
    arrays = [
        draw(arrays_of(kind, (rows, *shape))) for kind, shape in zip(kinds, shapes, strict=True)
    ]
    return of, arrays


@given(answers())
def test_what_the_gateway_answers_comes_out_as_the_model_gave_it(
    answer: tuple[Version, list[Array]],
) -> None:
    of, arrays = answer
    rows = len(arrays[0])
    call = Call(Arm(of), (), rows, (), deaf)
    call.answer(Outputs(arrays, 1), 0, rows)
    wanted = tuple(Wanted(at, binary=True) for at in range(len(arrays)))
    body, length = Encoder(of).mixed(call, None, wanted)
    headers = {} if length is None else {JSON_LENGTH: str(length)}
    for got, expected in zip(outputs_of(body, headers, of.signature, rows), arrays, strict=True):
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype
        assert same_bits(payload_of(got), expected)
        assert got.flags.aligned


def test_a_request_is_what_tritons_own_client_would_send() -> None:
    of = version([("x", "FP32", (-1, 2)), ("s", "BYTES", (-1, 1))], [("y", "FP32", (-1,))])
    numbers, texts = np.array([[1.5, -2]], "<f4"), np.array([["é"]], object)
    request = of_arrays([numbers, texts], of.signature)
    theirs = [InferInput("x", [1, 2], "FP32"), InferInput("s", [1, 1], "BYTES")]
    theirs[0].set_data_from_numpy(numbers)
    theirs[1].set_data_from_numpy(np.array([["é".encode()]], object))
    body, length = InferenceServerClient.generate_request_body(theirs)
    assert json.loads(request.json)["inputs"] == json.loads(body[:length])["inputs"]
    assert b"".join(request.blobs) == body[length:]


def test_tritons_own_client_reads_answers_as_we_do() -> None:
    blob = struct.pack("<2f", 1, 2) + struct.pack("<I", 2) + b"ab"
    head = json.dumps({"outputs": [member("y", [2], 8), member("s", [1], 6, "BYTES")]}).encode()
    theirs = InferenceServerClient.parse_response_body(head + blob, header_length=len(head))
    of = version([], [("s", "BYTES", (-1,)), ("y", "FP32", (-1,))], max_rows=0)
    ours = outputs_of(head + blob, {JSON_LENGTH: str(len(head))}, of.signature, None)
    assert ours[1].tolist() == theirs.as_numpy("y").tolist() == [1, 2]
    assert [ours[0][0].encode()] == theirs.as_numpy("s").tolist()


def member(
    name: str, shape: Any, size_bytes: Any, datatype: Any = "FP32", **more: object
) -> dict[str, object]:
    parameters = {"binary_data_size": size_bytes}
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters} | more


ONE = version([], [("y", "FP32", (-1, 2))])
ROW = struct.pack("<2f", 1, 2)


def read(members: Any, blobs: bytes, of: Version = ONE, rows: int | None = 1) -> list[Array]:
    head = json.dumps({"outputs": members}).encode()
    return outputs_of(head + blobs, {JSON_LENGTH: str(len(head))}, of.signature, rows)


@pytest.mark.parametrize(
    ("members", "blobs", "what"),
    [
        ([], b"", "'y' is missing"),
        ([member("z", [1, 2], 8)], ROW, "'y' is missing"),
        ([member("y", [1, 2], 8)] * 2, ROW * 2, "there twice"),
        ([member("y", [1, 2], 8, "FP64")], ROW, r"expected FP32 \[1, 2\], got 'FP64'"),
        ([member("y", [1, 2], 8, None)], ROW, "got None"),
        ([member("y", [2, 1], 8)], ROW, r"got 'FP32' \[2, 1\]"),
        ([member("y", [1, 3], 12)], ROW + b"4444", r"got 'FP32' \[1, 3\]"),
        ([member("y", [1], 8)], ROW, r"got 'FP32' \[1\]"),
        ([member("y", [2, 2], 16)], ROW * 2, r"expected FP32 \[1, 2\]"),
        ([member("y", "[1,2]", 8)], ROW, "got 'FP32' "),
        ([member("y", [True, 2], 8)], ROW, "got 'FP32' "),
        ([member("y", [1.0, 2], 8)], ROW, "got 'FP32' "),
        ([member("y", [-1, -2], 8)], ROW, "got 'FP32' "),
        ([member("y", [1, 2], 7)], ROW[:7], "expected 8 bytes, got 7"),
        ([member("y", [1, 2], 8)], ROW[:7], "cut off"),
        ([member("y", [1, 2], 8)], ROW + b"!", "belong to no output"),
        ([member("y", [1, 2], -8)], ROW, "binary tensor"),
        ([member("y", [1, 2], "8")], ROW, "binary tensor"),
        ([member("y", [1, 2], True)], ROW, "binary tensor"),
        ([{"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}], b"", "binary"),
        ([{"shape": [1, 2]}], b"", "no name"),
        ([7], b"", "no name"),
        ("y", b"", "array of outputs"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_none(
    members: Any, blobs: bytes, what: str
) -> None:
    with pytest.raises(BadAnswer, match=what) as caught:
        read(members, blobs)
    assert not caught.value.by_a_call


def test_what_nobody_asked_for_is_passed_over() -> None:
    (array,) = read([member("z", [3], 3, "INT8"), member("y", [1, 2], 8)], b"abc" + ROW)
    assert array.tolist() == [[1, 2]]


def test_a_shape_beyond_all_memory_is_no_array() -> None:
    of = version([], [("y", "FP64", (-1, -1, -1))], max_rows=0)
    with pytest.raises(BadAnswer):
        read([member("y", [0, 1 << 61, 1 << 61], 0, "FP64")], b"", of, None)


@pytest.mark.parametrize("blob", [b"\2", b"\xff"])
def test_a_bool_is_zero_or_one(blob: bytes) -> None:
    of = version([], [("y", "BOOL", (-1,))])
    with pytest.raises(BadAnswer, match="0 or 1"):
        read([member("y", [1], 1, "BOOL")], blob, of)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\1\0\0\0",
        b"\2\0\0\0a",
        b"\xff\xff\xff\xffab",
        b"\1\0\0\0\xff",
        b"\1\0\0\0ab",
        b"\1\0\0\0a\0\0\0\0",
    ],
)
def test_strings_are_as_many_as_the_shape_says_and_are_utf_8(blob: bytes) -> None:
    of = version([], [("y", "BYTES", (-1,))])
    with pytest.raises(BadAnswer, match="string"):
        read([member("y", [1], len(blob), "BYTES")], blob, of)


@given(st.binary(max_size=200), st.one_of(st.none(), st.text(max_size=8)))
def test_garbage_is_no_answer(body: bytes, length: str | None) -> None:
    headers = {} if length is None else {JSON_LENGTH: length}
    with pytest.raises(BadAnswer):
        outputs_of(body, headers, ONE.signature, 1)


@pytest.mark.parametrize("length", ["-1", "1e1", "٣", "", "99999999999999999999999999", "12"])
def test_the_length_of_the_json_is_held_against_the_body(length: str) -> None:
    with pytest.raises(BadAnswer):
        outputs_of(b'{"outputs":', {JSON_LENGTH: length}, ONE.signature, 1)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error": "no", "code": "overloaded"}', ("overloaded", "no")),
        (b'{"error": "line\\nbreak"}', ("", "line break")),
        (b'{"error": 7, "code": 8}', ("", "")),
        (b"[]", ("", "")),
        (b"<html>", ("", "")),
    ],
)
def test_an_error_is_read_as_far_as_it_is_one(body: bytes, expected: tuple[str, str]) -> None:
    assert error_of(body) == expected


def test_an_error_that_never_ends_is_cut() -> None:
    assert len(error_of(json.dumps({"error": "x" * 10_000}).encode())[1]) == 200


def test_metadata_name_the_tensors() -> None:
    said = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, "4"]}],
        "outputs": [{"name": "y", "datatype": "BYTES", "shape": []}],
    }
    assert metadata_of(json.dumps(said).encode()) == (
        (TensorSpec("x", "FP32", (-1, 4)),),
        (TensorSpec("y", "BYTES", ()),),
    )


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"inputs": 1, "outputs": []}', b'{"inputs": [{}], "outputs": []}']
)
def test_metadata_that_are_none_are_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="metadata"):
        metadata_of(body)
