"""Patience: how long a connection may stay as it is.

Job    end what takes too long: an idle connection, a slow head or body, a client that
       does not read its answers, one that is only listened to after a refusal. Who
       reads slowly reads: it is left alone as long as there is less and less to send.
Never  is armed for work: an answer moves `quiet_since` on, and the timer, when it
       fires, works out what it should have been armed for. So a busy connection costs
       one timer in `keep_alive_s`, not one a request.
"""

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from gateway.wire.port import Drain, Policy
from gateway.wire.reader import Stage

_REST_S = 1.0  # an old connection that rests so long is closed without a word
_LOOKS = 4  # at a client that does not read, within the time that it has


class Verdict(Enum):
    """What becomes of a connection that took too long."""

    ABORT = auto()  # nobody reads: an answer would be lost
    LATE = auto()  # a request did not arrive in time
    CLOSE = auto()  # it is idle, or old


class Patience:
    """Says `Verdict` once, when the connection has been as it is for too long.

    `began` is the unfinished head or body and when it began; `stalled_since` when the
    client was last seen reading, if it reads too slowly or not at all; `lingers` that it
    was refused and is only listened to. `unsent` returns what it has not received.
    Units: monotonic seconds.
    """

    __slots__ = (
        "_clock", "_due", "_is_busy", "_look_at", "_loop", "_may_rest", "_policy", "_seen_bytes",
        "_tell", "_timer", "_unsent", "began", "lingers", "quiet_since", "retire_at",
        "stalled_since",
    )  # fmt: skip

    def __init__(
        self,
        policy: Policy,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        is_busy: Callable[[], bool],
        unsent: Callable[[], int],
        tell: Callable[[Verdict], None],
    ) -> None:
        self._policy = policy
        self._loop = loop
        self._clock = clock
        self._is_busy = is_busy
        self._unsent = unsent
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._look_at = 0.0  # the next look at a client that does not read
        self._seen_bytes = 0  # unsent at the last one
        self._may_rest = False  # an old one that asks nothing is left alone
        self.quiet_since = 0.0
        self.retire_at = 0.0
        self.began: tuple[Stage, float] | None = None
        self.stalled_since: float | None = None
        self.lingers = False

    def open(self, spread: float, drain: Drain) -> None:
        """Start a connection's life: `spread` of the greatest age, none if we are leaving."""
        self.quiet_since = now = self._clock()
        self.retire_at = now + self._policy.connection_max_age_s * spread
        if drain.has_begun():  # its handshake outlasted uvicorn's `shutdown` to all
            self.retire_at = now
        elif drain.is_leaving():
            self.retire()

    def retire(self) -> None:
        """Make the connection old; one that rests is left alone: it might be asking just now."""
        self.retire_at = self._clock()
        self._may_rest = True

    def begin(self, stage: Stage) -> bool:
        """Start the time that a head or a body has, once; say whether it was started."""
        if self.began is not None and self.began[0] is stage:
            return False
        self.began = stage, self._clock()
        self.look_ahead()
        return True

    def stall(self) -> None:
        """Start the time of a client that does not read."""
        self.stalled_since = self._clock()
        self._note_unsent()
        self.look_ahead()

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
        """Say nothing more, and let go of the connection: it holds us."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._is_busy, self._unsent, self._tell = bool, int, _ignore

    def allowance_s(self, stage: Stage) -> float:
        """Return the seconds that a head or a body has to arrive."""
        policy = self._policy
        return policy.body_timeout_s if stage is Stage.BODY else policy.header_timeout_s

    def _fire(self) -> None:
        self._timer = None
        if self._deadline() > self._clock():
            self.look_ahead()
        elif self.stalled_since is not None:
            self._look_at_reader(self.stalled_since)
        elif self.lingers:
            self._tell(Verdict.ABORT)
        else:
            self._tell(Verdict.CLOSE if self.began is None else Verdict.LATE)

    def _look_at_reader(self, since: float) -> None:
        """Give a client that has read since the last look its time anew."""
        before = self._seen_bytes
        self._note_unsent()
        if self._seen_bytes < before:
            self.stalled_since = self._clock()
        elif since + self._policy.write_timeout_s <= self._clock():
            self._tell(Verdict.ABORT)
            return
        self.look_ahead()

    def _note_unsent(self) -> None:
        self._seen_bytes = self._unsent()
        self._look_at = self._clock() + self._policy.write_timeout_s / _LOOKS

    def _deadline(self) -> float:
        policy = self._policy
        if self.stalled_since is not None:
            return min(self._look_at, self.stalled_since + policy.write_timeout_s)
        if self._is_busy():  # look again, but not much later than what began meanwhile ends
            began = self.began
            return self._clock() + (self.allowance_s(began[0]) if began else policy.keep_alive_s)
        if self.lingers:
            return self.quiet_since + policy.linger_s
        if self.began is not None:
            return self.began[1] + self.allowance_s(self.began[0])
        if self._may_rest:
            return self.quiet_since + policy.keep_alive_s
        # A client that asked a moment ago may be about to ask again, and a request that
        # crosses our end is lost: such a client hears of it with its next answer.
        retire_at = max(self.retire_at, self.quiet_since + _REST_S)
        return min(self.quiet_since + policy.keep_alive_s, retire_at)


def _ignore(_verdict: Verdict) -> None:
    """Hear a verdict on a connection that is gone."""
