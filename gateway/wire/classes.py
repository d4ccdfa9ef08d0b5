"""Classes: the classification extension, where an output becomes its best few classes.

Job    refuse outputs that have no classes; turn rows of scores into texts.
Life   pure functions, called for the rows of one call.
Never  changes which answers share a batch: a row's classes depend on that row alone.

A text is `value:index` or `value:index:label`, the largest value first; of equal values
the first index comes first, and what is no number comes last.
Source: Triton's classification extension; protocol P8 and P9.
"""

import math
from collections.abc import Sequence

import numpy as np

from gateway.errors import InvalidTensor
from gateway.types import Array, TensorSpec

_MOST_ELEMENTS = 1_000_000  # of one row
_UNORDERED = frozenset({"BYTES", "BOOL", "FP16", "BF16"})


def check_classes(spec: TensorSpec, classes: int, has_batch: bool, path: str) -> None:
    """Refuse classes of an output that cannot have them. Raises: InvalidTensor."""
    if spec.datatype in _UNORDERED:
        raise InvalidTensor(
            f"class result not available for output due to unsupported type '{spec.datatype}' "
            f"({path}.parameters.classification): expected no classes of output '{spec.name}', "
            f"got {classes}"
        )
    check_row(spec.name, math.prod(size for size in spec.shape[has_batch:] if size >= 0))


def check_row(name: str, elements: int) -> None:
    """Refuse a row that is too long to be sorted here. Raises: InvalidTensor."""
    if elements > _MOST_ELEMENTS:
        raise InvalidTensor(
            f"classification output tensor too large: expected at most {_MOST_ELEMENTS} elements "
            f"a row of output '{name}' ($.outputs), got {elements}"
        )


def classified(
    array: Array, classes: int, labels: Sequence[str], has_batch: bool, name: str
) -> Array:
    """Return the best `classes` of each row, as texts.

    Shapes: [rows, min(classes, n)], without a batch axis [min(classes, n)], where n are
    the elements of a row.
    Raises: InvalidTensor, where a dynamic axis made a row too long.
    """
    rows = array.reshape(len(array), -1) if has_batch else array.reshape(1, -1)
    check_row(name, rows.shape[1])
    count = min(classes, rows.shape[1])
    # Ascending in the keys is descending in the values: `~` has no overflow, as `-` would.
    keys = -rows if rows.dtype.kind == "f" else ~rows
    texts = np.empty((len(rows), count), dtype=object)
    for at, (row, ordered) in enumerate(zip(rows, keys, strict=True)):
        best = _first(ordered, count)
        is_float = row.dtype.kind == "f"
        for place, index in enumerate(best.tolist()):
            value = row[index].item()
            text = f"{value:f}:{index}" if is_float else f"{value}:{index}"
            texts[at, place] = f"{text}:{labels[index]}" if index < len(labels) else text
    return texts if has_batch else texts[0]


def _first(keys: Array, count: int) -> Array:
    """Return the places of the smallest `count` keys, ascending, the first of equals first."""
    if count < len(keys):
        # All that could be among them, in their order: those that are less than or as large
        # as the last that is. A NaN is neither.
        last = np.partition(keys, count - 1)[count - 1]
        able = np.flatnonzero(keys <= last) if last == last else np.arange(len(keys))  # noqa: PLR0124 - NaN
    else:
        able = np.arange(len(keys))
    order: Array = able[np.argsort(keys[able], kind="stable")][:count]
    return order
