"""Columns: JSON values that have only a name, and become the inputs of a version.

Job    deduce each input's shape from how its values are nested; pack them as V2's are.
Life   pure functions.
Never  lenient where V2 is strict: ragged rows, values out of range and unknown names are
       refused by their path. Types come from the model.

A string may come as {"b64": "..."}, where it is an element.
Source: TensorFlow Serving's REST API; protocol K2, K3 and K5.
"""

import base64
import binascii
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from gateway.core.datatypes import DATATYPES
from gateway.errors import InvalidTensor, Malformed
from gateway.types import Payload, Shape, TensorSpec, Version
from gateway.wire.decode import Reading, Wanted
from gateway.wire.encode import refuse_unwritable
from gateway.wire.jsontext import got
from gateway.wire.tensors import Limits, Tensor, fit_shape, named
from gateway.wire.values import pack


class Column(NamedTuple):
    """The values of one input, all rows together, and where in the body they are."""

    path: str
    values: object


def reading_of(columns: Mapping[str, Column], version: Version, limits: Limits) -> Reading:
    """Return what a request of these columns says: every output is wanted, as JSON.

    Raises: Malformed, InvalidTensor.
    """
    signature = version.signature
    has_batch = signature.max_batch_rows > 0
    made = [_packed(columns[spec.name], spec, version, limits) for spec in signature.inputs]
    wanted = tuple(Wanted(at, binary=False) for at in range(len(signature.outputs)))
    refuse_unwritable(version, wanted)
    rows = _rows([shape for _, shape in made], columns, version) if has_batch and made else 1
    payloads = tuple(payload for payload, _ in made)
    shapes = tuple(shape[has_batch:] for _, shape in made)
    return Reading(payloads, rows, shapes, None, wanted, 0, 0)


def check_names(given: Iterable[str], version: Version, path: str) -> None:
    """Refuse names that are not those of the inputs. Raises: InvalidTensor."""
    expected = [spec.name for spec in version.signature.inputs]
    found = list(given)
    if set(found) != set(expected):
        raise InvalidTensor(
            f"{path}: expected the inputs {named(expected)} of model '{version.model}', got "
            f"{named(found)}"
        )


def only_input(version: Version, path: str) -> TensorSpec:
    """Return the one input that values without a name are for. Raises: InvalidTensor."""
    inputs = version.signature.inputs
    if len(inputs) != 1:
        raise InvalidTensor(
            f"{path}: expected objects with the inputs {named(spec.name for spec in inputs)} of "
            f"model '{version.model}', got values without a name"
        )
    return inputs[0]


def is_string(value: object) -> bool:
    """Say whether an object stands for a string."""
    return isinstance(value, dict) and value.keys() == {"b64"}


def _packed(
    column: Column, spec: TensorSpec, version: Version, limits: Limits
) -> tuple[Payload, Shape]:
    values, kind = column.values, DATATYPES[spec.datatype]
    if not kind.size_bytes:
        values = _strings(values, column.path, limits.max_rank)
    shape = _nesting(values, limits.max_rank)
    fit_shape(shape, kind, spec, version, column.path, limits)
    has_batch = version.signature.max_batch_rows > 0
    elements = math.prod(shape)
    tensor = Tensor(spec.name, version.model, column.path, kind, shape, elements, has_batch, "")
    return pack(tensor, values if shape else [values]), shape


def _nesting(values: object, max_rank: int) -> Shape:
    """Return the shape that values have if they are not ragged: packing them shows that."""
    shape: list[int] = []
    while isinstance(values, list) and len(shape) <= max_rank:
        shape.append(len(values))
        values = values[0] if values else None
    return tuple(shape)


def _strings(values: object, path: str, levels: int) -> object:
    """Return the values with every {"b64": ...} opened."""
    if isinstance(values, list) and levels >= 0:
        return [_strings(one, path, levels - 1) for one in values]
    if not isinstance(values, dict) or not is_string(values):
        return values
    try:
        return base64.b64decode(values["b64"], validate=True).decode()
    except (TypeError, ValueError, binascii.Error):  # no text, no base64, no UTF-8
        raise Malformed(
            f"{path}: expected UTF-8 in base64 as b64, got {got(values['b64'])}"
        ) from None


def _rows(shapes: list[Shape], columns: Mapping[str, Column], version: Version) -> int:
    rows = shapes[0][0]
    for spec, shape in zip(version.signature.inputs, shapes, strict=True):
        if shape[0] != rows:
            raise InvalidTensor(
                f"input '{spec.name}' batch size does not match other inputs for "
                f"'{version.model}' ({columns[spec.name].path}): expected {rows}, got {shape[0]}"
            )
    return rows
