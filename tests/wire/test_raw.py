"""Raw: a body that is the one input, and what it is taken for."""

import pytest

from gateway.errors import InvalidTensor
from gateway.types import Shape, Version
from gateway.wire.decode import Reading, Wanted, decode
from gateway.wire.tensors import Limits
from tests.wire.bodies import FLOATS, PAIR, version


def read(body: bytes, of: Version, limits: Limits = Limits()) -> Reading:  # noqa: B008 - frozen
    return decode(body, 0, of, limits)


def of(kind: str, shape: Shape, rows: int = 0) -> Version:
    return version(("x", kind, shape), max_batch_rows=rows)


def test_one_row_is_what_the_bytes_are_and_every_output_is_wanted_in_binary() -> None:
    body = bytes(range(16))
    reading = read(body, FLOATS)
    assert (reading.payloads, reading.rows, reading.shapes) == ((body,), 1, ((4,),))
    assert reading.wanted == (Wanted(0, binary=True),)
    assert (reading.id, reading.timeout_us, reading.priority) == (None, 0, 0)


@pytest.mark.parametrize(
    ("model", "size", "shape"),
    [
        (of("FP32", (3,)), 12, (3,)),
        (of("FP32", ()), 4, ()),
        (of("UINT8", (-1,)), 5, (5,)),
        (of("UINT8", (-1,)), 0, (0,)),
        (of("INT16", (2, -1, 3)), 24, (2, 2, 3)),
        (of("FP32", (-1, -1), rows=8), 8, (2,)),  # the batch axis is one row
        (of("FP32", (-1, 0), rows=8), 0, (0,)),
    ],
)
def test_the_one_open_axis_is_deduced(model: Version, size: int, shape: Shape) -> None:
    reading = read(bytes(size), model)
    assert reading.shapes == (shape,)
    assert reading.rows == 1


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        (FLOATS, 15, "input byte size mismatch for input 'x' for model 'm'. Expected 16, got 15"),
        (FLOATS, 0, "Expected 16, got 0"),
        (FLOATS, 32, "Expected 16, got 32"),
        (of("INT16", (2, -1, 3)), 26, "Expected a multiple of 12, got 26"),
        (of("FP32", (-1, 0)), 4, "Expected a multiple of 0, got 4"),
        (
            of("FP32", (-1, -1)),
            8,
            "The shape of the raw input 'x' can not be deduced because there are more than one",
        ),
        (
            PAIR,
            8,
            "Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'm'",
        ),
        (
            of("BYTES", (2,)),
            8,
            "For BYTE datatype raw input 'x', the model must have input shape [1]",
        ),
    ],
)
def test_what_it_cannot_be_is_said(model: Version, size: int, words: str) -> None:
    with pytest.raises(InvalidTensor) as refused:
        read(bytes(size), model)
    assert words in str(refused.value)


@pytest.mark.parametrize("model", [of("BYTES", (1,)), of("BYTES", (-1, 1), rows=4)])
def test_text_is_one_string_without_its_length(model: Version) -> None:
    reading = read("ünïcödé\0".encode(), model)
    assert (reading.payloads, reading.rows) == ((["ünïcödé\0"],), 1)
    assert read(b"", model).payloads == ([""],)


def test_text_must_be_utf_8() -> None:
    with pytest.raises(InvalidTensor, match="expected UTF-8 for input 'x' of model 'm'"):
        read(b"a\xff", of("BYTES", (1,)))


def test_booleans_are_0_and_1() -> None:
    assert read(b"\1\0", of("BOOL", (2,))).payloads == (b"\1\0",)
    with pytest.raises(InvalidTensor, match="expected bytes of 0 or 1"):
        read(b"\1\2", of("BOOL", (2,)))


def test_more_elements_than_are_allowed_are_refused() -> None:
    with pytest.raises(InvalidTensor, match=r"limits\.max_elements"):
        read(bytes(11), of("UINT8", (-1,)), Limits(max_elements=10))
