"""The way in for large bodies: it gives what the others give, or steps aside."""

import json
from typing import Any

import numpy as np
import pytest

from gateway.core.datatypes import DATATYPES
from gateway.errors import Malformed
from gateway.types import Version
from gateway.wire import simd
from tests.wire.bodies import (
    BY_ORJSON,
    BY_SIMD,
    FLOATS,
    body,
    octets,
    one,
    outcome,
    read,
    tensor,
    version,
)

WIDE = version(("x", "FP32", (-1, -1, -1)))


def opened(text: bytes) -> dict[str, object] | None:
    return simd.read(text, 64, 100)


def column(text: bytes) -> Any:
    request: Any = opened(text)
    return request["inputs"][0]["data"]


def test_a_regular_body_is_opened_and_its_numbers_left_alone() -> None:
    """Where simdjson has no wheel, this room steps aside for every body."""
    request = opened(body(id="7", parameters={"a": 1}, outputs=[{"name": "label"}], foo=[1]))
    if not simd.IS_INSTALLED:
        assert request is None
        return
    assert request is not None
    assert (request["id"], request["parameters"]) == ("7", {"a": 1})
    assert request["outputs"] == [{"name": "label"}]
    assert isinstance(column(body()), simd.Column)
    assert "foo" not in request


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name[0] in "IUF"])
def test_numbers_go_straight_into_bytes(datatype: str, nested: bool) -> None:
    kind = DATATYPES[datatype]
    values = np.arange(24).reshape(2, 3, 4)
    text = one(shape=[2, 3, 4], data=(values if nested else values.reshape(-1)).tolist())
    if simd.IS_INSTALLED:
        packed = column(text).pack(kind, (2, 3, 4), has_batch=True)
        expected = None if datatype == "FP16" else values.astype(kind.numpy).tobytes()
        assert packed == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"inputs":[],"inputs":[]}', id="inputs twice"),
        pytest.param(body()[:-1] + b',"foo":1,"foo":2}', id="an unknown member twice"),
        pytest.param(b'{"inputs":[{"name":"a","name":"x"}]}', id="a name twice"),
        pytest.param(b'{"inputs":[{"data":[1],"data":[2]}]}', id="data twice"),
        pytest.param(b'{"inputs":[{"a":1,"\\u0061":2}]}', id="a key twice, once escaped"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b"5", id="a number"),
        pytest.param(b"{}", id="no inputs"),
        pytest.param(b'{"inputs":{}}', id="inputs that are an object"),
        pytest.param(b'{"inputs":[5]}', id="an input that is a number"),
        pytest.param(b'{"inputs":[' + b",".join([b"{}"] * 65) + b"]}", id="too many inputs"),
        pytest.param(b"\xef\xbb\xbf" + body(), id="a byte order mark"),
        pytest.param(one(data=[2**64]), id="an integer beyond 64 bits"),
        pytest.param(one(data=[float("nan")]), id="a token"),
        pytest.param(b'{"inputs":[],"a":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"inputs":[],"a":"\\ud800"}', id="a lone surrogate"),
        pytest.param(b"[" * 3000, id="too deep for simdjson"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_it_steps_aside_for_whatever_is_odd(text: bytes) -> None:
    assert opened(text) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"inputs":[],"a":' + b"[" * 100 + b"]" * 100 + b"}", id="arrays"),
        pytest.param(b'{"inputs":[],"a":' + b'{"a":' * 100 + b"1" + b"}" * 101, id="objects"),
        pytest.param(one(data=json.loads("[" * 101 + "]" * 101)), id="data"),
    ],
)
def test_it_finds_what_is_nested_too_deep(text: bytes) -> None:
    expected = (Malformed, "JSON nesting depth exceeds maximum allowed limit (100)")
    for limits in (BY_SIMD, BY_ORJSON):
        kind, message = outcome(text, FLOATS, limits)
        assert kind is expected[0]
        assert str(message).startswith(expected[1])


def test_many_shallow_brackets_are_not_deep() -> None:
    text = body(foo=[{"a": []}] * 500, bar="[" * 500)
    assert read(text, limits=BY_SIMD) == read(text, limits=BY_ORJSON)


@pytest.mark.parametrize("spaces", [0, 4])
def test_rows_are_counted_whatever_the_white_space(spaces: int) -> None:
    rows = [[float(row * 3 + at) for at in range(3)] for row in range(200)]
    request = {"inputs": [tensor(shape=[1, 200, 3], data=rows)]}
    text = json.dumps(request, indent=spaces or None).encode()
    if simd.IS_INSTALLED:
        assert column(text).is_counted
    assert octets(read(text, WIDE, BY_SIMD).payloads[0]) == np.array(rows, "<f4").tobytes()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(one(shape=[1, 2, 2], data=[1, [2, 3], [], 4]), id="inner arrays"),
        pytest.param(body(foo=[], inputs=[tensor(shape=[1, 1, 4])]), id="an array too many"),
        pytest.param(body(id="[", inputs=[tensor(shape=[1, 1, 4])]), id="a bracket in a string"),
        pytest.param(one(shape=["1", 4]), id="a shape of strings"),
    ],
)
def test_a_body_with_another_bracket_is_read_element_by_element(text: bytes) -> None:
    if simd.IS_INSTALLED:
        assert not column(text).is_counted
    assert outcome(text, WIDE, BY_SIMD) == outcome(text, WIDE, BY_ORJSON)


def test_a_bracket_missing_in_one_input_does_not_hide_one_in_another() -> None:
    """The count is of the whole body: two faults must not cancel out."""
    pair = version(("a", "FP32", (-1, 2, 2)), ("b", "FP32", (-1, 4)))
    short = tensor(name="a", shape=[1, 2, 2], data=[[[1, 2], 3]])
    long = tensor(name="b", shape=[1, 4], data=[1, 2, 3, [4]])
    text = body(inputs=[short, long])
    kind, message = outcome(text, pair, BY_SIMD)
    assert (kind, message) == outcome(text, pair, BY_ORJSON)
    assert "$.inputs[0].data" in str(message)


@pytest.mark.parametrize(
    ("text", "of"),
    [
        pytest.param(one(), FLOATS, id="good"),
        pytest.param(one(data=[1, 2, 3, "4"]), FLOATS, id="a string"),
        pytest.param(b"{]", FLOATS, id="broken"),
    ],
)
def test_without_simdjson_every_body_is_read(
    text: bytes, of: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = outcome(text, of, BY_SIMD)
    monkeypatch.setattr(simd, "IS_INSTALLED", False)
    assert opened(text) is None
    assert outcome(text, of, BY_SIMD) == expected


def test_bodies_read_one_after_the_other_do_not_disturb_each_other() -> None:
    """A parser that is used again would pull the ground from under the first document."""
    first = opened(one(data=[1, 2, 3, 4]))
    opened(one(data=[5, 6, 7, 8]))
    if simd.IS_INSTALLED and first is not None:
        inputs: Any = first["inputs"]
        assert inputs[0]["data"].values((4,), has_batch=False) == [1, 2, 3, 4]


CUBE = (1, 2, 3)


def values(data: str, shape: tuple[int, ...] = CUBE, has_batch: bool = True) -> object:
    """What a column of this data gives for a shape, as JSON text; None for a misfit."""
    text = f'{{"inputs":[{{"name":"x","shape":[1],"datatype":"FP32","data":{data}}}]}}'
    found = column(text.encode()).values(shape, has_batch)
    return None if found is None else json.dumps(found, separators=(",", ":"))


@pytest.mark.parametrize(
    "data",
    [
        "[1,2,3,4,5,6]",
        "[[1,2,3],[4,5,6]]",
        "[[[1,2,3],[4,5,6]]]",
        '[1,"2",null,true,0.5,6]',
    ],
)
def test_a_column_of_the_right_lengths_is_given_as_it_came(data: str) -> None:
    if simd.IS_INSTALLED:
        assert values(data) == data


@pytest.mark.parametrize(
    "data",
    [
        "[]", "[1,2,3,4,5]", "[1,2,3,4,5,6,7]", "[1,[2],3,4,5]", "[[1,2,3]]", "[[1,2],[4,5,6]]",
        "[[1,2,3],4]", "[[1,2,3],{}]", '[[1,2,3],"abc"]', "[[[1,2,3],[4,5]]]", "[[[1,2,3],4]]",
        "[[[1,2,3],[4,5,6]],[]]", "[[]]", "[[],[]]",
    ],
)  # fmt: skip
def test_a_column_of_other_lengths_gives_nothing(data: str) -> None:
    if simd.IS_INSTALLED:
        assert values(data) is None


@pytest.mark.parametrize(
    ("data", "opened"),
    [
        ("[1,[2,[7]],3,{},5,6]", "[1,[],3,{},5,6]"),
        ('[[1,[2],3],[4,5,{"a":1}]]', "[[1,[],3],[4,5,{}]]"),
        ("[[[1,2,3],[4,[5,5],6]]]", "[[[1,2,3],[4,[],6]]]"),
    ],
)
def test_what_stands_for_an_element_is_not_opened(data: str, opened: str) -> None:
    if simd.IS_INSTALLED:
        assert values(data) == opened


def test_the_batch_axis_may_be_left_out_only_where_there_is_one() -> None:
    if simd.IS_INSTALLED:
        assert values("[[1,2,3],[4,5,6]]", has_batch=False) is None
        assert values("[[],[]]", (1, 2, 0)) == "[[],[]]"
        assert values("[[]]", (1, 0, 3)) == "[[]]"


@pytest.mark.parametrize("data", [[0] * 1000, [[0] * 1000], [[]] * 1000, [{}] * 1000, [[0], 1]])
def test_a_misfit_is_named_as_the_other_parser_names_it(data: object) -> None:
    text = one(shape=[1, 2, 3], data=data)
    assert outcome(text, WIDE, BY_SIMD) == outcome(text, WIDE, BY_ORJSON)
