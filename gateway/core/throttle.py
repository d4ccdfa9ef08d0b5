"""Throttle: to send less to an endpoint that says it has no room.

    P(keep back) = max(0, (requests - K * accepts) / (requests + 1)),  K = 2

Theory of operation. As long as half of what is asked is accepted nothing is kept back; beyond
that as much is sent as twice what is accepted, so that the endpoint can say when it has room
again. What is kept back counts as asked and not accepted, so that demand stays known. A request
is counted when it is sent and taken for accepted until the endpoint refuses it: what is in
flight is seen, and an endpoint that is merely slow is not throttled. Never is more than nine
tenths kept back, and one a second always goes.

Only refusals for want of room count here; what fails is the breaker's business.

Source: Google's SRE book, chapter 21, "client-side throttling".
"""

import math
from dataclasses import dataclass, field, replace

from gateway.core.sliding import Sliding

_K = 2.0
_MOST = 0.9
_SPAN_S = 30.0
_BUCKETS = 10
_PASS_S = 1.0


@dataclass(frozen=True, slots=True)
class Throttle:
    """What one endpoint was asked, and of it what there was no room for.

    `passes_at` is when the next request goes whatever the dice say.
    """

    counts: Sliding = field(default_factory=lambda: Sliding.over(_SPAN_S, _BUCKETS))
    passes_at: float = -math.inf

    def ratio(self, now: float) -> float:
        """Return the share of requests that are kept back now."""
        requests, refusals = self.counts.totals(now)
        return refusal_ratio(requests, requests - refusals)

    def ask(self, now: float, roll: float) -> "tuple[Throttle, bool]":
        """Return the state after one more request, and whether it may be sent.

        `roll` lies in 0..1, without 1.
        """
        ratio = self.ratio(now)
        if not ratio:
            return replace(self, counts=self.counts.plus(now, first=1)), True
        if roll < ratio and now < self.passes_at:
            return replace(self, counts=self.counts.plus(now, 1, 1)), False
        return replace(self, counts=self.counts.plus(now, first=1), passes_at=now + _PASS_S), True

    def refused(self, now: float) -> "Throttle":
        """Return the state after the endpoint had no room for what was sent to it."""
        return replace(self, counts=self.counts.plus(now, second=1))


def refusal_ratio(requests: int, accepts: int) -> float:
    """Return P for so many requests, of which so many were accepted."""
    return min(_MOST, max(0.0, (requests - _K * max(accepts, 0)) / (requests + 1)))
