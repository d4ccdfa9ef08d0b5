"""Alarm: one timer for many deadlines.

Job    ring once at the earliest deadline it was told of, or soon after.
Never  is set anew for a later deadline: in the common case, where each call's deadline
       is later than the one before, telling it costs one comparison.
"""

import asyncio
import math
from collections.abc import Callable

_SPACING_S = 0.005  # many short deadlines share one ring
_MOST_BUSY_RATIO = 0.05  # of the time that may be spent on rings, when each takes long


class Alarm:
    """Rings at `due`; a component cancels it when it closes."""

    __slots__ = ("_clock", "_ring", "_spacing_s", "_timer", "due")

    def __init__(self, ring: Callable[[], None], clock: Callable[[], float]) -> None:
        self._ring = ring
        self._clock = clock
        self._spacing_s = _SPACING_S
        self._timer: asyncio.TimerHandle | None = None
        self.due = math.inf

    def set(self, deadline: float) -> None:
        """Ring at `deadline` if that is earlier than what it was set to."""
        if deadline >= self.due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.due = deadline
        delay_s = max(deadline - self._clock(), self._spacing_s)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._fire)

    def cancel(self) -> None:
        """Never ring."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _fire(self) -> None:
        self._timer, self.due = None, math.inf
        began = self._clock()
        self._ring()
        self._spacing_s = max(_SPACING_S, (self._clock() - began) / _MOST_BUSY_RATIO)
