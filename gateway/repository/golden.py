"""Golden: the sample that travels with a version, and whether the version still gives it.

Job    read `golden.json`, turn its tensors into arrays, compare what the model gave.
Life   once a version, in the child that proves it.
Never  lets a number pass that is not one: where a finite value is expected, NaN and the
       infinities are refused by the tensor's name, whatever the tolerances.

The file is one V2 request and its answer:

    {"inputs":  [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}],
     "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2, 4]}],
     "absolute": 1e-5, "relative": 1e-3}

All inputs are given; of the outputs, those that are named are compared. Numbers agree
when they differ by at most `absolute` + `relative` times the expected one; the defaults
forgive another order of additions on another machine. Whole numbers, truth values and
strings agree when they are equal. As in Python, data may hold NaN and Infinity.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from gateway.core.datatypes import DATATYPES
from gateway.repository.reading import read
from gateway.repository.reasons import brief
from gateway.types import Array, Shape, Signature, TensorSpec

GOLDEN = "golden.json"
_MOST_BYTES = 64 << 20
_ABSOLUTE = 1e-5
_RELATIVE = 1e-3
_TENSOR_KEYS = {"name", "datatype", "shape", "data"}
_FLOATS = ("FP16", "BF16", "FP32", "FP64")


class NotGolden(ValueError):
    """The sample cannot be read, or the model does not give it; the message says where."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file, whose data fit its shape and its datatype."""

    name: str
    datatype: str
    shape: Shape
    array: Array


@dataclass(frozen=True, slots=True)
class Golden:
    """A request, the answer that is expected, and how far from it is near enough."""

    file: Path
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    absolute: float = _ABSOLUTE
    relative: float = _RELATIVE


def read_golden(folder: Path) -> Golden | None:
    """Return the sample of the version in `folder`, None where it has none.

    Raises: NotGolden, OSError.
    """
    file = folder / GOLDEN
    try:
        content = read(file, _MOST_BYTES)
    except FileNotFoundError:
        return None
    if content is None:
        raise NotGolden(f"{file}: is larger than {_MOST_BYTES} bytes")
    try:
        return _golden(file, _document(content))
    except NotGolden as error:
        raise NotGolden(f"{file}: {error}") from error.__cause__
    except RecursionError as error:
        raise NotGolden(f"{file}: is nested too deep") from error


def _document(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError as error:
        raise NotGolden(f"is not JSON: {error}") from error


def arguments(golden: Golden, signature: Signature, most_rows: int) -> list[Array]:
    """Return the sample's inputs in the order of `signature`.

    Raises: NotGolden where they, or the expected outputs, are not the model's.
    """
    _refuse_others(golden, "inputs", golden.inputs, signature.inputs)
    _refuse_others(golden, "outputs", golden.outputs, signature.outputs)
    rows = {tensor.shape[:1] for tensor in golden.inputs.values()}
    if signature.max_batch_rows and len(rows) > 1:
        raise NotGolden(f"{golden.file}: $.inputs: expected tensors of equally many rows")
    for spec in signature.inputs:
        if spec.name not in golden.inputs:
            raise NotGolden(f"{golden.file}: $.inputs: expected '{spec.name}', got no such tensor")
        count = golden.inputs[spec.name].shape[0] if signature.max_batch_rows else 1
        if not 1 <= count <= max(most_rows, 1):
            raise NotGolden(
                f"{golden.file}: input '{spec.name}': expected 1 to {most_rows} rows, got {count}"
            )
    return [golden.inputs[spec.name].array for spec in signature.inputs]


def compare(golden: Golden, signature: Signature, given: Sequence[Array]) -> None:
    """Compare what the model gave with what the sample expects.

    Raises: NotGolden with the tensor, the place, what was expected and what came.
    """
    by_name = {spec.name: array for spec, array in zip(signature.outputs, given, strict=True)}
    for tensor in golden.outputs.values():
        fault = _difference(golden, tensor, by_name[tensor.name])
        if fault:
            raise NotGolden(f"{golden.file}: output '{tensor.name}'{fault}")


def _difference(golden: Golden, tensor: Tensor, got: Array) -> str | None:
    expected = tensor.array
    if got.shape != expected.shape:
        return f": expected shape {list(expected.shape)}, got {list(got.shape)}"
    near = ""
    if tensor.datatype in _FLOATS:
        expected, got = _as_doubles(tensor.datatype, expected), _as_doubles(tensor.datatype, got)
        agrees = _agree(expected, got, golden.absolute, golden.relative)
        near = f" within {golden.absolute:g} + {golden.relative:g} of it"
    else:
        agrees = np.asarray(expected == got)
    if agrees.all():
        return None
    place = tuple(int(axis) for axis in np.argwhere(~agrees)[0])
    wanted, came = expected[place], got[place]
    if near and math.isfinite(wanted) and not math.isfinite(came):
        near = ", a finite number"
    where = f"{list(place)}" if place else ""
    return f"{where}: expected {_shown(wanted)}{near}, got {_shown(came)}"


def _agree(expected: Array, got: Array, absolute: float, relative: float) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(got - expected) <= absolute + relative * np.abs(expected)
    finite = np.isfinite(expected) & np.isfinite(got)
    same = (expected == got) | (np.isnan(expected) & np.isnan(got))
    return np.asarray((finite & near) | same)


def _as_doubles(datatype: str, array: Array) -> Array:
    if datatype == "BF16":
        array = (array.astype("<u4") << 16).view("<f4")
    return array.astype("<f8")


def _shown(value: object) -> str:
    return brief(ascii(value.item() if isinstance(value, np.generic) else value))


def _refuse_others(
    golden: Golden, key: str, tensors: Mapping[str, Tensor], specs: Sequence[TensorSpec]
) -> None:
    """Refuse tensors that the model does not have, or has otherwise."""
    known = {spec.name: spec for spec in specs}
    for tensor in tensors.values():
        where = f"{golden.file}: ${'.' + key}: '{brief(tensor.name)}'"
        spec = known.get(tensor.name)
        if spec is None:
            names = ", ".join(f"'{name}'" for name in known)
            raise NotGolden(f"{where}: the model has {names}")
        fits = len(spec.shape) == len(tensor.shape) and all(
            axis in (-1, size) for axis, size in zip(spec.shape, tensor.shape, strict=True)
        )
        if not fits or spec.datatype != tensor.datatype:
            raise NotGolden(
                f"{where}: expected {spec.datatype} {list(spec.shape)}, "
                f"got {tensor.datatype} {list(tensor.shape)}"
            )


def _golden(file: Path, document: object) -> Golden:
    table = _table("$", document, {"inputs", "outputs", "absolute", "relative"})
    inputs, outputs = _tensors(table, "inputs"), _tensors(table, "outputs")
    if not outputs:
        raise NotGolden("$.outputs: expected at least one tensor, got none")
    absolute = _tolerance(table, "absolute", _ABSOLUTE)
    return Golden(file, inputs, outputs, absolute, _tolerance(table, "relative", _RELATIVE))


def _table(where: str, value: object, keys: set[str]) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise NotGolden(f"{where}: expected an object, got {_kind(value)}")
    for key in value.keys() - keys:
        known = ", ".join(sorted(keys))
        raise NotGolden(f"{where}: unknown key {brief(ascii(key))}: expected {known}")
    return cast("Mapping[str, object]", value)


def _tolerance(table: Mapping[str, object], key: str, default: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise NotGolden(f"$.{key}: expected a finite number, at least 0, got {_kind(value)}")
    return float(value)


def _tensors(table: Mapping[str, object], key: str) -> Mapping[str, Tensor]:
    listed = table.get(key)
    if not isinstance(listed, list):
        raise NotGolden(f"$.{key}: expected a list of tensors, got {_kind(listed)}")
    found: dict[str, Tensor] = {}
    for at, one in enumerate(listed):
        tensor = _tensor(f"$.{key}[{at}]", one)
        if tensor.name in found:
            raise NotGolden(f"$.{key}[{at}].name: '{brief(tensor.name)}' is there twice")
        found[tensor.name] = tensor
    return found


def _tensor(where: str, value: object) -> Tensor:
    table = _table(where, value, _TENSOR_KEYS)
    name, datatype, shape = table.get("name"), table.get("datatype"), table.get("shape")
    if not isinstance(name, str):
        raise NotGolden(f"{where}.name: expected a string, got {_kind(name)}")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise NotGolden(
            f"{where}.datatype: expected one of {', '.join(DATATYPES)}, "
            f"got {brief(ascii(datatype))}"
        )
    if not isinstance(shape, list) or not all(type(axis) is int and axis >= 0 for axis in shape):
        raise NotGolden(f"{where}.shape: expected a list of sizes, got {_kind(shape)}")
    values = list(_flat(table.get("data")))
    if len(values) != math.prod(shape):
        raise NotGolden(
            f"{where}.data: expected {math.prod(shape)} values for {brief(shape)}, "
            f"got {len(values)}"
        )
    array = _array(f"{where}.data", datatype, values).reshape(shape)
    return Tensor(name, datatype, tuple(shape), array)


def _flat(data: object) -> Iterator[object]:
    if not isinstance(data, list):
        yield data
        return
    for one in data:
        yield from _flat(one)


def _array(where: str, datatype: str, values: Sequence[object]) -> Array:
    kinds: tuple[type, ...] = (int, float) if datatype in _FLOATS else (int,)
    if datatype in ("BOOL", "BYTES"):
        kinds = (bool,) if datatype == "BOOL" else (str,)
    for at, value in enumerate(values):
        # type(): True is an int, and no number here
        if type(value) not in kinds:
            got = brief(ascii(value))
            raise NotGolden(f"{where}: value {at}: expected {datatype}, got {got}")
    try:
        if datatype == "BF16":
            return _bfloat16(np.array(values, dtype="<f4"))
        with np.errstate(over="ignore"):
            return np.array(values, dtype=DATATYPES[datatype].numpy)
    except OverflowError as error:
        raise NotGolden(f"{where}: expected {datatype}: {error}") from error


def _bfloat16(values: Array) -> Array:
    """Round to the nearest bfloat16, ties to even; return its bits."""
    bits = values.view("<u4")
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype("<u2")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "nothing"}
    return names.get(type(value)) or brief(ascii(value))
