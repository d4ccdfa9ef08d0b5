"""Window: what came of the executions of the last seconds.

Job    count executions, failed and slow ones, and forget them when they are old.
Life   a ring of slots of one second; what is asked is the sum over all of them.
Never  grows, or takes longer the more it has counted.

The slot that is being filled is one of them: of ten slots the sum is that of the last nine to
ten seconds.
"""

from math import floor, inf


class Window:
    """Mutable state: the sums `calls`, `failures` and `slow`, the same by slot, which slot is
    being filled (`_at`) and when its second is over (`_ends`).
    """

    __slots__ = ("_at", "_calls", "_ends", "_failures", "_slots", "_slow", "calls", "failures",
                 "slow")  # fmt: skip

    def __init__(self, slots: int) -> None:
        """Units: a slot is one second."""
        self._slots = slots
        self.clear()

    def clear(self) -> None:
        """Know of nothing."""
        self._calls, self._failures, self._slow = ([0] * self._slots for _ in range(3))
        self._at = 0
        self._ends = -inf
        self.calls = self.failures = self.slow = 0

    def add(self, now: float, is_failure: bool, is_slow: bool) -> None:
        """Count one execution that has ended."""
        if now >= self._ends:
            self.turn(now)
        at = self._at
        self._calls[at] += 1
        self.calls += 1
        if is_failure:
            self._failures[at] += 1
            self.failures += 1
        if is_slow:
            self._slow[at] += 1
            self.slow += 1

    def turn(self, now: float) -> None:
        """Forget what is too old at `now`; time that goes back changes nothing."""
        passed_s = now - self._ends
        if passed_s < 0.0:
            return
        if passed_s >= self._slots - 1:
            self.clear()
        else:
            for _ in range(floor(passed_s) + 1):
                self._forget_next()
        self._ends = floor(now) + 1.0

    def _forget_next(self) -> None:
        self._at = at = (self._at + 1) % self._slots
        self.calls -= self._calls[at]
        self.failures -= self._failures[at]
        self.slow -= self._slow[at]
        self._calls[at] = self._failures[at] = self._slow[at] = 0
