"""Pausing: how long those who were refused are not read, so that refusing does not take all
the time there is.

Theory of operation. Refusals run up a debt of time, which is paid off by a share of all time
that passes. As long as the debt is small there is none to speak of. Above that, whoever is
refused is read again when the debt will be paid: TCP tells a client that sends on, and one
that waits for its answer has it. Who is not refused waits for nobody.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """Units: seconds; `ratio` is of the loop's time, `weight` what a refusal costs as a
    multiple of what is seen of it: to read it, and to write the answer, is not.
    """

    ratio: float = 0.2
    free_s: float = 0.02  # a share of 100 ms
    longest_s: float = 1.0
    weight: float = 2.0


@dataclass(frozen=True, slots=True)
class Debt:
    """What refusals have taken and is not paid off, as of a moment. Units: seconds."""

    owed_s: float = 0.0
    at: float = 0.0

    def after(self, took_s: float, now: float, share: Share) -> "Debt":
        """Return the debt after one more refusal; it never exceeds what is paid in the longest
        pause, so that the end of a flood is soon the end of pauses.
        """
        paid_s = (now - self.at) * share.ratio
        owed_s = max(0.0, self.owed_s - paid_s) + took_s * share.weight
        most_s = share.free_s + share.longest_s * share.ratio
        return Debt(min(owed_s, most_s), now)

    def pause_s(self, now: float, share: Share) -> float:
        """Return how long whoever is refused now shall wait: 0 while the debt is small."""
        left_s = self.owed_s - (now - self.at) * share.ratio - share.free_s
        return max(0.0, left_s / share.ratio)
