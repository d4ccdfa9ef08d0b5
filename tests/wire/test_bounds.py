"""Bounds: what fits passes, however it is written; what cannot fit is not even parsed."""

import json

import pytest

from gateway.errors import InvalidTensor, Malformed
from gateway.types import Version
from gateway.wire.bounds import check_size
from gateway.wire.decode import Limits
from tests.wire.bodies import BY_ORJSON, BY_SIMD, FLOATS, body, one, outcome, read, tensor, version

EITHER = pytest.mark.parametrize("limits", [BY_SIMD, BY_ORJSON], ids=["simdjson", "orjson"])
WIDE = version(("x", "FP32", (-1, 1000)), max_batch_rows=64)
WIDE_PARTS = 1 + 64 + 64 * 1000
FLOATS_PARTS = 1 + 8 + 8 * 4
MIB = 1 << 20
FREE = 4 * MIB  # to every request


def padded(text: bytes, size: int) -> bytes:
    return text + b" " * (size - len(text))


@EITHER
@pytest.mark.parametrize("indent", [None, 8])
@pytest.mark.parametrize("value", [0.1, -1.2345678901234567e-300, float("nan")])
def test_the_largest_request_that_fits_is_read(
    value: float, indent: int | None, limits: Limits
) -> None:
    rows = [[value] * 1000] * 64
    request = {"inputs": [tensor(shape=[64, 1000], data=rows)]}
    assert read(json.dumps(request, indent=indent).encode(), WIDE, limits).rows == 64


@EITHER
def test_a_megabyte_is_allowed_to_every_request(limits: Limits) -> None:
    assert read(body(unknown="x" * (FREE - 200)), limits=limits).rows == 1
    assert read(padded(body(), FREE), limits=limits).rows == 1
    assert read(body(unknown=[0] * 120_000), limits=limits).rows == 1


@EITHER
@pytest.mark.parametrize(("of", "parts"), [(FLOATS, FLOATS_PARTS), (WIDE, WIDE_PARTS)])
def test_a_text_beyond_the_bound_is_refused_with_both_sizes(
    of: Version, parts: int, limits: Limits
) -> None:
    most = FREE + 96 * parts
    assert "of JSON" not in str(outcome(padded(one(), most), of, limits))
    assert outcome(padded(one(), most + 1), of, limits) == (
        InvalidTensor,
        f"request body ($): expected at most {most} bytes of JSON for model 'm', got {most + 1}",
    )


@EITHER
@pytest.mark.parametrize(
    ("item", "signs"), [(b"0", 1), (b"[]", 2), (b"{}", 2), (b"NaN", 1), (b'{"a":[]}', 3)]
)
def test_more_parts_than_the_bound_are_refused_with_both_counts(
    item: bytes, signs: int, limits: Limits
) -> None:
    most = 131_072 + 2 * FLOATS_PARTS
    others = body(foo=[]).count(b",") + body(foo=[]).count(b"[") + body(foo=[]).count(b"{")
    fitting = (most - others + 1) // signs
    text = body(foo=[]).replace(b'"foo": []', b'"foo": [' + b",".join([item] * fitting) + b"]")
    assert read(text, limits=limits).rows == 1
    text = text.replace(b'"foo": [', b'"foo": [' + (item + b",") * 3)
    kind, message = outcome(text, FLOATS, limits)
    assert kind is InvalidTensor
    assert f"expected at most {most} commas and opening brackets for model 'm', got " in str(
        message
    )


@pytest.mark.parametrize("amount", [200_000, 2 * FREE], ids=["parts", "bytes"])
def test_a_text_nested_too_deep_is_called_so_first(amount: int) -> None:
    with pytest.raises(Malformed, match="JSON nesting depth exceeds"):
        check_size(b"[" * amount, FLOATS, Limits())


def test_a_string_of_brackets_is_not_deep_though_too_long() -> None:
    with pytest.raises(InvalidTensor, match="bytes of JSON"):
        check_size(b'{"a":"' + b"[" * 2 * FREE + b'"}', FLOATS, Limits())


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(version(("x", "BYTES", (-1, 4))), id="a model of strings"),
        pytest.param(version(("x", "FP32", (-1, -1))), id="a dynamic axis"),
        pytest.param(version(("x", "FP32", (-1,)), max_batch_rows=0), id="no batch axis"),
        pytest.param(version(("x", "FP32", (1 << 40, 1 << 40)), max_batch_rows=0), id="vast"),
    ],
)
def test_where_much_fits_much_is_let_through(of: Version) -> None:
    check_size(b"[" + b"0," * (4 * MIB) + b"0]", of, Limits())


def test_a_dynamic_axis_admits_the_elements_of_the_limits() -> None:
    of = version(("x", "FP32", (-1, -1)), max_batch_rows=4)
    most = FREE + 96 * (1 + 4 + 100)
    check_size(b" " * most, of, Limits(max_elements=100))
    with pytest.raises(InvalidTensor, match=f"at most {most} bytes"):
        check_size(b" " * (most + 1), of, Limits(max_elements=100))


def test_the_bounds_of_all_inputs_are_added() -> None:
    of = version(("a", "FP32", (-1, 2)), ("b", "BOOL", (-1,)), max_batch_rows=3)
    most = FREE + 96 * ((1 + 3 + 6) + (1 + 3))
    check_size(b" " * most, of, Limits())
    with pytest.raises(InvalidTensor, match=f"at most {most} bytes"):
        check_size(b" " * (most + 1), of, Limits())


def test_only_the_json_part_of_a_binary_request_counts() -> None:
    of = version(("x", "FP32", (-1, MIB)), max_batch_rows=1)
    member = {"name": "x", "shape": [1, MIB], "datatype": "FP32"}
    head = json.dumps({"inputs": [member | {"parameters": {"binary_data_size": 4 * MIB}}]}).encode()
    assert read(head + bytes(4 * MIB), of, json_length=len(head)).rows == 1
