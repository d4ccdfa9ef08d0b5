"""V2: a batch as one inference request in binary, and what came back as arrays.

Job    write what calls hold as Triton's binary tensors; read an answer, and prove that it is
       what the signature says, of as many rows as were asked.
Life   pure functions.
Never  copies numbers that can be sent, or used, where they are; takes a tensor for what it
       says of itself: every size is held against the bytes that are there.

Source: Open Inference Protocol V2; Triton's binary tensor extension.
"""

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from gateway.core.datatypes import DATATYPES, Datatype
from gateway.errors import ModelFailed
from gateway.types import Array, Call, Payload, Shape, Signature, TensorSpec

JSON_LENGTH = "inference-header-content-length"
_LENGTH = struct.Struct("<I")  # before each string
_MOST_RANK = 64
_MOST_QUOTED_CHARS = 200

Blob = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Request:
    """One inference request, but for its address.

    `rows` None: the model has no batch axis. `weight_rows` is what it counts as where
    somebody weighs requests.
    """

    json: bytes
    blobs: tuple[Blob, ...]
    rows: int | None

    @property
    def weight_rows(self) -> int:
        return self.rows or 1

    @property
    def size_bytes(self) -> int:
        return len(self.json) + sum(memoryview(blob).nbytes for blob in self.blobs)


class BadAnswer(ModelFailed):
    """What came is no answer to what was asked; no call of the batch is to blame."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the remote server's answer: {what}", by_a_call=False)


def of_calls(calls: Sequence[Call], signature: Signature) -> Request:
    """Return the request of a batch: calls of equal shapes, in their order."""
    rows = sum(call.rows for call in calls) if signature.max_batch_rows else None
    axes: Shape = () if rows is None else (rows,)
    columns = [[call.payloads[at] for call in calls] for at in range(len(signature.inputs))]
    shapes = [axes + shape for shape in calls[0].shapes]
    return _request(signature, shapes, columns, rows)


def of_arrays(arrays: Sequence[Array], signature: Signature) -> Request:
    """Return the request of whole arrays, in the order of the signature."""
    columns: list[list[Payload]] = [
        [array.ravel().tolist() if array.dtype == object else array.tobytes()] for array in arrays
    ]
    rows = len(arrays[0]) if signature.max_batch_rows else None
    return _request(signature, [array.shape for array in arrays], columns, rows)


def _request(
    signature: Signature,
    shapes: Sequence[Shape],
    columns: Sequence[Sequence[Payload]],
    rows: int | None,
) -> Request:
    blobs: list[Blob] = []
    inputs: list[dict[str, Any]] = []
    for spec, shape, pieces in zip(signature.inputs, shapes, columns, strict=True):
        packed = [_packed(piece) for piece in pieces]
        blobs += packed
        size_bytes = sum(memoryview(blob).nbytes for blob in packed)
        inputs.append(
            {
                "name": spec.name,
                "datatype": spec.datatype,
                "shape": shape,
                "parameters": {"binary_data_size": size_bytes},
            }
        )
    outputs = [{"name": s.name, "parameters": {"binary_data": True}} for s in signature.outputs]
    return Request(orjson.dumps({"inputs": inputs, "outputs": outputs}), tuple(blobs), rows)


def _packed(piece: Payload) -> Blob:
    if not isinstance(piece, list):
        return piece
    texts = [text.encode() for text in piece]
    return b"".join([part for text in texts for part in (_LENGTH.pack(len(text)), text)])


def outputs_of(
    body: bytes, headers: Mapping[str, str], signature: Signature, rows: int | None
) -> list[Array]:
    """Return the outputs that an answer of status 200 holds, in the order of the signature.

    Shapes: as the signature says, the batch axis `rows` long. Raises: BadAnswer.
    """
    said, blobs = _parts(body, headers.get(JSON_LENGTH))
    wanted = {spec.name: spec for spec in signature.outputs}
    found: dict[str, Array] = {}
    at = 0
    for member in said:
        name, size_bytes = _named(member), _size_of(member)
        blob = blobs[at : at + size_bytes]
        if len(blob) < size_bytes:
            raise BadAnswer(f"output {_quoted(name)} is cut off")
        at += size_bytes
        if name in found:
            raise BadAnswer(f"output {_quoted(name)} is there twice")
        if (spec := wanted.get(name)) is not None:  # what nobody asked for is passed over
            found[name] = _array(member, spec, blob, rows)
    if at < len(blobs):
        raise BadAnswer(f"{len(blobs) - at} bytes belong to no output")
    if missing := [name for name in wanted if name not in found]:
        raise BadAnswer(f"output {_quoted(missing[0])} is missing")
    return [found[spec.name] for spec in signature.outputs]


def error_of(body: bytes) -> tuple[str, str]:
    """Return (its code, its sentence, cut) of an answer that is an error; "" what is not there."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    if not isinstance(said, dict):
        return "", ""
    code, sentence = (said.get(name) for name in ("code", "error"))
    text = sentence if isinstance(sentence, str) else ""
    printable = "".join(one if one.isprintable() else " " for one in text[:_MOST_QUOTED_CHARS])
    return code if isinstance(code, str) else "", printable


def _parts(body: bytes, length: str | None) -> tuple[list[Any], memoryview]:
    """Return what the JSON says of the outputs, and the bytes after it."""
    if length is None:
        length = str(len(body))  # it is all JSON: no tensor has any bytes
    if not (length.isascii() and length.isdigit() and int(length[:20]) <= len(body)):
        raise BadAnswer(f"{JSON_LENGTH}: expected at most {len(body)}, got {_quoted(length)}")
    end = int(length)
    try:
        said = orjson.loads(memoryview(body)[:end])
    except orjson.JSONDecodeError as error:
        raise BadAnswer("its JSON cannot be read") from error
    outputs = said.get("outputs") if isinstance(said, dict) else None
    if not isinstance(outputs, list):
        raise BadAnswer("expected an array of outputs")
    return outputs, memoryview(body)[end:]


def _named(member: Any) -> str:
    name = member.get("name") if isinstance(member, dict) else None
    if not isinstance(name, str):
        raise BadAnswer("an output has no name")
    return name


def _size_of(member: Mapping[str, Any]) -> int:
    """Return how many bytes after the JSON an output has."""
    parameters = member.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if type(size) is not int or size < 0:
        raise BadAnswer(f"output {_quoted(member['name'])}: expected a binary tensor")
    return size


def _array(
    member: Mapping[str, Any], spec: TensorSpec, blob: memoryview, rows: int | None
) -> Array:
    shape, datatype = member.get("shape"), member.get("datatype")
    kind = DATATYPES[spec.datatype]
    if datatype != spec.datatype or not _fits(shape, spec.shape, rows):
        expected = spec.shape if rows is None else (rows, *spec.shape[1:])
        raise BadAnswer(
            f"output {_quoted(spec.name)}: expected {spec.datatype} {list(expected)}, got "
            f"{_quoted(datatype)} {_quoted(shape)}"
        )
    assert isinstance(shape, list)
    count = math.prod(shape)
    if kind.size_bytes and count * kind.size_bytes != len(blob):
        what = f"expected {count * kind.size_bytes} bytes, got {len(blob)}"
        raise BadAnswer(f"output {_quoted(spec.name)}: {what}")
    flat = _numbers(spec, kind, blob) if kind.size_bytes else _strings(spec, blob, count)
    try:
        return flat.reshape(shape)
    except ValueError as error:  # an axis of 0 beside one beyond all memory
        raise BadAnswer(f"output {_quoted(spec.name)}: no array is {_quoted(shape)}") from error


def _fits(shape: Any, declared: Shape, rows: int | None) -> bool:
    """Say whether a shape is one that was declared: an open axis is any size."""
    if not isinstance(shape, list) or len(shape) != len(declared) or len(shape) > _MOST_RANK:
        return False
    if not all(type(axis) is int and 0 <= axis < 1 << 62 for axis in shape):
        return False
    if rows is not None and shape[0] != rows:
        return False
    return all(b in (-1, a) for a, b in zip(shape, declared, strict=True))


def _numbers(spec: TensorSpec, kind: Datatype, blob: memoryview) -> Array:
    if kind.name == "BOOL" and bytes(blob).translate(None, b"\0\1"):
        raise BadAnswer(f"output {_quoted(spec.name)}: expected bytes of 0 or 1")
    array = np.frombuffer(blob, dtype=kind.numpy)
    # a tensor begins wherever the JSON before it ends
    return array if array.flags.aligned else array.copy()


def _strings(spec: TensorSpec, blob: memoryview, count: int) -> Array:
    """Return strings, each after its length in four bytes."""
    content = bytes(blob)
    if count * _LENGTH.size > len(content):
        raise BadAnswer(f"output {_quoted(spec.name)}: expected {count} strings")
    texts = np.empty(count, dtype=object)
    at = 0
    try:
        for place in range(count):
            start = at + _LENGTH.size
            (length,) = _LENGTH.unpack_from(content, at)
            at = start + length
            texts[place] = content[start:at].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise BadAnswer(f"output {_quoted(spec.name)}: a string is none") from error
    if at != len(content):
        raise BadAnswer(f"output {_quoted(spec.name)}: expected {count} strings, and no more")
    return texts


def metadata_of(body: bytes) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs that a model's V2 metadata name. Raises: BadAnswer."""
    try:
        said = orjson.loads(body)
        return _specs(said["inputs"]), _specs(said["outputs"])
    except (ValueError, KeyError, TypeError) as error:  # JSON's own error is a ValueError
        raise BadAnswer("its metadata cannot be read") from error


def _specs(members: Iterable[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            str(one["name"]), str(one["datatype"]), tuple(int(axis) for axis in one["shape"])
        )
        for one in members
    )


def _quoted(foreign: object) -> str:
    """Return a foreign word as a message may quote it."""
    shown = ascii(foreign)
    return shown if len(shown) <= _MOST_QUOTED_CHARS else f"{shown[:_MOST_QUOTED_CHARS]}..."
