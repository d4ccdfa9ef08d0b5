"""Pulse: the signs of life of a replica, and what becomes of it without.

Job    ten times a second: show the supervisor that the event loop turns, and tell the
       deadman so.
Life   a task of the replica, from its first turn to its last.
Never  puts the end off once the replica drains: each beat then means the same moment.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gateway.observe.record import Record
from gateway.wire.port import Drain

_BEAT_S = 0.1
_ALIVE_S = 10.0  # beyond a drain; a supervisor kills a replica that is silent long before
_LAST_S = 2.0  # beyond a drain that has begun


class Renewable(Protocol):
    """What ends us unless it is renewed in time: a Deadman."""

    def renew(self, within_s: float) -> None:
        """Put the end off until so many seconds from now."""


class Pulse:
    """Beats as long as the loop turns."""

    def __init__(
        self, record: Record, deadman: Renewable, drain: Drain, connections: Callable[[], int]
    ) -> None:
        self._record = record
        self._deadman = deadman
        self._drain = drain
        self._connections = connections

    async def keep(self) -> None:
        """Beat for ever. Cancel: safe."""
        while True:
            self.beat()
            await asyncio.sleep(_BEAT_S)

    def beat(self) -> None:
        """Show that the loop turned; live on for a drain and a little more."""
        self._record.heartbeat(time.monotonic_ns(), self._connections())
        beyond_s = _LAST_S if self._drain.has_begun() else _ALIVE_S
        self._deadman.renew(self._drain.left_s() + beyond_s)
