"""Chances: what counts may be called chance, exactly.

Source: Clopper and Pearson's interval, here for a known share: the counts outside which lies
no more than half of what is left of the probability, on either side.
"""

import math
from collections.abc import Sequence


def binomial(draws: int, share: float, level: float = 0.999) -> tuple[int, int]:
    """Return the least and the most of `draws` that are chance, both included."""
    tail = (1 - level) / 2
    mean = draws * share
    reach = math.ceil(8 * math.sqrt(draws * share * (1 - share)) + 8)  # beyond it: below 1e-14
    low, high = max(0, int(mean) - reach), min(draws, int(mean) + reach)
    masses = [_mass(draws, share, count) for count in range(low, high + 1)]
    return low + _skipped(masses, tail), high - _skipped(masses[::-1], tail)


def chi_square(counts: Sequence[int]) -> float:
    """Return how far counts are from being equal, as a standard normal deviate.

    Source: Wilson and Hilferty 1931, good to a per cent from ten cells on.
    """
    mean, freedom = sum(counts) / len(counts), len(counts) - 1
    square = sum((one - mean) ** 2 for one in counts) / mean
    spread = 2 / (9 * freedom)
    return float(((square / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))


def _mass(draws: int, share: float, count: int) -> float:
    ways = math.lgamma(draws + 1) - math.lgamma(count + 1) - math.lgamma(draws - count + 1)
    return math.exp(ways + count * math.log(share) + (draws - count) * math.log1p(-share))


def _skipped(masses: Sequence[float], tail: float) -> int:
    """Return how many of the outermost counts have no more than `tail` together."""
    total, skipped = 0.0, 0
    while total + masses[skipped] <= tail:
        total += masses[skipped]
        skipped += 1
    return skipped
