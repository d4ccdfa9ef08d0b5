"""Bodies and versions for the tests of the decoder."""

import json
import struct
from collections.abc import Mapping

from gateway.errors import GatewayError
from gateway.types import Payload, Shape, Signature, TensorSpec, Version
from gateway.wire.decode import Limits, Reading, decode

BY_SIMD = Limits(simd_from_bytes=0)
BY_ORJSON = Limits(simd_from_bytes=1 << 62)


def version(
    *inputs: tuple[str, str, Shape],
    outputs: tuple[tuple[str, str, Shape], ...] = (("label", "INT64", (-1,)),),
    max_batch_rows: int = 8,
) -> Version:
    """A version of model 'm' with the inputs and outputs given as (name, datatype, shape)."""
    given = tuple(TensorSpec(*one) for one in inputs)
    made = tuple(TensorSpec(*one) for one in outputs)
    return Version("m", "1", Signature(given, made, max_batch_rows))


FLOATS = version(("x", "FP32", (-1, 4)))
PAIR = version(
    ("a", "INT32", (-1, 2)),
    ("b", "FP32", (-1, 3)),
    outputs=(("label", "INT64", (-1,)), ("scores", "FP32", (-1, 3)), ("half", "FP16", (-1,))),
)


def tensor(**changes: object) -> dict[str, object]:
    """The one input of FLOATS, with members changed; None takes one away."""
    member: dict[str, object] = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    member["data"] = [1, 2.5, -3, 0]
    return {key: value for key, value in (member | changes).items() if value is not None}


def body(**members: object) -> bytes:
    return json.dumps({"inputs": [tensor()]} | members).encode()


def one(**changes: object) -> bytes:
    return body(inputs=[tensor(**changes)])


def read(
    text: bytes | bytearray,
    of: Version = FLOATS,
    limits: Limits = BY_ORJSON,
    json_length: int | None = None,
) -> Reading:
    return decode(text, json_length, of, limits)


def outcome(
    text: bytes | bytearray, of: Version, limits: Limits, json_length: int | None = None
) -> tuple[object, ...]:
    """What came of a body, comparable: the reading with its bytes, or the error with its text."""
    try:
        reading = decode(text, json_length, of, limits)
    except GatewayError as error:
        return type(error), str(error)
    payloads = [one if isinstance(one, list) else bytes(one) for one in reading.payloads]
    return (
        payloads, reading.rows, reading.shapes, reading.id,
        reading.wanted, reading.timeout_us, reading.priority,
    )  # fmt: skip


def octets(payload: Payload) -> bytes:
    """The bytes of a payload that is not strings."""
    assert not isinstance(payload, list)
    return bytes(payload)


def with_blobs(request: Mapping[str, object], *blobs: bytes) -> tuple[bytes, int]:
    """A binary body and the length of its JSON part."""
    head = json.dumps(request).encode()
    return head + b"".join(blobs), len(head)


def prefixed(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
