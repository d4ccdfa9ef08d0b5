"""Comparing: whether a shadow said what the caller got.

Job    judge two outputs of the same rows, all rows at once; keep the worst few.
Life   pure functions, and `Worst`, which whoever keeps it owns.
Never  raises for what a model gave: outputs that cannot be compared disagree.

Axis 0 is rows; an array without any axis is one row. Where a row has several axes, the last
one holds the classes of `top_k` and of `distribution`, and the worst of the others counts.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gateway.core.datatypes import DATATYPES
from gateway.core.documents import Comparison
from gateway.types import Array, TensorSpec

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
T = TypeVar("T")

_LABEL, _NUMERIC = Comparison("label"), Comparison("numeric")


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """How far apart two outputs are. Shapes: both one a row; no distance is NaN or negative."""

    distances: Doubles
    disagrees: Flags


def default_comparison(spec: TensorSpec) -> Comparison:
    """Compare floats as numbers, and all else as labels."""
    is_float = spec.datatype == "BF16" or DATATYPES[spec.datatype].numpy.kind == "f"
    return _NUMERIC if is_float else _LABEL


def readable(array: Array, datatype: str) -> Array:
    """Return what an output says: numpy has no bfloat16, so its bits travel as uint16."""
    if datatype != "BF16":
        return array
    return (array.astype(np.uint32) << 16).view(np.float32)


def compare(comparison: Comparison, primary: Array, shadow: Array) -> Verdict:
    """Say of each row how far the shadow is from the primary, and whether that is too far.

    label: the distance is the share of a row's elements that differ. numeric: the largest
    |a - b| / (atol + rtol * |a|) of a row. top_k: 1 less the Jaccard index of the two sets of
    classes, of equal scores the first ones, NaN last. distribution: half the sum of |a - b|;
    nothing is normalised, for a version whose scores no longer add up to 1, or fall below 0,
    has changed what callers get.

    NaN is equal to NaN, and infinity to itself. Outputs of different shapes disagree in every
    row, infinitely. Strings are labels, whatever the comparison says. Integers beyond 2**53 are
    as near as doubles are, but as labels.
    """
    if primary.shape != shadow.shape:
        rows = len(primary) if primary.ndim else 1
        return Verdict(np.full(rows, math.inf), np.ones(rows, dtype=bool))
    if comparison.kind == "label" or primary.dtype.kind == "O" or shadow.dtype.kind == "O":
        return _labels(_flat(primary), _flat(shadow))
    # What overflows is infinitely far apart, and what is not a number is looked at below.
    with np.errstate(all="ignore"):
        if comparison.kind == "numeric":
            return _numbers(comparison, _doubles(_flat(primary)), _doubles(_flat(shadow)))
        mine, other = _doubles(_deep(primary)), _doubles(_deep(shadow))
        if comparison.kind == "top_k":
            return _top(comparison.k, mine, other)
        return _settled(_apart(mine, other).sum(axis=2) / 2, comparison.atol)


def _flat(array: Array) -> Array:
    """Shapes: (rows, elements)."""
    if array.ndim == 2:
        return array
    rows = len(array) if array.ndim else 1
    return array.reshape(rows, math.prod(array.shape[1:]))


def _deep(array: Array) -> Array:
    """Shapes: (rows, positions, classes)."""
    rows = len(array) if array.ndim else 1
    classes = array.shape[-1] if array.ndim > 1 else 1
    return array.reshape(rows, math.prod(array.shape[1:-1]), classes)


def _doubles(array: Array) -> Doubles:
    return array.astype(np.float64)


def _is_same(primary: Array, shadow: Array) -> Flags:
    same: Flags = primary == shadow
    if not same.all():  # NaN differs from itself
        same |= (primary != primary) & (shadow != shadow)  # noqa: PLR0124 - it is NaN's mark
    return same


def _labels(primary: Array, shadow: Array) -> Verdict:
    differ: NDArray[np.int64] = (~_is_same(primary, shadow)).sum(axis=1)
    return Verdict(differ / max(1, primary.shape[1]), differ > 0)


def _apart(primary: Doubles, shadow: Doubles) -> Doubles:
    """Return |a - b|: 0 where both are the same, infinite where only one is a number."""
    apart = np.abs(primary - shadow)
    if not np.isfinite(apart).all():
        apart[np.isnan(apart)] = math.inf
        apart[_is_same(primary, shadow)] = 0.0
    return apart


def _numbers(comparison: Comparison, primary: Doubles, shadow: Doubles) -> Verdict:
    apart = _apart(primary, shadow)
    allowed = np.abs(primary)
    allowed *= comparison.rtol
    allowed += comparison.atol
    agrees: Flags = apart <= allowed
    ratios = apart / allowed
    if not (agrees & np.isfinite(ratios)).all():
        # Cases: both the same, which is 0 / 0, and infinity or NaN against a number: no
        # tolerance makes these equal, not even one in proportion to infinity.
        agrees &= np.isfinite(apart)
        ratios[apart == 0.0] = 0.0
        agrees[apart == 0.0] = True
        ratios[np.isinf(apart)] = math.inf
    differ: NDArray[np.int64] = (~agrees).sum(axis=1)
    return Verdict(ratios.max(axis=1, initial=0.0), differ > 0)


def _top(k: int, primary: Doubles, shadow: Doubles) -> Verdict:
    if primary.shape[-1] <= k:
        return _settled(np.zeros(primary.shape[:2]), 0.0)
    shared = np.count_nonzero(_best(k, primary) & _best(k, shadow), axis=2)
    return _settled(1.0 - shared / (2 * k - shared), 0.0)


def _best(k: int, scores: Doubles) -> Flags:
    """Mark the k best classes of each position."""
    ranked = np.where(np.isnan(scores), -math.inf, scores)
    best = (
        ranked.argmax(axis=2, keepdims=True)
        if k == 1
        else np.argsort(-ranked, axis=2, kind="stable")[:, :, :k]
    )
    marks = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(marks, best, values=True, axis=2)
    return marks


def _settled(distances: Doubles, tolerance: float) -> Verdict:
    """Let the worst position of a row speak for it. Shapes: `distances` (rows, positions)."""
    worst = distances.max(axis=1, initial=0.0)
    return Verdict(worst, worst > tolerance)


class Worst(Generic[T]):
    """Of all that was added, those with the largest distances; of equal ones the first.

    Mutable state: the kept, worst first.
    """

    __slots__ = ("_distances", "_items", "_limit")

    def __init__(self, limit: int = 5) -> None:
        self._limit = limit
        self._distances: list[float] = []  # negated, so that they ascend
        self._items: list[T] = []

    def has_room(self, distance: float) -> bool:
        """Say whether something this far off would be kept."""
        return len(self._items) < self._limit or distance > -self._distances[-1]

    def add(self, distance: float, item: T) -> bool:
        """Keep `item` if it is among the worst; say whether it was kept."""
        if not self.has_room(distance):
            return False
        at = bisect_right(self._distances, -distance)
        self._distances.insert(at, -distance)
        self._items.insert(at, item)
        del self._distances[self._limit :], self._items[self._limit :]
        return True

    def kept(self) -> tuple[tuple[float, T], ...]:
        """Return what is kept with its distance, worst first."""
        return tuple(
            (-negated, item) for negated, item in zip(self._distances, self._items, strict=True)
        )
