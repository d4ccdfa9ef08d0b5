"""Layouts: a layout that was proved once is read again by its bytes. See also tests/laws."""

import json
from typing import Any

import pytest

from gateway.types import Version
from gateway.wire.decode import Limits, Reading, decode
from gateway.wire.layouts import Layouts
from tests.wire.bodies import version

FLOATS = version(("x", "FP32", (-1, 2)), max_batch_rows=4)
ROW = bytes(range(8))


def head(size_bytes: int = 8, rows: int = 1, datatype: str = "FP32", **more: Any) -> bytes:
    tensor = {"name": "x", "shape": [rows, 2], "datatype": datatype}
    with_size: dict[str, Any] = tensor | {"parameters": {"binary_data_size": size_bytes}}
    return json.dumps({"inputs": [with_size]} | more).encode()


def learn(layouts: Layouts, text: bytes, blob: bytes, of: Version = FLOATS) -> Reading:
    reading = decode(text + blob, len(text), of, Limits())
    layouts.learn(text + blob, len(text), reading)
    return reading


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"parameters": {"timeout": 5, "priority": 2, "binary_data_output": True}},
        {"outputs": [{"name": "label", "parameters": {"binary_data": True}}]},
    ],
)
def test_a_layout_seen_before_is_read_with_other_bytes(more: dict[str, Any]) -> None:
    layouts = Layouts(FLOATS)
    text = head(**more)
    assert layouts.read(text + ROW, len(text)) is None
    learn(layouts, text, ROW)
    for blob in (ROW, ROW[::-1]):
        assert layouts.read(text + blob, len(text)) == decode(
            text + blob, len(text), FLOATS, Limits()
        )


def test_other_lengths_are_left_to_the_decoder() -> None:
    layouts = Layouts(FLOATS)
    text = head()
    learn(layouts, text, ROW)
    for body, length in (
        (text + ROW[:-1], len(text)),
        (text + ROW + b"x", len(text)),
        (text, len(text)),
        (text + ROW, len(text) - 1),
        (text + ROW, len(text) + 1),
        (text + ROW, 0),
        (text + ROW, 10**6),
        (b"", 0),
    ):
        assert layouts.read(body, length) is None


def test_a_request_with_an_id_is_not_remembered() -> None:
    layouts = Layouts(FLOATS)
    text = head(id="me")
    learn(layouts, text, ROW)
    assert layouts.read(text + ROW, len(text)) is None


def test_a_long_layout_is_not_remembered() -> None:
    layouts = Layouts(FLOATS)
    text = head(extra="x" * 1024)
    learn(layouts, text, ROW)
    assert layouts.read(text + ROW, len(text)) is None


def test_json_of_a_binary_request_is_not_remembered() -> None:
    layouts = Layouts(FLOATS)
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    text = json.dumps({"inputs": [tensor]}).encode()
    learn(layouts, text, b"")
    assert layouts.read(text, len(text)) is None


def test_a_json_part_longer_than_any_remembered_is_not_looked_up() -> None:
    class Unsliced(bytes):
        def __getitem__(self, _place: object) -> Any:
            raise AssertionError("the JSON part was copied")

    assert Layouts(FLOATS).read(Unsliced(bytes(5000)), 1025) is None
    two = version(("x", "FP32", (-1, 2)), ("y", "FP32", (-1, 2)))
    assert Layouts(two).read(Unsliced(bytes(5000)), 100) is None


@pytest.mark.parametrize(("datatype", "blob"), [("BOOL", b"\0\1"), ("BYTES", bytes(8))])
def test_bytes_that_have_to_be_judged_are_not_remembered(datatype: str, blob: bytes) -> None:
    of = version(("x", datatype, (-1, 2)))
    layouts = Layouts(of)
    text = head(len(blob), datatype=datatype)
    learn(layouts, text, blob, of)
    assert layouts.read(text + blob, len(text)) is None


def test_a_model_of_two_inputs_has_no_layouts() -> None:
    of = version(("x", "FP32", (-1, 2)), ("y", "FP32", (-1, 2)))
    layouts = Layouts(of)
    sized = {"shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    text = json.dumps({"inputs": [{"name": name, **sized} for name in ("x", "y")]}).encode()
    learn(layouts, text, ROW * 2, of)
    assert layouts.read(text + ROW * 2, len(text)) is None


def test_so_many_layouts_are_remembered_and_then_others() -> None:
    layouts = Layouts(FLOATS)
    texts = [head(parameters={"timeout": at}) for at in range(100)]
    for text in texts:
        learn(layouts, text, ROW)
    assert layouts.read(texts[0] + ROW, len(texts[0])) is None
    assert layouts.read(texts[-1] + ROW, len(texts[-1])) is not None
