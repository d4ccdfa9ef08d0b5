"""Respite: why a connection is not read for a while, and since when.

Job    say when it is read again: after a turn of the loop, in its turn (wire/rotation.py), or
       when the time is over that a refusal cost.
Life   one per connection, as long as that.
Never  touches the transport: the lane stops reading and goes on.

Theory of operation. What a client sends in a pause waits in the kernel, at the most since the
pause began: `since` is that, and the lane asks the kernel when the last of it came, and judges it
by that. So who asks again as soon as he is refused, whatever he was told about when, has spent his
deadline by himself, and nothing is run for him that comes too late; who waits has not. Who comes
later than the next look at the sockets came just then, and nobody needs to ask. What is held for
a later turn came in the long one, or before it.
"""

import asyncio
from collections.abc import Callable

from gateway.wire.port import Port


class Respite:
    """Mutable state: `is_on`: nothing is read; `since` when what is read now may have waited,
    None if it has not. Units: monotonic seconds.
    """

    __slots__ = ("_clock", "_loop", "_port", "_resume", "is_on", "since")

    def __init__(
        self, port: Port, loop: asyncio.AbstractEventLoop, resume: Callable[[], None]
    ) -> None:
        """`resume` reads what is held, and then the socket again."""
        self._port = port
        self._loop = loop
        self._clock = port.clock
        self._resume = resume
        self.is_on = False
        self.since: float | None = None

    def turn(self) -> None:
        """Let everybody else have a turn of the loop."""
        self.is_on = True
        self._loop.call_soon(self._end)

    def queue(self) -> None:
        """Wait until those have been read who were held before us."""
        self._begin(self._port.rotation.since)
        self._port.rotation.wait(self._end)

    def pause(self, status: int, began: float, is_held: bool) -> bool:
        """After an answer that was given at once, begin to wait for a while if refusing takes too
        much of the loop; say whether we do. Where nothing `is_held` what comes next comes later.
        """
        now = self._clock()
        pause_s = self._port.pressure.answered(status, began, now)
        if not pause_s:
            return False
        if not is_held:
            self.since = None
        self._begin(now)
        self._loop.call_later(pause_s * self._port.spread(), self._end_pause)
        return True

    def close(self) -> None:
        """Resume nothing any more, and let go of the connection: it holds us."""
        self._resume = _nothing

    def _begin(self, since: float) -> None:
        self.is_on = True
        if self.since is None:  # else what is held has waited for longer already
            self.since = since

    def _end(self) -> None:
        self.is_on = False
        self._resume()
        self._forget()

    def _end_pause(self) -> None:
        # a timer's callbacks come before the sockets are looked at, and theirs after
        self._loop.call_soon(self._loop.call_soon, self._forget)
        self.is_on = False
        self._resume()

    def _forget(self) -> None:
        if not self.is_on:
            self.since = None


def _nothing() -> None:
    """Stands where a connection was that has ended."""
