"""Quick: the commonest bodies are read, and none that differs. See also tests/laws."""

import json
import struct

import pytest

from gateway.types import Version
from gateway.wire.quick import Quick, Read, quick_of
from gateway.wire.tensors import Limits
from tests.wire.bodies import version

FLOATS = version(("x", "FP32", (-1, 2)), max_batch_rows=4)


def quick(of: Version = FLOATS, limits: Limits | None = None) -> Quick:
    made = quick_of(of) if limits is None else quick_of(of, limits)
    assert made is not None
    return made


def body(data: object, rows: int = 1, **more: object) -> bytes:
    tensor = {"name": "x", "shape": [rows, 2], "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor]} | more, separators=(",", ":")).encode()


def packed(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def test_plain_numbers_are_read() -> None:
    assert quick().read(body([1, 2.5])) == (packed(1, 2.5), 1, None)
    assert quick().read(body([1, 2, 3, 4], rows=2)) == (packed(1, 2, 3, 4), 2, None)


def test_doubles_keep_every_bit() -> None:
    text = body([0.1, 5e-324]).replace(b"FP32", b"FP64")
    expected = struct.pack("<2d", 0.1, 5e-324)
    assert quick(version(("x", "FP64", (-1, 2)))).read(text) == (expected, 1, None)


def test_an_id_is_read_and_an_empty_one_is_none() -> None:
    assert quick().read(body([1, 2], id="é")) == (packed(1, 2), 1, "é")
    assert quick().read(body([1, 2], id="")) == (packed(1, 2), 1, None)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_skeleton_seen_before_is_read_with_other_numbers(separators: tuple[str, str]) -> None:
    reading = quick()

    def ask(data: object) -> Read | None:
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": data}
        return reading.read(json.dumps({"inputs": [tensor]}, separators=separators).encode())

    assert ask([1, 2]) == (packed(1, 2), 1, None)
    assert ask([3, 4.5]) == (packed(3, 4.5), 1, None)
    assert ask([1e-5, 2e30]) == (packed(1e-5, 2e30), 1, None)
    refused: list[object] = [[True, 2], [1, False], [1, None], [1, "2"], [1], [1, 2, 3], [[1, 2]]]
    assert [ask(one) for one in [*refused, [1, 1e39], [1, 10**400], {"a": 1}]] == [None] * 10
    assert ask([5, 6]) == (packed(5, 6), 1, None)


def test_a_long_skeleton_is_read_and_not_remembered() -> None:
    reading = quick()
    space = b" " * 600
    for first in (1, 2):
        text = body([first, 2]).replace(b'{"name"', space + b'{"name"')
        assert reading.read(text) == (packed(first, 2), 1, None)
        assert reading.read(text.replace(b"2]}", b"true]}")) is None


def test_so_many_skeletons_are_remembered_and_then_others() -> None:
    reading = quick()
    for again in range(2):
        for spaces in range(200):
            text = body([again, spaces]).replace(b'{"name"', b" " * spaces + b'{"name"')
            assert reading.read(text) == (packed(again, spaces), 1, None)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[", b"[]", b"{}", b"7", b'"a"', b"null", b'{"inputs":[', b'{"inputs":{}}',
        b'{"inputs":[]}', b'{"inputs":[7]}', b'{"inputs":["x"]}', b'{"inputs":"x"}', b"\xff[1]",
        body([1, 2]) + b" x", body([1, 2], foo=1), body([1, 2], id=None), body([1, 2], id=5),
        body([1, 2], id="a" * 257), body([1, 2], rows=0), body([]), body([1, 2] * 5, rows=5),
        body([1, 2], parameters={}), body("12"), body({"1": 2, "3": 4}), body(None),
        body([1, 2]).replace(b'"x"', b'"y"'), body([1, 2]).replace(b"FP32", b"FP64"),
        body([1, 2]).replace(b"[1,2],", b"[2,1],"), body([1, 2]).replace(b'"shape":[1,2],', b""),
        body([1, 2]).replace(b'[1,2],"d', b'[1,"2"],"d'), body([1, 2]).replace(b"2]}", b"NaN]}"),
        body([1, 2]).replace(b'"inputs"', b'"outputs"'),
    ],
)  # fmt: skip
def test_whatever_is_not_the_commonest_kind_is_left_to_the_decoder(text: bytes) -> None:
    assert quick().read(text) is None


@pytest.mark.parametrize(
    "of",
    [
        version(("x", "INT64", (-1, 2))),
        version(("x", "FP32", (-1, -1))),
        version(("x", "FP32", (-1, 0))),
        version(("x", "FP32", (-1, 2, 2))),
        version(("x", "FP32", (-1,))),
        version(("x", "FP32", (-1, 2)), max_batch_rows=0),
        version(("x", "FP32", (-1, 2)), ("y", "FP32", (-1, 2))),
        version(("x", "FP32", (-1, 2)), outputs=(("y", "FP32", (-1,)), ("z", "FP16", (-1,)))),
        version(("x", "FP32", (-1, 2)), outputs=(("y", "BF16", (-1,)),)),
    ],
)
def test_other_models_have_no_quick_way_in(of: Version) -> None:
    assert quick_of(of) is None


@pytest.mark.parametrize("limits", [Limits(max_rank=1), Limits(max_json_depth=3)])
def test_limits_below_such_a_body_leave_no_quick_way_in(limits: Limits) -> None:
    assert quick_of(FLOATS, limits) is None


def test_rows_beyond_the_limit_of_elements_are_left_to_the_decoder() -> None:
    reading = quick(limits=Limits(max_elements=5))
    assert reading.read(body([1, 2, 3, 4], rows=2)) is not None
    assert reading.read(body([1, 2, 3, 4, 5, 6], rows=3)) is None
