"""Simd: large JSON bodies, whose numbers never become Python objects.

Job    open a body by simdjson, and pack its arrays of numbers straight into bytes.
Never  decides against a request: whatever is odd is read, and judged, by the others.

Law. What this way in accepts, the way by orjson accepts with the same values. So it
steps aside (None) for duplicate keys, of which simdjson finds the first and not the last;
for integers beyond 64 bits, tokens and faults, which it refuses; and for odd nesting.

Nesting. simdjson's `as_buffer` flattens whatever nesting it meets: [[1,2],[]] is as good
to it as [1,2]. The lengths of all arrays but the innermost are looked at; that no further
array hides inside those, one count proves. A body whose arrays are `inputs`, `outputs`, a
`shape` and a regular `data` for each input has so many "[" and no more. One more, be it
in a string or in an unknown member, and the body is read element by element instead.

Life. One parser a body: its arrays point into it, so it cannot be used again while they
live. A new one costs 0.1 us.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from gateway.core.datatypes import Datatype
from gateway.types import Array, Payload, Shape
from gateway.wire.jsontext import check_depth, count

try:
    import simdjson
except ImportError:  # pragma: no cover - there are Pythons without a wheel; orjson serves
    IS_INSTALLED = False
else:
    IS_INSTALLED = True

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # simdjson skips it, orjson refuses it
_MOST_COUNTED = 0xFFFFFF  # simdjson gives this as the length of all longer arrays
_TOP = ("id", "parameters", "outputs")
_MEMBERS = ("name", "datatype", "shape", "parameters")


@dataclass(slots=True)
class Column:
    """The `data` of one input, an array still in the parser's memory.

    Shapes: `levels` of arrays in arrays, by the first element of each. `is_counted` says
    that the body has just as many arrays as regular nests need.
    """

    array: "simdjson.Array"
    levels: int
    is_counted: bool = False

    def values(self, shape: Shape, has_batch: bool) -> list[object] | None:
        """Return the elements, nested as they came; None if no such shape has such lengths.

        Where an element should be, an array or an object is an empty one: it is a fault
        anyhow, and it may be large.
        """
        if self.levels == 1:
            return _opened(self.array, 1) if _is_long(self.array, math.prod(shape)) else None
        shapes = [shape, shape[1:]] if has_batch and shape[0] == 1 else [shape]
        for dims in shapes:
            if len(dims) > 1 and _is_nested(self.array, dims):
                return _opened(self.array, len(dims))
        return None

    @property
    def amount(self) -> str:
        """What a message says of the length."""
        if self.levels > 1:
            return "arrays nested otherwise"
        length = len(self.array)
        return f"{length} of them" if length < _MOST_COUNTED else f"at least {length} of them"

    def pack(self, kind: Datatype, shape: Shape, has_batch: bool) -> Payload | None:
        """Return the elements as bytes, or None if any of it is not as it should be."""
        reader = _READERS.get(kind.name)
        dims = self.dims(shape, has_batch)
        if reader is None or dims is None or not self.is_counted:
            return None
        if not _is_nested(self.array, dims):
            return None
        try:
            buffer = self.array.as_buffer(of_type=reader.of_type)
        except (TypeError, ValueError):  # an element of another kind, or out of range
            return None
        numbers = np.frombuffer(buffer, reader.numpy)
        return reader.narrow(numbers, kind) if len(numbers) == math.prod(shape) else None

    def dims(self, shape: Shape, has_batch: bool) -> Shape | None:
        """Return the lengths of the levels if `shape` may be nested so deep."""
        if self.levels == 1:
            return (math.prod(shape),)
        missing = len(shape) - self.levels
        if missing == 0 or (missing == 1 and has_batch and shape[0] == 1):
            return shape[missing:]
        return None

    def arrays(self, shape: Shape) -> int:
        """Return how many arrays a regular nest has; 0 if it cannot be one."""
        dims = self.dims(shape, has_batch=True)
        return 0 if dims is None else sum(math.prod(dims[:level]) for level in range(self.levels))


def read(text: bytes | bytearray, max_tensors: int, max_depth: int) -> dict[str, object] | None:
    """Return the known members of a request, each `data` array as a Column, or None.

    Raises: Malformed, for a text nested too deep.
    """
    if not IS_INSTALLED or text.startswith(_BYTE_ORDER_MARK):
        return None
    try:
        document = simdjson.Parser().parse(text)
        if not isinstance(document, simdjson.Object):
            return None
        request = _members(document, _TOP)
        inputs = document["inputs"]
        if not isinstance(inputs, simdjson.Array) or len(inputs) > max_tensors:
            return None
        request["inputs"] = opened = [_input(member) for member in inputs]
    except (KeyError, ValueError, RuntimeError):
        return None
    if not _count_arrays(text, request, opened, max_depth):
        check_depth(text, max_depth)
    return request


def _members(item: "simdjson.Object", names: tuple[str, ...]) -> dict[str, object]:
    """Return the members of these names. Raises: ValueError, if any key comes twice."""
    keys = list(item)
    known = set(keys)
    if len(known) != len(keys):
        raise ValueError("duplicate keys")
    return {name: _value(item[name]) for name in names if name in known}


def _value(value: object) -> object:
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value.as_list() if isinstance(value, simdjson.Array) else value


def _input(member: object) -> dict[str, object]:
    if not isinstance(member, simdjson.Object):
        raise ValueError("not an object")  # noqa: TRY004 - `read` hears one kind
    found = _members(member, _MEMBERS)
    if "data" in member:
        values = member["data"]
        if isinstance(values, simdjson.Array):
            found["data"] = Column(values, _levels(values))
        else:
            found["data"] = _value(values)
    return found


def _levels(array: "simdjson.Array") -> int:
    levels = 1
    while len(array) and isinstance(inner := array[0], simdjson.Array):
        array = inner
        levels += 1
    return levels


def _count_arrays(
    text: bytes | bytearray,
    request: dict[str, object],
    inputs: list[dict[str, object]],
    max_depth: int,
) -> bool:
    """Mark the columns of a body that has no array but those it needs.

    Return whether that also proves that it is nested no deeper than `max_depth`.
    """
    needed = 1 + isinstance(request.get("outputs"), list)
    columns: list[Column] = []
    deepest = 0
    for member in inputs:
        shape, column = member.get("shape"), member.get("data")
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            return False
        needed += 1
        deepest = max(deepest, len(shape))
        if isinstance(column, Column):
            needed += column.arrays(tuple(shape))
            columns.append(column)
    if count(text, b"[") != needed:
        return False
    for column in columns:
        column.is_counted = True
    return count(text, b"{") + deepest + 1 <= max_depth


def _is_long(array: Sequence[Any], size: int) -> bool:
    """Say whether an array has so many elements, as far as simdjson counts."""
    return len(array) == min(size, _MOST_COUNTED)


def _is_nested(array: Sequence[Any], dims: Shape) -> bool:
    """Say whether the arrays are as long as `dims`; elements are not looked at."""
    if not _is_long(array, dims[0]):
        return False
    if len(dims) == 1:
        return True
    rows = list(array)
    if not {simdjson.Array}.issuperset(map(type, rows)):
        return False
    if len(dims) == 2:
        return {min(dims[1], _MOST_COUNTED)}.issuperset(map(len, rows))
    return all(_is_nested(row, dims[1:]) for row in rows)


def _opened(array: Sequence[Any], levels: int) -> list[object]:
    """Return the arrays of so many levels as Python has them, and what they hold emptied."""
    items = list(array)
    if levels > 1:
        return [_opened(item, levels - 1) for item in items]
    if {simdjson.Array, simdjson.Object}.isdisjoint(map(type, items)):
        return items
    empty: dict[type, object] = {simdjson.Array: [], simdjson.Object: {}}
    return [empty.get(type(item), item) for item in items]


def _same(numbers: Array, _kind: Datatype) -> Payload:
    return numbers.view(np.uint8).data


def _narrow_floats(numbers: Array, kind: Datatype) -> Payload | None:
    with np.errstate(over="ignore"):
        narrow = numbers.astype(kind.numpy)
    # simdjson reads no infinity: one here was a number too large for the datatype.
    return narrow.tobytes() if np.isfinite(narrow).all() else None


def _narrow_integers(numbers: Array, kind: Datatype) -> Payload | None:
    bounds = np.iinfo(kind.numpy.str)
    if numbers.size and not bounds.min <= numbers.min() <= numbers.max() <= bounds.max:
        return None
    return numbers.astype(kind.numpy).tobytes()


class _Reader(NamedTuple):
    of_type: Literal["d", "i", "u"]  # as which 64-bit type simdjson gives the elements
    numpy: str
    narrow: Callable[[Array, Datatype], Payload | None]


_SIGNED = _Reader("i", "<i8", _narrow_integers)
_UNSIGNED = _Reader("u", "<u8", _narrow_integers)
_READERS = {
    "FP64": _Reader("d", "<f8", _same), "FP32": _Reader("d", "<f8", _narrow_floats),
    "INT64": _Reader("i", "<i8", _same), "UINT64": _Reader("u", "<u8", _same),
    "INT8": _SIGNED, "INT16": _SIGNED, "INT32": _SIGNED,
    "UINT8": _UNSIGNED, "UINT16": _UNSIGNED, "UINT32": _UNSIGNED,
}  # fmt: skip
