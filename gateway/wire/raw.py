"""Raw: a body that is the one input itself, without a word about it.

Job    deduce the tensor that the bytes are; prove that they fit.
Never  guesses where more than one axis is open.

The header Inference-Header-Content-Length is 0 then. Every output is asked for, in binary.
Source: Triton's binary tensor extension, raw requests; protocol B9.
"""

import math

from gateway.core.datatypes import DATATYPES, Datatype
from gateway.errors import InvalidTensor
from gateway.types import Payload, Shape, Signature, TensorSpec, Version
from gateway.wire.binary import proved
from gateway.wire.tensors import Limits, Tensor, check_elements, named, shown

_BODY = "$"  # where it is


def read_raw(body: bytes | bytearray, version: Version, limits: Limits) -> tuple[Payload, Shape]:
    """Return the elements and the shape of a version's one input. Raises: InvalidTensor."""
    spec = _only_input(version)
    kind = DATATYPES[spec.datatype]
    has_batch = version.signature.max_batch_rows > 0
    if not kind.size_bytes:
        return _text(bytes(body), spec, version, has_batch)
    shape = _deduced(len(body), spec, kind, version.signature, version.model)
    check_elements(shape, limits, _BODY)
    tensor = Tensor(spec.name, version.model, _BODY, kind, shape, math.prod(shape), has_batch)
    return proved(tensor, memoryview(body)), shape


def _only_input(version: Version) -> TensorSpec:
    inputs = version.signature.inputs
    if len(inputs) != 1:
        raise InvalidTensor(
            f"Raw request must only have 1 input (found 1) to be deduced but got {len(inputs)} "
            f"inputs in '{version.model}' ({_BODY}): expected JSON for the inputs "
            f"{named(spec.name for spec in inputs)}"
        )
    return inputs[0]


def _deduced(
    size_bytes: int, spec: TensorSpec, kind: Datatype, signature: Signature, model: str
) -> Shape:
    """Return the shape that so many bytes are: one row, and at most one axis left open."""
    shape = (1, *spec.shape[1:]) if signature.max_batch_rows else spec.shape
    opened = [axis for axis, size in enumerate(shape) if size < 0]
    if len(opened) > 1:
        raise InvalidTensor(
            f"The shape of the raw input '{spec.name}' can not be deduced because there are more "
            f"than one variable-sized dimension ({_BODY}): got {shown(spec.shape)}"
        )
    known_bytes = math.prod(size for size in shape if size >= 0) * kind.size_bytes
    if opened and known_bytes and size_bytes % known_bytes == 0:
        return (*shape[: opened[0]], size_bytes // known_bytes, *shape[opened[0] + 1 :])
    if opened or size_bytes != known_bytes:
        what = f"a multiple of {known_bytes}" if opened else str(known_bytes)
        raise InvalidTensor(
            f"input byte size mismatch for input '{spec.name}' for model '{model}'. Expected "
            f"{what}, got {size_bytes} ({_BODY})"
        )
    return shape


def _text(
    body: bytes, spec: TensorSpec, version: Version, has_batch: bool
) -> tuple[list[str], Shape]:
    if spec.shape[has_batch:] not in ((1,), (-1,)):
        raise InvalidTensor(
            f"For BYTE datatype raw input '{spec.name}', the model must have input shape [1] "
            f"({_BODY}): got {shown(spec.shape[has_batch:])}"
        )
    try:
        return [body.decode()], (1, 1) if has_batch else (1,)
    except UnicodeDecodeError as error:
        raise InvalidTensor(
            f"{_BODY}: expected UTF-8 for input '{spec.name}' of model '{version.model}', got "
            f"{error.reason} at byte {error.start}"
        ) from None
