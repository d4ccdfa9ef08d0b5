"""Port: what all connections of a data port share, and what each of them may do."""

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
    header_timeout_s: float = 10.0  # from a head's first byte to its last
    body_timeout_s: float = 30.0  # from a head's end to the body's
    write_timeout_s: float = 30.0  # how long a client may not read its answers
    keep_alive_s: float = 75.0
    connection_max_age_s: float = 300.0
    linger_s: float = 2.0  # how long a refused client is listened to
    linger_bytes: int = 16 << 20
    heads: HeadLimits = field(default_factory=HeadLimits)


@dataclass(slots=True)
class Port:
    """One per replica.

    `connections` and `tasks` are uvicorn's own: it waits for both when it shuts down.
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
