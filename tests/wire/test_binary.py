"""Binary tensors: cut where the sizes say, proved against the shapes, never copied."""

import json
import struct

import numpy as np
import pytest

from gateway.errors import InvalidTensor, Malformed
from gateway.wire.decode import Wanted
from tests.wire.bodies import FLOATS, body, octets, prefixed, read, tensor, version, with_blobs

ROW = struct.pack("<4f", 1, 2.5, -3, 0)
TEXTS = version(("x", "BYTES", (-1, -1)))
FLAGS = version(("x", "BOOL", (-1, 4)))
THREE = version(("a", "INT8", (-1, 2)), ("b", "BYTES", (-1, 1)), ("c", "FP16", (-1, 2)))


def sized(size: object, **changes: object) -> dict[str, object]:
    """The input of FLOATS, its elements in binary."""
    return tensor(data=None, parameters={"binary_data_size": size}, **changes)


def texts(count: int, blob: bytes) -> tuple[bytes, int]:
    member = sized(len(blob), shape=[1, count], datatype="BYTES")
    return with_blobs({"inputs": [member]}, blob)


def test_the_payload_is_a_view_of_the_body() -> None:
    whole, length = with_blobs({"inputs": [sized(16)]}, ROW)
    (payload,) = read(whole, json_length=length).payloads
    assert isinstance(payload, memoryview)
    assert (payload.obj, payload.nbytes, bytes(payload)) == (whole, len(payload), ROW)


def test_a_body_still_growing_elsewhere_may_be_a_bytearray() -> None:
    whole, length = with_blobs({"inputs": [sized(16)]}, ROW)
    (payload,) = read(bytearray(whole), json_length=length).payloads
    assert octets(payload) == ROW


def test_blobs_follow_the_order_of_the_inputs_and_json_may_stand_between() -> None:
    members = [
        {"name": "c", "shape": [1, 2], "datatype": "FP16", "parameters": {"binary_data_size": 4}},
        {"name": "a", "shape": [1, 2], "datatype": "INT8", "data": [-1, 2]},
        {"name": "b", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 7}},
    ]
    half = np.array([0.5, 6e-8], "<f2").tobytes()  # one of them subnormal
    whole, length = with_blobs({"inputs": members}, half, prefixed(b"abc"))
    reading = read(whole, THREE, json_length=length)
    first, second, third = reading.payloads
    assert (octets(first), second, octets(third)) == (b"\xff\2", ["abc"], half)
    assert reading.shapes == ((2,), (1,), (2,))


def test_half_floats_keep_their_exact_bits() -> None:
    bits = struct.pack("<4H", 0x0001, 0x7E01, 0xFF80, 0x8000)  # subnormal, NaN, infinity, -0
    for datatype in ("FP16", "BF16"):
        model = version(("x", datatype, (-1, 4)))
        whole, length = with_blobs({"inputs": [sized(8, datatype=datatype)]}, bits)
        assert octets(read(whole, model, json_length=length).payloads[0]) == bits


def test_a_length_equal_to_the_body_is_json_without_blobs() -> None:
    assert read(body(), json_length=len(body())) == read(body())


def test_a_blob_may_be_empty() -> None:
    model = version(("x", "FP32", (-1, -1)))
    whole, length = with_blobs({"inputs": [sized(0, shape=[1, 0])]})
    reading = read(whole, model, json_length=length)
    assert (len(reading.payloads[0]), reading.shapes) == (0, ((0,),))


def test_bytes_of_0_and_1_are_booleans() -> None:
    whole, length = with_blobs({"inputs": [sized(4, datatype="BOOL")]}, b"\0\1\1\0")
    assert octets(read(whole, FLAGS, json_length=length).payloads[0]) == b"\0\1\1\0"


@pytest.mark.parametrize("byte", [2, 255])
def test_other_bytes_are_no_booleans(byte: int) -> None:
    whole, length = with_blobs({"inputs": [sized(4, datatype="BOOL")]}, b"\0\1\1" + bytes([byte]))
    with pytest.raises(InvalidTensor, match=rf"\$\.inputs\[0\]: expected bytes of 0 .*got {byte}"):
        read(whole, FLAGS, json_length=length)


@pytest.mark.parametrize("length", [10_000, 99_999_999_999])
def test_a_length_beyond_the_body_is_malformed(length: int) -> None:
    with pytest.raises(Malformed, match=f"Inference-Header-Content-Length: .* got {length}"):
        read(body(), json_length=length)


def test_a_length_that_cuts_the_json_is_malformed() -> None:
    with pytest.raises(Malformed, match="expected JSON text"):
        read(body(), json_length=20)


BOTH_OR_NEITHER = "Input must set only one of the following fields"


@pytest.mark.parametrize(
    ("member", "blob", "kind", "text"),
    [
        pytest.param(
            sized(16) | {"data": [1, 2, 3, 4]},
            ROW,
            Malformed,
            BOTH_OR_NEITHER,
            id="data and a size",
        ),
        pytest.param(
            sized(0) | {"data": []}, b"", Malformed, BOTH_OR_NEITHER, id="empty data and no bytes"
        ),
        pytest.param(
            tensor(data=None), b"", Malformed, BOTH_OR_NEITHER, id="neither data nor a size"
        ),
        pytest.param(
            sized("16"),
            ROW,
            Malformed,
            "$.inputs[0].parameters.binary_data_size",
            id="a string for a size",
        ),
        pytest.param(
            sized(16.0),
            ROW,
            Malformed,
            "expected a whole number, got 16.0",
            id="a float for a size",
        ),
        pytest.param(
            sized(-16), ROW, Malformed, "expected a whole number, got -16", id="a negative size"
        ),
        pytest.param(
            sized(True), ROW, Malformed, "expected a whole number, got true", id="true for a size"
        ),
        pytest.param(
            sized(12),
            ROW[:12],
            InvalidTensor,
            "input byte size mismatch for input 'x' for model 'm'. Expected 16, got 12",
            id="a size below the shape",
        ),
        pytest.param(
            sized(20),
            ROW + ROW[:4],
            InvalidTensor,
            "Expected 16, got 20 ($.inputs[0].parameters.binary_data_size)",
            id="a size above the shape",
        ),
        pytest.param(
            sized(2**63),
            ROW,
            InvalidTensor,
            "Expected 16, got 9223372036854775808",
            id="a huge size",
        ),
        pytest.param(
            sized(16),
            ROW[:12],
            Malformed,
            "unexpected size for input 'x', expecting 4 additional bytes",
            id="a short body",
        ),
        pytest.param(
            sized(16),
            b"",
            Malformed,
            "unexpected size for input 'x', expecting 16 additional bytes",
            id="no blob at all",
        ),
        pytest.param(
            sized(16),
            ROW + b"\0",
            Malformed,
            "unexpected additional input data for model 'm'",
            id="a byte too many",
        ),
        pytest.param(
            tensor(),
            b"\0",
            Malformed,
            "unexpected additional input data for model 'm' ($.inputs): expected nothing after",
            id="a blob that nobody declares",
        ),
    ],
)
def test_sizes_are_exact(
    member: dict[str, object], blob: bytes, kind: type[Exception], text: str
) -> None:
    whole, length = with_blobs({"inputs": [member]}, blob)
    with pytest.raises(kind) as caught:
        read(whole, json_length=length)
    assert text in str(caught.value)


def test_a_size_without_the_header_is_malformed() -> None:
    text = json.dumps({"inputs": [sized(16)]}).encode()
    with pytest.raises(Malformed, match="expected the header Inference-Header-Content-Length"):
        read(text)


@pytest.mark.parametrize(
    "strings",
    [[], [b""], [b"", b""], [b"a", b"bc", b""], ["é\U0001f600".encode(), b"\0"], [b"x" * 70_000]],
)
def test_strings_have_their_length_before_them(strings: list[bytes]) -> None:
    whole, length = texts(len(strings), prefixed(*strings))
    assert read(whole, TEXTS, json_length=length).payloads[0] == [one.decode() for one in strings]


@pytest.mark.parametrize(
    ("count", "blob", "text"),
    [
        pytest.param(
            3,
            prefixed(b"a", b"b"),
            "expected 3 string elements for inference input 'x' for model 'm', got 2 "
            "($.inputs[0].shape)",
            id="too few",
        ),
        pytest.param(
            2,
            prefixed(b"a", b"b", b"c"),
            "unexpected number of string elements 3 for inference input 'x' for model "
            "'m', expecting 2",
            id="too many",
        ),
        pytest.param(
            0,
            prefixed(b""),
            "unexpected number of string elements 1 for inference input 'x' for model "
            "'m', expecting 0",
            id="one for none",
        ),
        pytest.param(
            1,
            b"\5\0\0\0abc",
            "incomplete string data for inference input 'x' "
            "($.inputs[0].parameters.binary_data_size): expected 2 more bytes for string element 0",
            id="a length beyond the blob",
        ),
        pytest.param(
            1,
            b"\xff\xff\xff\xff",
            "incomplete string data for inference input 'x'",
            id="the largest length",
        ),
        pytest.param(
            2,
            prefixed(b"a") + b"\1\0",
            "incomplete string data for inference input 'x'",
            id="half a length",
        ),
        pytest.param(
            2,
            prefixed(b"a") + b"\0\0\0",
            "incomplete string data for inference input 'x'",
            id="half a length of nothing",
        ),
        pytest.param(
            2,
            prefixed(b"a", b"\xff"),
            "$.inputs[0]: expected UTF-8 for input 'x' of model 'm', got invalid "
            "start byte at byte 0 of string element 1",
            id="no UTF-8",
        ),
        pytest.param(1, prefixed(b"\xed\xa0\x80"), "expected UTF-8", id="a surrogate"),
    ],
)
def test_strings_that_do_not_fit_are_refused(count: int, blob: bytes, text: str) -> None:
    whole, length = texts(count, blob)
    with pytest.raises(InvalidTensor) as caught:
        read(whole, TEXTS, json_length=length)
    assert text in str(caught.value)


def test_a_string_that_overruns_its_blob_does_not_read_the_next() -> None:
    model = version(("a", "BYTES", (-1, 1)), ("b", "BYTES", (-1, 1)))
    members = [
        sized(6, name="a", shape=[1, 1], datatype="BYTES"),
        sized(7, name="b", shape=[1, 1], datatype="BYTES"),
    ]
    whole, length = with_blobs({"inputs": members}, b"\3\0\0\0ab", prefixed(b"cde"))
    with pytest.raises(InvalidTensor, match="incomplete string data for inference input 'a'"):
        read(whole, model, json_length=length)


def test_a_binary_request_asks_for_binary_outputs_as_a_json_one_does() -> None:
    request = {"inputs": [sized(16)], "parameters": {"binary_data_output": True}}
    whole, length = with_blobs(request, ROW)
    assert read(whole, FLOATS, json_length=length).wanted == (Wanted(0, binary=True),)
