"""The arithmetic of claims: exact percentiles, interleaved pairs, spreads, bars.

Never  measures anything: it is given numbers, or callables that make them.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing: the median to quote, and how far they lay apart."""

    median: float
    lowest: float
    highest: float
    count: int


@dataclass(frozen=True, slots=True)
class Bar:
    """What a claim must reach; exactly one of the two limits is set, and it is inclusive."""

    what: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def limit(self) -> str:
        """The bar as a reader sees it: `>= 0.5` or `<= 10`."""
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"

    def is_met_by(self, value: float) -> bool:
        """Whether `value` reaches the bar; a value that is not a number never does."""
        if math.isnan(value):
            return False
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judged bar: the median decides, the spread is printed beside it."""

    bar: Bar
    seen: Spread
    unit: str  # of the figures in `seen`; empty for a ratio
    note: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the median reaches the bar."""
        return self.bar.is_met_by(self.seen.median)


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that is reported and not judged: nobody has promised a value."""

    what: str
    seen: Spread
    unit: str  # of the figures in `seen`; empty for a ratio
    note: str = ""


Finding = Verdict | Figure


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one call of one function."""

    what: str
    call_s: Spread


def spread(values: Iterable[float]) -> Spread:
    """Median, lowest and highest of at least one value."""
    seen = list(values)
    return Spread(median(seen), min(seen), max(seen), len(seen))


def percentile(values: Sequence[float] | NDArray[np.float64], ratio: float) -> float:
    """The exact nearest-rank percentile: the smallest value that `ratio` of all do not exceed.

    Units: whatever the values have; `ratio` is 0..1. Not a number when there are no values.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if not ordered.size:
        return math.nan
    rank = math.ceil(ratio * ordered.size - 1e-9)  # 0.99 * 100 is not quite 99 in floats
    return float(ordered[min(max(rank, 1), ordered.size) - 1])


def interleave(first: Callable[[], T], second: Callable[[], T], pairs: int) -> list[tuple[T, T]]:
    """Measure A B A B ..., so that a machine that drifts drifts under both alike."""
    return [(first(), second()) for _ in range(pairs)]


def worst(values: Iterable[float]) -> Spread:
    """The same, for what must not happen once: the highest value decides."""
    seen = list(values)
    return Spread(max(seen), min(seen), max(seen), len(seen))


def ratio_spread(pairs: Sequence[tuple[T, T]], figure: Callable[[T], float]) -> Spread:
    """Spread of figure(first) / figure(second), taken pair by pair."""
    return spread(figure(one) / figure(other) for one, other in pairs)
