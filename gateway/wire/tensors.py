"""Tensors: what a request declares of an input, held against what the model takes.

Job    read name, datatype and shape of each input; prove that they fit the signature.
Never  allocates by a declared shape: all arithmetic is in Python's integers, and first.

Order of the checks, from cheap to dear: names, kinds, rank, the exact element count, the
model's shape, the batch. After them nothing is left but the elements.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.core.datatypes import DATATYPES, Datatype
from gateway.errors import InvalidTensor, Malformed
from gateway.types import Shape, TensorSpec, Version
from gateway.wire.jsontext import MISSING, brief, got

_MAX_SIGNED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """How large the tensors of one request may be; their bytes are the lane's business."""

    max_tensors: int = 64
    max_rank: int = 16
    max_elements: int = 16_777_216  # of one tensor
    max_json_depth: int = 100
    max_id_bytes: int = 1024
    # Larger JSON goes through simdjson. By itself it overtakes orjson at 8 KiB; but the plain
    # requests of quick.py are read by orjson cheaper than here, up to 25 to 80 KiB.
    simd_from_bytes: int = 32_768


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input of a request, proved to fit the model but for its elements.

    Shapes: `shape` is the declared one, with the batch axis of a model that has one.
    """

    name: str
    model: str
    path: str  # of the input in the request: "$.inputs[0]"
    kind: Datatype
    shape: Shape
    elements: int
    has_batch: bool
    data: str = ".data"  # where its elements are, beyond `path`

    @property
    def where(self) -> str:
        return f"{self.path}{self.data}"

    @property
    def whose(self) -> str:
        return f"for input '{self.name}' of model '{self.model}'"


def named(names: Iterable[str]) -> str:
    """Return names as a message lists them: ['a','b']."""
    return "[" + ",".join(f"'{brief(name)}'" for name in names) + "]"


def shown(shape: Iterable[object]) -> str:
    """Return a shape as a message shows it: [-1,64]."""
    return "[" + ",".join(map(brief, shape)) + "]"


def fit(
    member: dict[str, object], spec: TensorSpec, version: Version, path: str, limits: Limits
) -> Tensor:
    """Return the input at `path`, declared by `member`, which bears the name of `spec`.

    Raises: Malformed, InvalidTensor.
    """
    kind = _kind(member, spec, version, path)
    shape = _shape(member, path, limits)
    fit_shape(shape, kind, spec, version, f"{path}.shape", limits)
    has_batch = version.signature.max_batch_rows > 0
    return Tensor(spec.name, version.model, path, kind, shape, math.prod(shape), has_batch)


def fit_shape(
    shape: Shape, kind: Datatype, spec: TensorSpec, version: Version, where: str, limits: Limits
) -> None:
    """Refuse a shape that does not fit. Raises: InvalidTensor."""
    _check_count(shape, kind, spec, where)
    _match(shape, spec, version, where)
    if max_rows := version.signature.max_batch_rows:
        _check_batch(shape[0], max_rows, version, where)
    check_elements(shape, limits, where)


def check_elements(shape: Shape, limits: Limits, where: str) -> None:
    """Refuse a tensor of too many elements. Raises: InvalidTensor."""
    # A zero hides the other axes from the product, but not from whoever allocates.
    if math.prod(filter(None, shape)) > limits.max_elements:
        raise InvalidTensor(
            f"{where}: expected at most {limits.max_elements} elements "
            f"(limits.max_elements), got {shown(shape)}"
        )


def _kind(member: dict[str, object], spec: TensorSpec, version: Version, path: str) -> Datatype:
    datatype = member.get("datatype", MISSING)
    kind = DATATYPES.get(datatype) if isinstance(datatype, str) else None
    if kind is None:
        raise Malformed(
            f"invalid datatype for input {spec.name} ({path}.datatype): "
            f"expected one of {named(DATATYPES)}, got {got(datatype)}"
        )
    if kind.name != spec.datatype:
        raise InvalidTensor(
            f"inference input '{spec.name}' data-type is '{kind.name}', but model "
            f"'{version.model}' expects '{spec.datatype}' ({path}.datatype)"
        )
    return kind


def _shape(member: dict[str, object], path: str, limits: Limits) -> Shape:
    shape = member.get("shape", MISSING)
    if not isinstance(shape, list):
        raise Malformed(f"{path}.shape: expected an array of whole numbers, got {got(shape)}")
    if len(shape) > limits.max_rank:
        raise InvalidTensor(
            f"{path}.shape: expected at most {limits.max_rank} axes (limits.max_rank), "
            f"got {len(shape)}"
        )
    for axis, size in enumerate(shape):
        if type(size) is not int or size < 0:
            raise Malformed(
                "attempt to access JSON non-unsigned-integer as unsigned-integer "
                f"({path}.shape[{axis}]): expected a whole number, got {got(size)}"
            )
    return tuple(shape)


def _check_count(shape: Shape, kind: Datatype, spec: TensorSpec, where: str) -> None:
    elements = math.prod(shape)
    if elements > _MAX_SIGNED:
        raise InvalidTensor(
            f"shape of input '{spec.name}' causes total element count to exceed maximum size of "
            f"{_MAX_SIGNED} ({where}): got {shown(shape)}"
        )
    if elements * kind.size_bytes > _MAX_SIGNED:
        raise InvalidTensor(
            f"byte size overflow for input '{spec.name}' ({where}): expected at most "
            f"{_MAX_SIGNED} bytes, got {kind.name} of {shown(shape)}"
        )


def _match(shape: Shape, spec: TensorSpec, version: Version, where: str) -> None:
    if len(shape) != len(spec.shape) or any(
        size not in (-1, given) for size, given in zip(spec.shape, shape, strict=True)
    ):
        raise InvalidTensor(
            f"unexpected shape for input '{spec.name}' for model '{version.model}'. "
            f"Expected {shown(spec.shape)}, got {shown(shape)} ({where})"
        )


def _check_batch(rows: int, max_rows: int, version: Version, where: str) -> None:
    if not 1 <= rows <= max_rows:
        law = f"must be <= {max_rows}" if rows else "must be >= 1"
        raise InvalidTensor(
            f"inference request batch-size {law} for '{version.model}' ({where}[0]): "
            f"expected 1 to {max_rows}, got {brief(rows)}"
        )
