"""Rotation: for how long one turn of the loop reads, and who is read after that.

Job    keep a turn short, however many connections have something to say.
Life   one for a port; it wakes only in turns that are long.
Never  makes anybody wait while turns are short.

Theory of operation. libuv asks the kernel for 1,024 events at a time, and where there are so
many it asks for more at once, up to 48 times, before timers and callbacks have their turn.
More connections than that which always have something to say would keep a turn up for
seconds: deadlines pass unseen, nobody is accepted, and our supervisor takes us for hung. So
once a turn is long, what comes is kept and its connection not read, until its turn: so many
in each turn of the loop as its quantum allows. A connection that is not read is no event
either, and the turn ends.

That a turn is long is noticed without a look at every turn: a mark is set for the end of the
turn, at most once a quantum, and whoever finds it still there a quantum later knows.

The first is read first. But where the first has waited for as long as only an overload makes
anybody wait, the newest is, since for it somebody still waits; and so that nobody waits for
ever, who has been there for a second comes before all.
Source: adaptive LIFO, "Fail at Scale" (ACM Queue 13.8).
"""

import asyncio
from collections import deque
from collections.abc import Callable

_QUANTUM_S = 0.05
_OVERLOAD_S = 0.1
_LONGEST_S = 1.0


class Rotation:
    """Mutable state: `is_long`, and who waits, the first first; `look_at`, before when nobody
    needs to look; whether there is a mark; in a long turn, `since` when what is read may have
    been there. Units: monotonic seconds.
    """

    __slots__ = ("_clock", "_is_marked", "_waiting", "is_long", "look_at", "since")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._is_marked = False
        self.is_long = False
        self.look_at = self.since = 0.0

    def look(self, now: float) -> None:
        """Hear from who reads what time it is, at `look_at` or later."""
        if self._is_marked:
            self.is_long = True
        else:
            self._mark(now)
        self.look_at = now + _QUANTUM_S

    def wait(self, read: Callable[[], None]) -> None:
        """Have `read` called in its turn; only while a turn is long."""
        self._waiting.append((self._clock(), read))

    def _mark(self, since: float) -> None:
        self._is_marked, self.since = True, since
        asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        """Read those who wait, for as long as a turn may last; the others after the next one."""
        now = began = self._clock()
        self.look_at = ends_at = now + _QUANTUM_S
        try:
            while self._waiting and now < ends_at:
                self._next(now)()
                now = self._clock()
        finally:  # one mark at a time: who is read just now looks, too
            self._is_marked = False
            self.is_long = bool(self._waiting)
            if self.is_long:
                self._mark(began)

    def _next(self, now: float) -> Callable[[], None]:
        waiting = self._waiting
        is_overload = _OVERLOAD_S <= now - waiting[0][0] < _LONGEST_S
        _, read = waiting.pop() if is_overload else waiting.popleft()
        return read
