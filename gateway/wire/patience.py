"""Patience: how long a connection may stay as it is.

Job    end what takes too long: an idle connection, a slow head or body, a client that
       does not read its answers, one that is only listened to after a refusal.
Never  is armed for work: an answer moves `quiet_since` on, and the timer, when it
       fires, works out what it should have been armed for. So a busy connection costs
       one timer in `keep_alive_s`, not one a request.
"""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from gateway.wire.port import Policy
from gateway.wire.reader import Stage

_REST_S = 1.0  # an old connection that rests so long is closed without a word


class Verdict(Enum):
    """What becomes of a connection that took too long."""

    ABORT = auto()  # nobody reads: an answer would be lost
    LATE = auto()  # a request did not arrive in time
    CLOSE = auto()  # it is idle, or old


class Patience:
    """Says `Verdict` once, when the connection has been as it is for too long.

    `began` is the unfinished head or body and when it began; `stalled_since` when the
    client stopped reading; `lingers` that it was refused and is only listened to.
    Units: monotonic seconds.
    """

    __slots__ = (
        "_clock", "_due", "_is_busy", "_loop", "_policy", "_tell", "_timer",
        "began", "lingers", "quiet_since", "retire_at", "stalled_since",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        is_busy: Callable[[], bool],
        tell: Callable[[Verdict], None],
    ) -> None:
        self._policy = policy
        self._loop = loop
        self._clock = clock
        self._is_busy = is_busy
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.quiet_since = 0.0
        self.retire_at = 0.0
        self.began: tuple[Stage, float] | None = None
        self.stalled_since: float | None = None
        self.lingers = False

    def begin(self, stage: Stage) -> bool:
        """Start the time that a head or a body has, once; say whether it was started."""
        if self.began is not None and self.began[0] is stage:
            return False
        self.began = stage, self._clock()
        self.look_ahead()
        return True

    def look_ahead(self) -> None:
        """Make sure that the timer fires no later than the connection now requires."""
        due = self._deadline()
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._fire)

    def linger(self) -> None:
        """Start the client's last seconds."""
        self.lingers, self.quiet_since = True, self._clock()
        self.look_ahead()

    def cancel(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def allowance_s(self, stage: Stage) -> float:
        """Return the seconds that a head or a body has to arrive."""
        policy = self._policy
        return policy.body_timeout_s if stage is Stage.BODY else policy.header_timeout_s

    def _fire(self) -> None:
        self._timer = None
        if self._deadline() > self._clock():
            self.look_ahead()
        elif self.stalled_since is not None or self.lingers:
            self._tell(Verdict.ABORT)
        else:
            self._tell(Verdict.CLOSE if self.began is None else Verdict.LATE)

    def _deadline(self) -> float:
        policy = self._policy
        if self.stalled_since is not None:
            return self.stalled_since + policy.write_timeout_s
        if self._is_busy():  # look again, but not much later than what began meanwhile ends
            began = self.began
            return self._clock() + (self.allowance_s(began[0]) if began else policy.keep_alive_s)
        if self.lingers:
            return self.quiet_since + policy.linger_s
        if self.began is not None:
            return self.began[1] + self.allowance_s(self.began[0])
        # A client that asked a moment ago may be about to ask again, and a request that
        # crosses our end is lost: such a client hears of it with its next answer.
        retire_at = max(self.retire_at, self.quiet_since + _REST_S)
        return min(self.quiet_since + policy.keep_alive_s, retire_at)
