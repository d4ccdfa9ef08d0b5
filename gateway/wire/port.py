"""Port: what all connections of a data port share, and what each of them may do.

A drain has one end, whoever waits for it: what the connections took of its time is not
given to the batchers again.
"""

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.core.pausing import Debt, Share
from gateway.core.routing import Pairs
from gateway.errors import Overloaded
from gateway.wire.exchange import Exchange
from gateway.wire.failures import SHEDDING
from gateway.wire.heads import HeadCache, HeadLimits
from gateway.wire.meters import Meter
from gateway.wire.paths import InferTarget
from gateway.wire.reader import Room
from gateway.wire.rotation import Rotation
from gateway.wire.runner import App
from gateway.wire.terms import Terms
from gateway.wire.unpacking import Body


@dataclass(frozen=True, slots=True)
class Policy:
    """The limits of a connection."""

    max_body_bytes: int = 64 << 20
    max_pipeline_depth: int = 16  # requests read and not yet answered
    max_connections: int = 10_000
    max_connections_per_address: int | None = None
    max_unfinished_bytes: int = 1 << 30  # of requests that have come in part, all together
    max_refused: int = 100  # connections beyond these that are told so; others are reset
    header_timeout_s: float = 10.0  # from a head's first byte to its last
    body_timeout_s: float = 30.0  # from a head's end to the body's
    write_timeout_s: float = 30.0  # how long a client may not read its answers
    keep_alive_s: float = 75.0
    connection_max_age_s: float = 300.0
    linger_s: float = 2.0  # how long a refused client is listened to
    linger_bytes: int = 16 << 20
    heads: HeadLimits = field(default_factory=HeadLimits)


class Pressure:
    """How much of the loop's time goes into refusals, of all connections together.

    Mutable state: the debt.
    """

    def __init__(self, share: Share | None = None) -> None:
        self._share = share or Share()
        self._debt = Debt()

    def answered(self, status: int, since: float, now: float) -> float:
        """Count an answer that was given at once; return for how many seconds its client shall
        not be read: 0 unless it is a refusal.
        """
        if status not in SHEDDING:
            return 0.0
        self._debt = self._debt.after(now - since, now, self._share)
        return self._debt.pause_s(now, self._share)

    def is_high(self, now: float) -> bool:
        """Say whether it does not help enough that those who are refused are not read."""
        return self._debt.pause_s(now, self._share) > self._share.longest_s / 2


def _too_many(most: int, whose: str, limit: str) -> Overloaded:
    """Return the refusal of a connection for which there is no room."""
    what = f"expected at most {most} connections{whose} (limits.{limit})"
    return Overloaded(what, shed="connections")


def network_of(host: str) -> str:
    """Return what one client may have of addresses: of IPv6 the half that names a network."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False))


class Crowds:
    """How many connections come from where.

    Mutable state: where each comes from, and how many come from there.
    """

    def __init__(self) -> None:
        self._from: dict[object, str] = {}
        self._counts: Counter[str] = Counter()

    def enter(self, connection: object, host: str, most: int) -> bool:
        """Count a connection, unless there are so many from there; say whether it was."""
        network = network_of(host)
        if self._counts[network] >= most:
            return False
        self._from[connection] = network
        self._counts[network] += 1
        return True

    def leave(self, connection: object) -> None:
        """Forget a connection, if it was counted."""
        network = self._from.pop(connection, None)
        if network is not None:
            self._counts[network] -= 1
            if not self._counts[network]:
                del self._counts[network]


class Drain:
    """Begins once; from then on its end only comes nearer.

    Before it may come a withdrawal: everything is served, and everybody is asked to leave.
    """

    def __init__(self, within_s: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._within_s = within_s
        self._clock = clock
        self._ends_at: float | None = None
        self._is_withdrawn = False
        self._limits: set[asyncio.Timeout] = set()

    def withdraw(self) -> None:
        """Ask everybody to leave, and serve on."""
        self._is_withdrawn = True

    def is_leaving(self) -> bool:
        """Say whether callers do well to go elsewhere."""
        return self._is_withdrawn or self.has_begun()

    def has_begun(self) -> bool:
        """Say whether this replica takes nothing new any more."""
        return self._ends_at is not None

    def begin(self, within_s: float | None = None) -> None:
        """Begin, unless it has; end `within_s` from now at the latest.

        Without it: within what the replica was configured to take, if it has not begun.
        """
        if within_s is None:
            if self.has_begun():
                return
            within_s = self._within_s
        ends_at = self._clock() + within_s
        self._ends_at = ends_at if self._ends_at is None else min(self._ends_at, ends_at)
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time() + self.left_s())

    def cut_short(self) -> None:
        """Wait for nobody any more."""
        self.begin(0.0)

    def left_s(self) -> float:
        """Return what may still be waited; all of it before the beginning."""
        if self._ends_at is None:
            return self._within_s
        return max(0.0, self._ends_at - self._clock())

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Cancel the block at the drain's end, and go on behind it."""
        limit = asyncio.timeout(self.left_s())
        self._limits.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise  # the block's own
        finally:
            self._limits.discard(limit)


class Taker(Protocol):
    """What becomes of inference requests: the intake, on a port that has them."""

    def new_id(self) -> bytes:
        """Return a request id that nobody had before."""

    def start(
        self,
        exchange: Exchange,
        terms: Terms,
        target: InferTarget,
        body: Body,
        now: float,
        headers: Pairs = (),
        since: float | None = None,
    ) -> None:
        """Answer the request once, through its exchange; `since` when it may have waited."""

    def refuse(self, exchange: Exchange, error: Exception, meter: Meter | None = None) -> None:
        """Answer what could not be read as a request; `meter` is that of who asks."""


@dataclass(slots=True)
class Port:
    """One per server that listens.

    `connections` and `tasks` are uvicorn's own: it waits for both when it shuts down.
    `refused` are the connections too many that have not ended yet.
    `spread` gives each connection its own share of the maximum age, so that those that
    were opened together do not all come back together.
    """

    intake: Taker
    app: App
    policy: Policy
    heads: HeadCache
    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    spread: Callable[[], float]
    clock: Callable[[], float] = time.monotonic
    drain: Drain = field(default_factory=Drain)
    pressure: Pressure = field(default_factory=Pressure)
    refused: set[Any] = field(default_factory=set)
    crowds: Crowds = field(default_factory=Crowds)
    room: Room = field(init=False)
    rotation: Rotation = field(init=False)

    def __post_init__(self) -> None:
        self.room = Room(self.policy.max_unfinished_bytes)
        self.rotation = Rotation(self.clock)

    def enter(self, connection: object, transport: asyncio.BaseTransport) -> Overloaded | None:
        """Count a connection among those that are open; else return why it may not be."""
        policy = self.policy
        if len(self.connections) >= policy.max_connections:
            return _too_many(policy.max_connections, "", "max_connections")
        most = policy.max_connections_per_address
        if most is not None:
            peer = transport.get_extra_info("peername")
            if peer and not self.crowds.enter(connection, peer[0], most):
                return _too_many(most, " from one address", "max_connections_per_address")
        self.connections.add(connection)
        return None

    def hears_out(self, connection: object) -> bool:
        """Say whether a connection too many is told so; counted as such, if it is."""
        if len(self.refused) >= self.policy.max_refused:
            return False
        self.refused.add(connection)
        return True

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keep a task among those that are waited for, until it is done."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def leave(self, connection: object) -> None:
        """Forget a connection that has ended."""
        self.connections.discard(connection)
        self.refused.discard(connection)
        self.crowds.leave(connection)
