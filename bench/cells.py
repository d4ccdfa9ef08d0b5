"""Cells: what became of the requests due in one slice of a course, and sums of them."""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from bench.courses import SLICE_S, Counts
from bench.ratios import percentile

ROUNDING_S = 1e-6  # more than is lost by adding seconds since the machine started, and back
BUCKET = 0.01  # of the natural logarithm of seconds
LEAST_S = 1e-9


class Cell:
    """One slice. Mutable state: all of it; the generator counts here, answer by answer."""

    __slots__ = ("answers", "latencies", "left", "offered", "unsent")

    def __init__(self) -> None:
        self.offered = 0
        self.unsent = 0
        self.left = 0
        self.answers = Counter[str]()  # what is no 200, by status, CUT or HUNG
        self.latencies = array("d")  # of each 200


def cells_of(phases_s: Sequence[float]) -> list[Cell]:
    """As many as the phases together need."""
    return [Cell() for _ in range(round(sum(phases_s) / SLICE_S))]


def cell_at(cells: Sequence[Cell], since_s: float) -> Cell:
    """The slice of a moment; one at a border belongs to the later, whatever was rounded off."""
    at = int((since_s + ROUNDING_S) / SLICE_S)
    return cells[min(max(at, 0), len(cells) - 1)]


def counts_of(cells: Sequence[Cell], deadline_s: float) -> Counts:
    """The sum of some cells. Units: the deadline counts from when a request was due."""
    took_s = np.concatenate([np.zeros(0), *(np.asarray(one.latencies) for one in cells)])
    answers = sum((one.answers for one in cells), Counter[str]())
    if took_s.size:
        answers["200"] = int(took_s.size)
    return Counts(
        sum(one.offered for one in cells),
        sum(one.unsent for one in cells),
        sum(one.left for one in cells),
        int((took_s <= deadline_s).sum()),
        dict(answers),
        percentile(took_s, 0.5),
        percentile(took_s, 0.99),
        percentile(took_s, 1.0),
        bucketed(took_s),
    )


def bucketed(took_s: NDArray[np.float64]) -> dict[int, int]:
    """How many took about how long; what a bucket holds differs by less than a hundredth."""
    exponents = np.floor(np.log(np.maximum(took_s, LEAST_S)) / BUCKET).astype(int)
    keys, counts = np.unique(exponents, return_counts=True)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))


def p99_s(slices: Iterable[Counts]) -> float:
    """The p99 of some slices together, as exact as buckets are; nan if nothing was answered."""
    together = sum((Counter(one.buckets) for one in slices), Counter[int]())
    missing = math.ceil(0.99 * together.total())
    for exponent in sorted(together):
        missing -= together[exponent]
        if missing <= 0:
            return math.exp((exponent + 0.5) * BUCKET)
    return math.nan


def by_phase(
    cells: Sequence[Cell], phases_s: Sequence[float], deadline_s: float
) -> tuple[Counts, ...]:
    """The sum of each phase."""
    bounds = [0, *(round(end_s / SLICE_S) for end_s in accumulate(phases_s))]
    return tuple(counts_of(cells[begin:end], deadline_s) for begin, end in pairwise(bounds))
