"""The way in by layouts gives None, or what the decoder gives, whatever came before."""

import json
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.datatypes import DATATYPES
from gateway.errors import GatewayError
from gateway.types import Version
from gateway.wire.decode import Limits, Reading, decode
from gateway.wire.layouts import Layouts
from tests.wire.bodies import version

LIMITS = Limits(max_elements=6)
KINDS = ["FP32", "INT8", "FP16", "BOOL", "BYTES"]
VERSIONS = [version(("x", datatype, (-1, 2))) for datatype in KINDS] + [
    version(("x", "FP32", (-1, 2)), ("y", "FP32", (-1, 2))),
    version(("x", "FP32", (2,)), max_batch_rows=0),
    version(("x", "INT8", (-1, -1)), max_batch_rows=0),
]

Body = tuple[bytes, int]  # and the length of its JSON part
lengths = st.sampled_from([0] * 12 + [-1, 1, 1000])  # off by so much


@st.composite
def texts(draw: st.DrawFn, of: Version) -> tuple[bytes, int]:
    """The JSON part of a request that more or less fits a version, and the bytes it declares."""
    is_odd = draw(st.integers(0, 3)) == 0
    tensors: list[dict[str, Any]] = []
    declared_bytes = 0
    for spec in of.signature.inputs:
        rows = [draw(st.sampled_from([1, 2]))] if of.signature.max_batch_rows else []
        shape = [*rows, *(2 if axis < 0 else axis for axis in spec.shape[len(rows) :])]
        if is_odd:
            shape = draw(st.sampled_from([[1, 2], [2], [0, 2], [4, 2], [1, 3]]))
        tensor: dict[str, Any] = {"name": spec.name, "shape": shape, "datatype": spec.datatype}
        size_bytes = math.prod(shape) * (DATATYPES[spec.datatype].size_bytes or 5)
        if is_odd:
            size_bytes = draw(st.sampled_from([size_bytes, 8, 0, 1]))
        if is_odd and draw(st.booleans()):
            tensor["data"] = draw(st.sampled_from([[1, 2], [True, False], ["", "a"]]))
        else:
            tensor["parameters"] = {"binary_data_size": size_bytes}
            declared_bytes += size_bytes
        tensors.append(tensor)
    more: dict[str, Any] = draw(
        st.sampled_from(
            [{}, {}, {}, {"id": "a"}, {"id": ""}, {"parameters": {"binary_data_output": True}}]
        )
    )
    return json.dumps({"inputs": tensors} | more).encode(), declared_bytes


@st.composite
def blobs(draw: st.DrawFn, declared_bytes: int) -> bytes:
    """Bytes to follow a text, of the declared number or not, with values for every datatype."""
    size_bytes = max(0, declared_bytes + draw(st.sampled_from([0] * 8 + [1, -1, 8])))
    if draw(st.integers(0, 3)) == 0:
        return draw(st.binary(min_size=size_bytes, max_size=size_bytes))
    pattern = draw(st.sampled_from([b"\0", b"\1\0", b"\1\0\0\0a", b"\1\0\0\0b", b"\2"]))
    return (pattern * size_bytes)[:size_bytes]


@st.composite
def bodies(draw: st.DrawFn, of: Version) -> Body:
    """A whole request, its length of the JSON part now and then another."""
    text, declared_bytes = draw(texts(of))
    return text + draw(blobs(declared_bytes)), len(text) + draw(lengths)


@st.composite
def stories(draw: st.DrawFn) -> tuple[Version, list[Body]]:
    """What one or two clients send, one text each and its bytes ever new."""
    of = draw(st.sampled_from(VERSIONS))
    said = draw(st.lists(texts(of), min_size=1, max_size=2))
    asked: list[Body] = []
    for _ in range(draw(st.integers(2, 8))):
        text, declared_bytes = draw(st.sampled_from(said))
        asked.append((text + draw(blobs(declared_bytes)), len(text) + draw(lengths)))
    return of, asked


def comparable(reading: Reading) -> tuple[object, ...]:
    payloads = [one if isinstance(one, list) else bytes(one) for one in reading.payloads]
    return (
        payloads, reading.rows, reading.shapes, reading.id,
        reading.wanted, reading.timeout_us, reading.priority,
    )  # fmt: skip


@given(stories())
@settings(max_examples=200)
def test_layouts_read_as_the_decoder_does(story: tuple[Version, list[Body]]) -> None:
    of, asked = story
    layouts = Layouts(of)
    for body, json_length in asked:
        known = layouts.read(body, json_length)
        try:
            reading = decode(body, json_length, of, LIMITS)
        except GatewayError:
            assert known is None
        else:
            assert known is None or comparable(known) == comparable(reading)
            layouts.learn(body, json_length, reading)
