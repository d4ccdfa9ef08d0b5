"""Laws of the decoder, whatever the body: it refuses by name, and both parsers agree."""

import json
import math
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.datatypes import DATATYPES
from gateway.errors import InvalidTensor, Malformed
from gateway.types import Shape
from gateway.wire.decode import decode
from tests.wire.bodies import BY_ORJSON, BY_SIMD, outcome, prefixed, read, version, with_blobs

ODD = version(
    ("x", "FP32", (-1, -1)),
    ("n", "INT8", (-1, -1)),
    outputs=(("label", "INT64", (-1,)), ("text", "BYTES", (-1,))),
)
ONE = version(("x", "FP32", (-1, -1, -1)))
REFUSED = (Malformed, InvalidTensor)

# What numbers look like, from plain to perverse; and what is no number, yet looks like one.
NUMBERS = [
    "0", "1", "-1", "2", "127", "128", "-0", "-0.0", "0.1", "1.0", "1e0", "3.4028235e38",
    "3.5e38", "1e300", "5e-324", "1e-400", "NaN", "Infinity", "-Infinity",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551615", "18446744073709551616", "1" * 30,
]  # fmt: skip
NO_NUMBERS = ["1e999", "nan", "01", "1.", "+1", "0x1", "-NaN"]
WORDS = [
    "inputs", "outputs", "parameters", "id", "name", "shape", "datatype", "data", "x", "n", "y",
    "label", "FP32", "INT8", "BYTES", "timeout", "binary_data", "binary_data_size", "a[b]{c}",
    "triton_a", "\0", "\ud800", "é", "",
]  # fmt: skip
words = st.sampled_from(WORDS).map(json.dumps)
scalars = st.sampled_from([*NUMBERS, "true", "false", "null"]) | words


def arrays(inner: st.SearchStrategy[str], *, most: int = 4) -> st.SearchStrategy[str]:
    return st.lists(inner, max_size=most).map(lambda items: f"[{','.join(items)}]")


def objects(
    inner: st.SearchStrategy[str], keys: st.SearchStrategy[str] = words
) -> st.SearchStrategy[str]:
    """JSON objects as text, so that a key may come twice."""
    pairs = st.lists(st.tuples(keys, inner), max_size=5)
    return pairs.map(lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items) + "}")


anything = st.recursive(scalars, lambda inner: arrays(inner) | objects(inner), max_leaves=12)
shapes = arrays(st.sampled_from(["1", "2", "0", "3", "-1", "1.0", "1099511627776"]), most=3)
numbers = st.sampled_from([*NUMBERS, *NO_NUMBERS])
rows = arrays(numbers, most=3)
elements = rows | arrays(rows, most=3) | arrays(arrays(rows, most=2), most=2) | anything


@st.composite
def members(draw: st.DrawFn, name: str, kind: str) -> str:
    """One input, nearly good: a member may be odd, or there twice."""
    good = {
        "name": f'"{name}"', "datatype": f'"{kind}"', "shape": "[1,2]",
        "data": draw(st.sampled_from(["[1,2]", "[[3,4]]", "[-0,127]", "[1,2.5]"])),
    }  # fmt: skip
    odd = {
        "name": words, "datatype": words, "shape": shapes | anything,
        "data": elements, "parameters": anything, "foo": anything,
    }  # fmt: skip
    parts = [f'"{key}":{value}' for key, value in good.items()]
    strange = draw(st.lists(st.sampled_from(sorted(odd)), max_size=2))
    parts += [f'"{key}":{draw(odd[key])}' for key in strange]
    return "{" + ",".join(draw(st.permutations(parts))) + "}"


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a request, as text."""
    listed = [draw(members("x", "FP32")), draw(members("n", "INT8"))]
    parts = [f'"inputs":[{",".join(draw(st.permutations(listed)))}]']
    parts += draw(st.lists(st.builds("{}:{}".format, words, anything), max_size=2))
    return ("{" + ",".join(draw(st.permutations(parts))) + "}").encode()


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    """A request for ONE, right in all but its shape, its nesting and its numbers."""
    shape = draw(st.lists(st.integers(0, 3), min_size=3, max_size=3))
    count = math.prod(shape)
    plain = st.sampled_from(["1", "0.5", "-3e2", "7"]) if draw(st.booleans()) else numbers
    flat = draw(st.lists(plain, min_size=count, max_size=count))
    dims = shape[draw(st.sampled_from([0, 0, 1, 2])) :]
    return (
        f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},'
        f'"data":{nest(flat, tuple(dims))}}}]}}'
    ).encode()


def nest(flat: list[str], dims: Shape) -> str:
    """Write elements as arrays in arrays; those that are left over stand at the end."""
    for size in reversed(dims[1:]):
        if size == 0:
            return "[]"
        flat = [f"[{','.join(flat[at : at + size])}]" for at in range(0, len(flat), size)]
    return f"[{','.join(flat)}]"


@settings(max_examples=300)
@given(requests())
def test_both_parsers_say_the_same_of_anything_like_a_request(text: bytes) -> None:
    assert outcome(text, ODD, BY_SIMD) == outcome(text, ODD, BY_ORJSON)


@settings(max_examples=300)
@given(tensors())
def test_both_parsers_say_the_same_of_any_tensor(text: bytes) -> None:
    assert outcome(text, ONE, BY_SIMD) == outcome(text, ONE, BY_ORJSON)


@given(anything)
def test_any_json_is_read_or_refused_by_name(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    assert outcome(raw, ODD, BY_SIMD) == outcome(raw, ODD, BY_ORJSON)


@given(st.binary(max_size=60), st.none() | st.integers(0, 80))
def test_any_bytes_are_read_or_refused_by_name(body: bytes, json_length: int | None) -> None:
    for limits in (BY_SIMD, BY_ORJSON):
        with suppress(*REFUSED):
            decode(body, json_length, ODD, limits)


GOOD = (
    b'{"id":"\\u00e9","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1.5,-2]},'
    b'{"name":"n","shape":[1,2],"datatype":"INT8","parameters":{"binary_data_size":2}}],'
    b'"outputs":[{"name":"label","parameters":{"binary_data":true}}],'
    b'"parameters":{"timeout":5,"a":[]}}'
).replace(b',"a":[]', b"")


@settings(max_examples=300)
@given(
    st.integers(0, len(GOOD) - 1),
    st.binary(max_size=3)
    | st.sampled_from([b"[", b"]", b"{", b'"', b",", b"\\", b"NaN", b"1e999"]),
    st.integers(0, 3),
    st.sampled_from([-1, 0, 1]),
)
def test_a_good_request_with_one_wound_is_read_or_refused_by_name(
    at: int, wound: bytes, gone: int, shift: int
) -> None:
    head = GOOD[:at] + wound + GOOD[at + gone :]
    body, length = head + b"\1\2", len(head) + shift
    assert outcome(body, ODD, BY_SIMD, length) == outcome(body, ODD, BY_ORJSON, length)


@given(
    st.binary(max_size=40),
    st.integers(0, 40),
    st.sampled_from(sorted(DATATYPES)),
    st.lists(st.integers(0, 4), max_size=2),
)
def test_any_blob_is_read_or_refused_by_name(
    blob: bytes, size: int, datatype: str, rest: list[int]
) -> None:
    of = version(("x", datatype, (-1,) * (len(rest) + 1)))
    member = {"name": "x", "shape": [1, *rest], "datatype": datatype}
    request = {"inputs": [member | {"parameters": {"binary_data_size": size}}]}
    body, length = with_blobs(request, blob)
    with suppress(*REFUSED):
        decode(body, length, of, BY_ORJSON)


def element(datatype: str) -> st.SearchStrategy[object]:
    """Any value of a datatype."""
    if datatype == "BYTES":
        return st.text(st.characters(codec="utf-8"), max_size=6)
    if datatype == "BOOL":
        return st.booleans()
    if datatype in ("FP32", "FP64"):
        return st.floats(width=32 if datatype == "FP32" else 64)
    bounds = np.iinfo(DATATYPES[datatype].numpy.str)
    return st.integers(int(bounds.min), int(bounds.max))


def little_endian(datatype: str, values: list[object]) -> bytes:
    return np.array(values, DATATYPES[datatype].numpy).tobytes()


IN_JSON = [name for name in DATATYPES if name not in ("FP16", "BF16")]


@pytest.mark.parametrize("datatype", IN_JSON)
@given(choice=st.data())
def test_values_survive_json_bit_by_bit(datatype: str, choice: st.DataObject) -> None:
    shape = choice.draw(st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(0, 3)))
    count = math.prod(shape)
    values = choice.draw(st.lists(element(datatype), min_size=count, max_size=count))
    of = version(("x", datatype, (-1, -1, -1)))
    nested = np.array(values, object).reshape(shape).tolist()
    for data in (values, nested, nested[0] if shape[0] == 1 else nested):
        member = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
        text = json.dumps({"inputs": [member]}).encode()
        for limits in (BY_SIMD, BY_ORJSON):
            reading = read(text, of, limits)
            (payload,) = reading.payloads
            assert (reading.rows, reading.shapes) == (shape[0], (shape[1:],))
            if isinstance(payload, list):
                assert payload == values
            elif datatype.startswith("FP"):  # a token says nothing of the bits of a NaN
                made = np.frombuffer(payload, DATATYPES[datatype].numpy)
                wished = np.array(values, DATATYPES[datatype].numpy)
                assert np.array_equal(made, wished, equal_nan=True)
                assert np.array_equal(np.signbit(made[made == 0]), np.signbit(wished[wished == 0]))
            else:
                assert bytes(payload) == little_endian(datatype, values)


@pytest.mark.parametrize("datatype", DATATYPES)
@given(choice=st.data())
def test_values_survive_binary_bit_by_bit(datatype: str, choice: st.DataObject) -> None:
    count = choice.draw(st.integers(0, 6))
    texts: list[str] = []
    if datatype == "BYTES":
        drawn = st.text(st.characters(codec="utf-8"), max_size=6)
        texts = choice.draw(st.lists(drawn, min_size=count, max_size=count))
        blob = prefixed(*(text.encode() for text in texts))
    elif datatype == "BOOL":
        flags = choice.draw(st.lists(st.booleans(), min_size=count, max_size=count))
        blob = struct.pack(f"<{count}?", *flags)
    else:
        size = count * DATATYPES[datatype].size_bytes
        blob = choice.draw(st.binary(min_size=size, max_size=size))
    member = {"name": "x", "shape": [1, count], "datatype": datatype}
    request = {"inputs": [member | {"parameters": {"binary_data_size": len(blob)}}]}
    body, length = with_blobs(request, blob)
    (payload,) = read(body, version(("x", datatype, (-1, -1))), json_length=length).payloads
    assert payload == (texts if datatype == "BYTES" else blob)
