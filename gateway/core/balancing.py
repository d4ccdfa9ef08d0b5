"""Balancing: which endpoint gets the next batch.

Of two drawn by chance the one with less to do: nearly as even as looking at all of them, and
those who choose at the same time do not all choose the same.

Source: Mitzenmacher 2001, "The power of two choices in randomized load balancing".
"""

from collections.abc import Callable, Sequence


def choose(outstanding: Sequence[int], pick: Callable[[int], int]) -> int:
    """Return the place of the less loaded of two; of equals, the first that was drawn.

    `pick(n)` draws a whole number below n. Raises: ValueError where there is none to choose.
    """
    count = len(outstanding)
    if not count:
        raise ValueError("there is none to choose from")
    if count == 1:
        return 0
    one = pick(count)
    other = pick(count - 1)
    other += other >= one
    return other if outstanding[other] < outstanding[one] else one
