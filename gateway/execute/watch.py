"""Watch: whoever stands over a process while it runs a batch.

Job    have it killed when nobody waits any more, or when it does not go on.
Life   one for each instance; it watches one batch at a time.
Never  sets a timer for each batch: the one that stands rings early, and finds out what is due.

Two moments end a batch. When it has taken so long that it is looked at (core/stalls.py), unless
the look says that it is only starved. And `grace_s` after the last deadline of its calls, but not
as long as it may yet end by itself: under overload many a batch ends a little too late, and a
process takes longer to replace.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from gateway.core.costs import Cost
from gateway.core.stalls import Look, Policy, enough_s, is_stalled
from gateway.core.suspects import Loss
from gateway.types import Call


@dataclass(slots=True)
class _Watched:
    """A batch that runs. Units: monotonic seconds."""

    started: float
    kill_at: float
    look_at: float
    after_s: float
    began: Look
    before: Look


class Watch:
    """Mutable state: the batch that runs, the timer and when it rings, and the longest batch
    that ended well.
    """

    __slots__ = (
        "_clock", "_cost", "_kill", "_longest_s", "_look", "_policy", "_rings_at", "_threads",
        "_timer", "_watched",
    )  # fmt: skip

    def __init__(
        self,
        cost: Cost,
        policy: Policy,
        threads: int,
        look: Callable[[], Look | None],
        kill: Callable[[Loss], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`look` says how the process is, None where nobody knows; `threads` of it compute."""
        self._cost, self._policy, self._threads = cost, policy, threads
        self._look, self._kill, self._clock = look, kill, clock
        self._watched: _Watched | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = inf
        self._longest_s = 0.0

    def begin(self, calls: Sequence[Call], rows: int, cpu_s: float, is_patient: bool) -> None:
        """Watch a batch that starts now, in a process that has computed for `cpu_s`.

        `is_patient`: for as long as anybody waits for it.
        """
        now = self._clock()
        policy = self._policy
        most_s = enough_s(self._cost, rows, self._longest_s, policy)
        after_s = policy.suspect_after_s or most_s
        kill_at = max([call.deadline for call in calls]) + policy.grace_s
        if is_patient:
            look_at = inf
        else:
            look_at, kill_at = now + after_s, max(kill_at, now + most_s)
        began = Look("R", cpu_s)
        self._watched = _Watched(now, kill_at, look_at, after_s, began, began)
        due = min(kill_at, look_at)
        if due < self._rings_at:
            self._ring_at(due, now)

    def end(self, is_well: bool) -> None:
        """Watch it no more; one that went well says how long they may take."""
        watched, self._watched = self._watched, None
        if is_well and watched is not None:
            self._longest_s = max(self._longest_s, self._clock() - watched.started)

    def close(self) -> None:
        """Ring no more."""
        self._watched, self._rings_at = None, inf
        if self._timer is not None:
            self._timer.cancel()

    def _ring_at(self, due: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self._ring)

    def _ring(self) -> None:
        """Have the process killed if its batch is due; else come back when it is."""
        self._timer, self._rings_at = None, inf
        watched, now = self._watched, self._clock()
        if watched is None:
            return
        if now >= watched.kill_at:
            self._kill("late")
        elif now >= watched.look_at and self._has_stalled(watched):
            self._kill("stalled")
        else:
            if now >= watched.look_at:
                watched.look_at = now + watched.after_s
            self._ring_at(min(watched.kill_at, watched.look_at), now)

    def _has_stalled(self, watched: _Watched) -> bool:
        look, most_s = self._look(), watched.after_s * self._threads
        if look is None or is_stalled(watched.began, watched.before, look, most_s):
            return True
        watched.before = look
        return False
