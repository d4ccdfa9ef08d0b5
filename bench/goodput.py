"""Goodput: what a course says of a server, as numbers.

Never  measures anything: it is given what the generator told.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from statistics import median

from bench.courses import SLICE_S, Counts
from bench.sampling import Sample

WINDOW_SLICES = 10  # that must be as before, one of them perhaps not: a second
GOOD_RATIO = 0.9  # of what is offered
P99_RATIO = 2.0  # of what it was in calm


def goodput(counts: Counts, duration_s: float) -> float:
    """Answers with 200 within their deadline, a second."""
    return counts.good / duration_s


def good_ratio(counts: Counts) -> float:
    """Of what was offered, the share that was answered with 200 within its deadline."""
    return counts.good / counts.offered if counts.offered else math.nan


def slices_of(slices: Sequence[Counts], phases_s: Sequence[float], phase: int) -> Sequence[Counts]:
    """The slices of one phase."""
    bounds = [0, *(round(end_s / SLICE_S) for end_s in accumulate(phases_s))]
    return slices[bounds[phase] : bounds[phase + 1]]


def recovery_s(after: Sequence[Counts], calm: Counts) -> float:
    """Seconds until the slices of a course are what they were in calm; infinite if never.

    As before is a second in which nine tenths of what is offered are good, and in all of its
    slices but one the p99 is at most twice that of the calm.
    """
    for at in range(len(after) - WINDOW_SLICES + 1):
        window = after[at : at + WINDOW_SLICES]
        good = sum(one.good for one in window)
        offered = sum(one.offered for one in window)
        slow = sum(one.p99_s > P99_RATIO * calm.p99_s for one in window)
        if offered and good >= GOOD_RATIO * offered and slow <= 1:
            return at * SLICE_S
    return math.inf


def growth(samples: Sequence[Sample], begin_s: float, end_s: float) -> float:
    """By how much the last quarter of a time exceeds its second, as a share of that.

    The first quarter is left out: what is filled once, buffers and pools, is no growth.
    """
    quarter_s = (end_s - begin_s) / 4
    second = [size for at, size in samples if quarter_s <= at - begin_s < 2 * quarter_s]
    last = [size for at, size in samples if 3 * quarter_s <= at - begin_s <= 4 * quarter_s]
    if not second or not last:
        return math.nan
    return median(last) / median(second) - 1


def lateness_s(counts: Counts, deadline_s: float) -> float:
    """How far behind its deadline the latest answer with 200 was; 0: none was late."""
    return max(0.0, counts.highest_s - deadline_s) if counts.accepted else 0.0


def said(answers: Sequence[Counts]) -> str:
    """What came, by status, most of it first: `200: 61 %, 429: 30 %, unsent 9 %`."""
    sums: dict[str, int] = {}
    for one in answers:
        for name, count in [*one.answers.items(), ("unsent", one.unsent), ("left", one.left)]:
            sums[name] = sums.get(name, 0) + count
    offered = max(1, sum(one.offered for one in answers))
    falling = sorted(sums.items(), key=lambda item: -item[1])
    return ", ".join(f"{name}: {count / offered:.2%}" for name, count in falling if count)
