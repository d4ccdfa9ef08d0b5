"""Retrying: whether what got no answer may be asked once more, and after which pause.

Theory of operation. Retries help where one endpoint fails, and do harm where all do: then
each of them is load for nothing. So they are paid from a budget, a tenth of what was asked in
the last ten seconds; and three besides in as long, or a version that is seldom asked could
never retry. In a total outage at most 11 requests are sent for 10, and these three.

A retry is paid when it is decided, before its pause: what waits its turn is not forgotten.

Source: the budgets of Envoy and Finagle, and Google's SRE book, chapter 21 (at most a tenth
of a client's traffic). We depart from Envoy in that its minimum is a number of retries at
once, which in an outage that fails fast would be any number of them a second.
"""

from dataclasses import dataclass, field, replace

from gateway.core.sliding import Sliding

RATIO = 0.1  # of the requests of the span
SPARE = 3  # retries of the span beyond these
_SPAN_S = 10.0
_BUCKETS = 10
_BASE_S, _CAP_S = 0.025, 0.25


@dataclass(frozen=True, slots=True)
class Budget:
    """What was asked, and of it what was asked again, in the span."""

    spent: Sliding = field(default_factory=lambda: Sliding.over(_SPAN_S, _BUCKETS))

    def asked(self, now: float) -> "Budget":
        """Return the budget after one more request: no retry, and no half of a failed batch."""
        return replace(self, spent=self.spent.plus(now, first=1))

    def retried(self, now: float) -> "Budget | None":
        """Return the budget after one more retry; None: it cannot pay for it."""
        requests, retries = self.spent.totals(now)
        if retries + 1 > RATIO * requests + SPARE:
            return None
        return replace(self, spent=self.spent.plus(now, second=1))


def backoff_s(attempt: int, roll: float) -> float:
    """Return the pause before a retry; `attempt` 0 is the first, `roll` lies in 0..1.

    Source: full jitter, so that those who failed together do not come back together.
    """
    return roll * min(_CAP_S, _BASE_S * 2.0**attempt)
