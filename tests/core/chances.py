"""Chances: how far counts are from what chance gives; intervals stand in bench/chances.py."""

import math
from collections.abc import Sequence


def chi_square(counts: Sequence[int]) -> float:
    """Return how far counts are from being equal, as a standard normal deviate.

    Source: Wilson and Hilferty 1931, good to a per cent from ten cells on.
    """
    mean, freedom = sum(counts) / len(counts), len(counts) - 1
    square = sum((one - mean) ** 2 for one in counts) / mean
    spread = 2 / (9 * freedom)
    return float(((square / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))
