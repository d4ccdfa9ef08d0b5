"""Port: what all connections of a data port share, and what each of them may do.

A drain has one end, whoever waits for it: what the connections took of its time is not
given to the batchers again.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.wire.heads import HeadCache, HeadLimits
from gateway.wire.intake import Intake
from gateway.wire.runner import App


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of a connection."""

    max_body_bytes: int = 64 << 20
    max_pipeline_depth: int = 16  # requests read and not yet answered
    max_connections: int = 10_000
    max_refused: int = 100  # connections beyond these that are told so; others are reset
    header_timeout_s: float = 10.0  # from a head's first byte to its last
    body_timeout_s: float = 30.0  # from a head's end to the body's
    write_timeout_s: float = 30.0  # how long a client may not read its answers
    keep_alive_s: float = 75.0
    connection_max_age_s: float = 300.0
    linger_s: float = 2.0  # how long a refused client is listened to
    linger_bytes: int = 16 << 20
    heads: HeadLimits = field(default_factory=HeadLimits)


class Drain:
    """Begins once and ends `within_s` later, or when it is cut short."""

    def __init__(self, within_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._within_s = within_s
        self._clock = clock
        self._ends_at: float | None = None

    def has_begun(self) -> bool:
        """Say whether this replica takes nothing new any more."""
        return self._ends_at is not None

    def begin(self) -> None:
        """Begin, unless it has."""
        if self._ends_at is None:
            self._ends_at = self._clock() + self._within_s

    def cut_short(self) -> None:
        """Wait for nobody any more."""
        self._ends_at = self._clock()

    def left_s(self) -> float:
        """Return what may still be waited; all of it before the beginning."""
        if self._ends_at is None:
            return self._within_s
        return max(0.0, self._ends_at - self._clock())


@dataclass(slots=True)
class Port:
    """One per server that listens.

    `connections` and `tasks` are uvicorn's own: it waits for both when it shuts down.
    `refused` are the connections too many that have not ended yet.
    `spread` gives each connection its own share of the maximum age, so that those that
    were opened together do not all come back together.
    """

    intake: Intake
    app: App
    policy: Policy
    heads: HeadCache
    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    spread: Callable[[], float]
    clock: Callable[[], float] = time.monotonic
    drain: Drain = field(default_factory=Drain)
    refused: set[Any] = field(default_factory=set)
