"""Overseer: what the fleet is told, and whom it tells.

The supervisor makes the fleet and hears it; neither knows how the other works.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from socket import socket
from typing import Protocol

from gateway.control.messages import (
    Ask,
    Disagreed,
    Hello,
    Retired,
    Unasked,
)
from gateway.control.reports import Reported
from gateway.supervise.replica import Replica

Hear = Callable[[Replica, Unasked], None]
Spawn = Callable[[Hello, Sequence[socket], Hear], Awaitable[Replica]]


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a replica may take for what. Units: seconds."""

    heartbeat_timeout_s: float = 2.0
    start_timeout_s: float = 60.0  # from its execution to its first heartbeat
    prepare_timeout_s: float = 120.0  # for one version
    drain_timeout_s: float = 30.0
    watch_every_s: float = 0.25


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One process as operators see it. Units: `started_at` is seconds since 1970."""

    slot: int
    pid: int
    state: str
    restarts: int
    started_at: float


class Overseer(Protocol):
    """Who owns the fleet."""

    def settings(self) -> str:
        """Return the configuration, as JSON, for the next replica."""

    def began(self, replica: Replica) -> None:
        """Hear that a process was started."""

    def heard(self, replica: Replica, message: Ask | Retired | Disagreed | Reported) -> None:
        """Hear what a process says unasked."""

    async def ended(self, replica: Replica, code: int) -> str:
        """Account for an end, before the next start; return its reason in a word."""
