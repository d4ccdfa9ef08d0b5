"""Chances: how often a share may come up among so many draws.

Source: Clopper and Pearson's interval, for a known share.
"""

import math
from collections.abc import Sequence


def binomial(draws: int, share: float, level: float) -> tuple[int, int]:
    """Return the least and the most of `draws` that are chance, both included.

    Beyond them lies, on either side, at most half of what `level` leaves.
    """
    tail = (1 - level) / 2
    mean = draws * share
    reach = math.ceil(8 * math.sqrt(draws * share * (1 - share)) + 8)  # beyond it: below 1e-14
    low, high = max(0, int(mean) - reach), min(draws, int(mean) + reach)
    masses = [_mass(draws, share, count) for count in range(low, high + 1)]
    return low + _outside(masses, tail), high - _outside(masses[::-1], tail)


def _mass(draws: int, share: float, count: int) -> float:
    ways = math.lgamma(draws + 1) - math.lgamma(count + 1) - math.lgamma(draws - count + 1)
    return math.exp(ways + count * math.log(share) + (draws - count) * math.log1p(-share))


def _outside(masses: Sequence[float], tail: float) -> int:
    """Return how many of the first have no more than `tail` together."""
    total = 0.0
    for count, mass in enumerate(masses):
        total += mass
        if total > tail:
            return count
    return len(masses)
