"""Restarts: how long does a slot wait for its next replica?

Job    the delay before the next start, given when the last one was and when it ended.
Life   a small frozen value a slot.
Never  keeps a slot empty after a replica that served for a while: that one died of
       something else than its start.

    the first end starts the next at once; in a row, they wait 0.1, 0.2, 0.4 ... 5 s
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """How starts are spaced. Units: seconds."""

    first_s: float = 0.1
    ceiling_s: float = 5.0
    steady_s: float = 30.0  # who lived so long was no failed start


@dataclass(frozen=True, slots=True)
class Restarts:
    """What is remembered of a slot.

    `in_row` counts ends that came soon after a start; `started_at` is when the replica
    that lives now was due. Units: `started_at` is monotonic seconds.
    """

    in_row: int = 0
    started_at: float = -math.inf


def after_end(restarts: Restarts, now: float, policy: Policy = Policy()) -> tuple[Restarts, float]:
    """Return the state after an end at `now`, and the seconds until the next start."""
    in_row = 0 if now - restarts.started_at >= policy.steady_s else restarts.in_row + 1
    # Beyond some end in a row the exponent alone would overflow.
    delay_s = min(policy.first_s * 2.0 ** min(in_row - 1, 64), policy.ceiling_s) if in_row else 0.0
    return Restarts(in_row, now + delay_s), delay_s
