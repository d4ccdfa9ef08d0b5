"""Decode: a V2 inference request, from the bytes of its body to the payloads of a call.

Job    read a whole request, JSON with or without binary tensors, for one version.
Never  lets a request through that does not fit the model; blames it by path instead.

    raw        a body without JSON                     -> Payload
    binary     which part of the body is JSON          -> text
    bounds     no more of it than fits the model
    simd       a large text, its numbers left alone    -> request, or None
    jsontext   any text                                -> request
    parameters the three kinds of `parameters`
    tensors    names, datatypes, shapes                -> Tensor, which fits
    values     elements from JSON     |  binary    elements from bytes    -> Payload

Malformed: the request cannot be understood. InvalidTensor: it can, and does not fit.
"""

from dataclasses import dataclass
from typing import NamedTuple

from gateway.errors import InvalidTensor, Malformed
from gateway.types import Payload, Shape, TensorSpec, Version
from gateway.wire import jsontext, parameters, simd, values
from gateway.wire.binary import Blobs, json_part
from gateway.wire.bounds import check_size
from gateway.wire.classes import check_classes
from gateway.wire.jsontext import MISSING, brief, got
from gateway.wire.raw import read_raw
from gateway.wire.tensors import Limits, Tensor, fit, named

__all__ = ["Limits", "Reading", "Wanted", "decode"]

_SOURCES = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters'"
)


class Wanted(NamedTuple):
    """One output that the caller asked for; `place` is its own in the signature.

    `classes` above 0 asks for its best so many classes instead.
    """

    place: int
    binary: bool
    classes: int = 0


@dataclass(slots=True)
class Reading:
    """All that a request says.

    Shapes: `shapes` are the inputs' shapes beyond the batch axis, all of it for a model
    without one, whose `rows` is 1.
    """

    payloads: tuple[Payload, ...]  # in the order of the signature, as are shapes and wanted
    rows: int
    shapes: tuple[Shape, ...]
    id: str | None  # None when absent or empty
    wanted: tuple[Wanted, ...]
    timeout_us: int  # 0: none
    priority: int  # 0: the default


def decode(
    body: bytes | bytearray, json_length: int | None, version: Version, limits: Limits
) -> Reading:
    """Return what a request says, proved to fit `version`.

    Units: `json_length` is in bytes; None: all of the body is JSON.
    Raises: Malformed, InvalidTensor.
    """
    if json_length == 0:
        return _raw(body, version, limits)
    request = parse(json_part(body, json_length), version, limits)
    return decode_request(request, body, json_length, version, limits)


def decode_request(
    request: dict[str, object],
    body: bytes | bytearray,
    json_length: int | None,
    version: Version,
    limits: Limits,
) -> Reading:
    """Return what a request says whose JSON was parsed; its bytes follow in `body`.

    Raises: Malformed, InvalidTensor.
    """
    asked = parameters.read(request, "$")
    parameters.refuse_sequence(asked)
    timeout_us = parameters.count(asked, "timeout", "$") or 0
    priority = parameters.count(asked, "priority", "$") or 0
    wanted = _wanted(request, asked, version, limits)
    identity = _identity(request, limits)
    blobs = Blobs(body, json_length)
    found = _inputs(request, version, limits)
    payloads = {index: _payload(member, tensor, blobs) for index, member, tensor in found}
    blobs.finish(version.model)
    tensors = [tensor for _, _, tensor in sorted(found, key=lambda entry: entry[0])]
    has_batch = version.signature.max_batch_rows > 0
    return Reading(
        payloads=tuple(payloads[index] for index in range(len(tensors))),
        rows=tensors[0].shape[0] if has_batch and tensors else 1,
        shapes=tuple(tensor.shape[has_batch:] for tensor in tensors),
        id=identity,
        wanted=wanted,
        timeout_us=timeout_us,
        priority=priority,
    )


def _raw(body: bytes | bytearray, version: Version, limits: Limits) -> Reading:
    payload, shape = read_raw(body, version, limits)
    has_batch = version.signature.max_batch_rows > 0
    outputs = range(len(version.signature.outputs))
    wanted = tuple(Wanted(at, binary=True) for at in outputs)
    return Reading((payload,), 1, (shape[has_batch:],), None, wanted, 0, 0)


def parse(text: bytes | bytearray, version: Version, limits: Limits) -> dict[str, object]:
    """Return the object that a JSON text is. Raises: Malformed, InvalidTensor."""
    if not text:
        raise Malformed("request body ($): expected a JSON object, got an empty body")
    check_size(text, version, limits)
    if len(text) >= limits.simd_from_bytes:
        large = simd.read(text, limits.max_tensors, limits.max_json_depth)
        if large is not None:
            return large
    request = jsontext.load(text, limits.max_json_depth)
    if not isinstance(request, dict):
        raise Malformed(f"request body ($): expected a JSON object, got {got(request)}")
    return request


def _identity(request: dict[str, object], limits: Limits) -> str | None:
    identity = request.get("id", "")
    if not isinstance(identity, str):
        raise Malformed(f"$.id: expected a string, got {got(identity)}")
    size_bytes = len(identity.encode())
    if size_bytes > limits.max_id_bytes:
        raise Malformed(f"$.id: expected at most {limits.max_id_bytes} bytes, got {size_bytes}")
    return identity or None


def _members(
    request: dict[str, object], key: str, default: object, limits: Limits
) -> list[tuple[str, str, dict[str, object]]]:
    """Return (path, name, member) of each tensor listed under `key`."""
    listed = request.get(key, default)
    if not isinstance(listed, list):
        raise Malformed(f"$.{key}: expected an array of objects, got {got(listed)}")
    if len(listed) > limits.max_tensors:
        raise InvalidTensor(
            f"$.{key}: expected at most {limits.max_tensors} tensors (limits.max_tensors), "
            f"got {len(listed)}"
        )
    found = []
    for at, member in enumerate(listed):
        path = f"$.{key}[{at}]"
        if not isinstance(member, dict):
            raise Malformed(f"{path}: expected an object, got {got(member)}")
        name = member.get("name", MISSING)
        if not isinstance(name, str):
            raise Malformed(f"{path}.name: expected a string, got {got(name)}")
        found.append((path, name, member))
    return found


def _wanted(
    request: dict[str, object], asked: parameters.Parameters, version: Version, limits: Limits
) -> tuple[Wanted, ...]:
    is_binary = parameters.flag(asked, "binary_data_output", "$")
    known = version.signature.outputs
    indices = {spec.name: index for index, spec in enumerate(known)}
    listed = _members(request, "outputs", [], limits)
    if not listed:
        return tuple(Wanted(index, is_binary) for index in range(len(known)))
    wanted: dict[int, Wanted] = {}
    for path, name, member in listed:
        index = indices.get(name)
        if index is None:
            raise InvalidTensor(
                f"unexpected inference output '{brief(name)}' for model '{version.model}' "
                f"({path}.name): expected one of {named(indices)}"
            )
        if index in wanted:
            raise InvalidTensor(
                f"output '{name}' already exists in request ({path}.name): "
                "expected each output once"
            )
        wanted[index] = _form(member, path, index, version)
    return tuple(wanted[index] for index in sorted(wanted))


def _form(member: dict[str, object], path: str, index: int, version: Version) -> Wanted:
    """Return in which form an output is wanted."""
    given = parameters.read(member, path)
    parameters.refuse_shared_memory(given, path)
    classes = parameters.count(given, "classification", path) or 0
    if classes:
        signature = version.signature
        check_classes(signature.outputs[index], classes, signature.max_batch_rows > 0, path)
    return Wanted(index, parameters.flag(given, "binary_data", path), classes)


def _inputs(
    request: dict[str, object], version: Version, limits: Limits
) -> list[tuple[int, dict[str, object], Tensor]]:
    """Return (index in the signature, member, tensor) of each input, in request order.

    All names are judged before any shape, and all shapes before any element.
    """
    listed = _members(request, "inputs", MISSING, limits)
    specs = version.signature.inputs
    indices = _matched([(path, name) for path, name, _ in listed], specs, version.model)
    found = [
        (index, member, fit(member, specs[index], version, path, limits))
        for index, (path, _, member) in zip(indices, listed, strict=True)
    ]
    if version.signature.max_batch_rows:
        for _, _, tensor in found[1:]:
            if tensor.shape[0] != found[0][2].shape[0]:
                raise InvalidTensor(
                    f"input '{tensor.name}' batch size does not match other inputs for "
                    f"'{version.model}' ({tensor.path}.shape[0]): expected "
                    f"{found[0][2].shape[0]}, got {tensor.shape[0]}"
                )
    return found


def _matched(listed: list[tuple[str, str]], specs: tuple[TensorSpec, ...], model: str) -> list[int]:
    """Return the index in `specs` of each (path, name), every spec being named once."""
    known = {spec.name: index for index, spec in enumerate(specs)}
    indices: list[int] = []
    for path, name in listed:
        index = known.get(name)
        if index is None:
            raise InvalidTensor(
                f"unexpected inference input '{brief(name)}' for model '{model}' "
                f"({path}.name): expected one of {named(known)}"
            )
        if index in indices:
            raise InvalidTensor(
                f"input '{name}' already exists in request ({path}.name): expected each input once"
            )
        indices.append(index)
    missing = [name for name, index in known.items() if index not in indices]
    if missing:
        raise InvalidTensor(
            f"expected {len(known)} inputs but got {len(listed)} inputs for model '{model}'. "
            f"Got input(s) {named(name for _, name in listed)}, but missing required input(s) "
            f"{named(missing)}. Please provide all required input(s). ($.inputs)"
        )
    return indices


def _payload(member: dict[str, object], tensor: Tensor, blobs: Blobs) -> Payload:
    given = parameters.read(member, tensor.path)
    parameters.refuse_shared_memory(given, tensor.path)
    size_bytes = parameters.count(given, "binary_data_size", tensor.path)
    if ("data" in member) == (size_bytes is not None):
        amount = "neither" if size_bytes is None else "both"
        raise Malformed(f"{_SOURCES} ({tensor.path}): expected one of them, got {amount}")
    if size_bytes is not None:
        return blobs.take(tensor, size_bytes)
    return values.pack(tensor, member["data"])
