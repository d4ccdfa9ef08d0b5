"""Quotas: may this caller ask now, and which part of a quota does each member give out?

Two questions, both answered by functions of their arguments.

May he ask? By the generic cell rate algorithm: all that is known of a caller is how many
requests he is ahead of one who keeps to the rate. Each request adds one, time takes away rate
a second, down to none; who would come to more than burst ahead has to wait. So in any window
of t seconds no more than burst + rate * t requests pass, and who never asks for more than that
is never refused. Source: ITU-T I.371, annex A, as the continuous-state leaky bucket. Its twin,
virtual scheduling, keeps the moment at which one who keeps to the rate would be as far: that is
a sum of many small terms and a large one, and loses microseconds in a burst.

Which part? A quota holds for a fleet, and each member gives out a part of it. A member's part
covers what it is asked for, as long as all together are asked for no more than there is, less
a reserve for those that nobody asks; what is left is spread evenly. Beyond that, parts are in
proportion to what members are asked for. So the parts settle wherever the load does, and a
member that is asked out of the blue gives out a little at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WHOLE = 1_000_000  # parts are in millionths, so that their sum is exact
_RESERVE = WHOLE // 20  # for all members together, however little they are asked
_GRAIN = 1e-3  # of a request: so little too early is in time, and no clock is finer


@dataclass(frozen=True, slots=True)
class Quota:
    """How much one caller may ask for. `burst` is how many requests may come at once."""

    rate_per_s: float
    burst: float

    def part(self, millionths: int) -> "Quota":
        """Return a member's part; one request at a time always passes."""
        ratio = max(1, millionths) / WHOLE
        return Quota(self.rate_per_s * ratio, max(1.0, self.burst * ratio))


def ahead(before: float, elapsed_s: float, quota: Quota) -> float:
    """Return how many requests a caller is ahead who was so many ahead, so long ago.

    When a part changes, who was ahead still is: nobody gets a request by it.
    """
    return max(0.0, before - elapsed_s * quota.rate_per_s)


def wait_s(ahead: float, quota: Quota) -> float:
    """Return how long one more request has to wait; where that is 0 it passes."""
    over = ahead + 1.0 - quota.burst
    return over / quota.rate_per_s if over > _GRAIN else 0.0


def apportion(demands: Sequence[int]) -> tuple[int, ...]:
    """Return each member's part of a quota, in millionths; together exactly the whole.

    `demands` are what members are asked for, in millionths of the rate.
    """
    if not demands:
        return ()
    asked = [max(0, demand) for demand in demands]
    total = max(WHOLE, sum(asked))
    least = _RESERVE // len(asked)
    wanted = [max(demand * WHOLE // total, least, 1) for demand in asked]
    whole = sum(wanted)
    if whole > WHOLE:
        wanted = [max(1, one * WHOLE // whole) for one in wanted]
    spare = WHOLE - sum(wanted)
    each, more = divmod(spare, len(wanted))
    return tuple(one + each + (at < more) for at, one in enumerate(wanted))


def blended(before: int, asked: int, elapsed_s: float, quota: Quota) -> int:
    """Return a member's demand, in millionths of the rate, of which half is new."""
    fresh = round(WHOLE * asked / (quota.rate_per_s * elapsed_s))
    return (before + fresh + 1) // 2
