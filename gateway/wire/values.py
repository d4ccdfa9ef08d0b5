"""Values: the `data` of an input, from JSON to bytes.

Job    prove that each element is what the datatype takes; pack them, row-major.
Never  changes a value in silence: out of range is refused, true is not 1, 1.0 is not 1.
"""

import struct
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from gateway.errors import InvalidTensor, Malformed
from gateway.types import Payload, Shape
from gateway.wire.jsontext import got
from gateway.wire.simd import Column
from gateway.wire.tensors import Tensor, shown

_CODES = {
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "FP32": "f", "FP64": "d",
}  # fmt: skip
_NUMBERS = frozenset({int, float})
_INTEGERS = frozenset({int})
_BOOLEANS = frozenset({bool})
_STRINGS = frozenset({str})
_LISTS = frozenset({list})
_CHUNK_ELEMENTS = 4096  # how many are packed at once when looking for the one at fault

_Values = Sequence[object]
_Pack = Callable[[_Values], Payload]


def pack(tensor: Tensor, values: object) -> Payload:
    """Return the elements of `tensor` that JSON gave as `values`.

    Raises: Malformed, InvalidTensor.
    """
    if tensor.kind.name in ("FP16", "BF16"):
        raise InvalidTensor(
            f"receiving {tensor.kind.name} data via JSON is not supported ({tensor.where}): "
            f"expected parameters.binary_data_size {tensor.whose}, got {got(values)}"
        )
    if isinstance(values, Column):
        packed = values.pack(tensor.kind, tensor.shape, tensor.has_batch)
        if packed is not None:
            return packed
        # Something is odd: it is judged, and named, here; but lengths first, which cost nothing.
        opened = values.values(tensor.shape, tensor.has_batch)
        if opened is None:
            raise _mismatch(tensor, values.amount)
        values = opened
    if not isinstance(values, list):
        raise Malformed(f"{tensor.where}: expected an array, got {got(values)}")
    flat, dims = _flatten(tensor, values)
    packer = _packer(tensor.kind.name)
    try:
        return packer(flat)
    except (ValueError, OverflowError, struct.error):
        raise _stranger(tensor, flat, dims, packer) from None


def _flatten(tensor: Tensor, values: list[object]) -> tuple[list[object], Shape]:
    """Return the elements in order, and the shape that they were nested by."""
    shape = tensor.shape
    if not values or not isinstance(values[0], list):
        if len(values) == tensor.elements:
            return values, (len(values),)
        raise _mismatch(tensor, f"{len(values)} of them")
    shapes = [shape, shape[1:]] if tensor.has_batch and shape[0] == 1 else [shape]
    for dims in shapes:
        flat = _unnest(values, dims)
        if flat is not None:
            return flat, dims
    raise _mismatch(tensor, "arrays nested otherwise")


def _unnest(values: list[object], dims: Shape) -> list[object] | None:
    """Return what is left when all levels but one are gone, None where a level differs."""
    if len(dims) < 2 or len(values) != dims[0]:
        return None
    level: list[object] = values
    for size in dims[1:]:
        if not _LISTS.issuperset(map(type, level)):
            return None
        rows: list[list[object]] = level  # type: ignore[assignment]  # proved just now
        if not {size}.issuperset(map(len, rows)):
            return None
        level = list(chain.from_iterable(rows))
    return level


def _mismatch(tensor: Tensor, what: str) -> InvalidTensor:
    return InvalidTensor(
        f"Shape does not match true shape of 'data' field ({tensor.where}): expected "
        f"{tensor.elements} elements, or arrays nested as {shown(tensor.shape)}, "
        f"{tensor.whose}, got {what}"
    )


def _packer(datatype: str) -> _Pack:
    if datatype == "BYTES":
        return _pack_strings
    if datatype == "BOOL":
        return _pack_booleans
    return _number_packer(_CODES[datatype])


def _number_packer(code: str) -> _Pack:
    allowed = _NUMBERS if code in "fd" else _INTEGERS

    def pack_numbers(flat: _Values) -> bytes:
        _check_kinds(flat, allowed)  # struct would take true for 1
        return struct.pack(f"<{len(flat)}{code}", *flat)

    return pack_numbers


def _pack_booleans(flat: _Values) -> bytes:
    _check_kinds(flat, _BOOLEANS)
    return bytes(flat)  # type: ignore[arg-type]  # booleans all


def _pack_strings(flat: _Values) -> list[str]:
    _check_kinds(flat, _STRINGS)
    return flat  # type: ignore[return-value]  # a list of strings


def _check_kinds(flat: _Values, allowed: frozenset[type]) -> None:
    if not allowed.issuperset(map(type, flat)):
        raise ValueError


def _stranger(tensor: Tensor, flat: _Values, dims: Shape, packer: _Pack) -> InvalidTensor:
    """Return the refusal of the first element that cannot be packed."""

    def fits(values: _Values) -> bool:
        try:
            packer(values)
        except (ValueError, OverflowError, struct.error):
            return False
        return True

    starts = range(0, len(flat), _CHUNK_ELEMENTS)
    start = next(at for at in starts if not fits(flat[at : at + _CHUNK_ELEMENTS]))
    at = next(at for at in range(start, len(flat)) if not fits(flat[at : at + 1]))
    return InvalidTensor(
        f"{tensor.where}{_indices(at, dims)}: expected {_expected(tensor)} {tensor.whose}, "
        f"got {got(flat[at])}"
    )


def _indices(at: int, dims: Shape) -> str:
    """Return where element `at` stands in arrays nested as `dims`: [0][5]."""
    text = ""
    for size in reversed(dims):
        at, index = divmod(at, size)
        text = f"[{index}]{text}"
    return text


def _expected(tensor: Tensor) -> str:
    datatype = tensor.kind.name
    if datatype == "BYTES":
        return "a string"
    if datatype == "BOOL":
        return "true or false"
    if datatype.startswith("FP"):
        return f"a number within the range of {datatype}"
    bounds = np.iinfo(tensor.kind.numpy.str)
    return f"an integer from {bounds.min} to {bounds.max}"
