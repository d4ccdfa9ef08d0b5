"""Allotting: which replica gives out which part of each quota.

Job    see what each replica is asked for, and tell each its part, once a second.
Life   `async with`, as long as the supervisor; without quotas it rests.
Never  stands between a caller and an answer: a replica goes on with the part that it has.

What replicas are asked for stands in their telemetry, counted at a place that a name keeps as
long as the supervisor lives: so nothing is said for it. (A thousand names have a place. There
are more only after as many changes of settings; of those everybody gives out equal parts.) A
replica is told its part as soon as it lives, before it accepts anybody, and the parts of one
that ended go to the others.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from gateway.control.messages import Shares
from gateway.core.quotas import WHOLE, Quota, apportion, blended
from gateway.observe.counts import read_quota
from gateway.observe.layout import MOST_QUOTAS
from gateway.supervise.hosts import Alone, Hosts
from gateway.supervise.replica import Replica
from gateway.wire.meters import quotas_of

_EVERY_S = 1.0
Asked = tuple[int, int]  # requests of a quota's holder, and how many of them were over it
Part = tuple[int | None, int]  # the place where it is counted, and millionths


@dataclass(slots=True)
class _Member:
    """What is known of a replica, by name. `demand` is in millionths of the rate."""

    read: dict[str, Asked] = field(default_factory=dict)
    demand: dict[str, int] = field(default_factory=dict)
    told: Mapping[str, Part] = field(default_factory=dict)


class Allotting:
    """Parts told to replicas together never exceed this host's.

    Mutable state: the quotas in force, the place of each name that had one, the replicas that
    live (`_members`), what those that ended had counted, and when was last looked.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, every_s: float = _EVERY_S
    ) -> None:
        self._clock, self._every_s = clock, every_s
        self._hosts: Hosts = Alone()
        self._quotas: Mapping[str, Quota] = {}
        self._places: dict[str, int] = {}
        self._members: dict[Replica, _Member] = {}
        self._settled: dict[str, Asked] = {}
        self._looked_at = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_looking())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    def introduce(self, hosts: Hosts) -> None:
        """Say with whom this host shares, before anything starts."""
        self._hosts = hosts

    def adopt(self, told: Sequence[str]) -> None:
        """Go on with other quotas. Shapes: `told` are `name:rate_per_s:burst`."""
        self._quotas = quotas_of(told)
        for name in self._quotas:
            if len(self._places) < MOST_QUOTAS:
                self._places.setdefault(name, len(self._places))
        self._tell()

    def began(self, replica: Replica) -> None:
        """Count a new process among those that give out quotas."""
        self._members[replica] = _Member()
        self._tell()

    def ended(self, replica: Replica) -> None:
        """Keep what it had counted, and have the others give out its parts."""
        member = self._members.pop(replica, None)
        if member is None:
            return
        for name in self._places:
            self._settled[name] = _sum(self._settled.get(name, (0, 0)), self._read(replica, name))
        self._tell()

    def counts(self) -> Mapping[str, Asked]:
        """Return what was asked of each quota since the start, by name, and how much was over."""
        found = {name: self._settled.get(name, (0, 0)) for name in self._places}
        for replica in self._members:
            found = {name: _sum(one, self._read(replica, name)) for name, one in found.items()}
        return found

    def look(self) -> None:
        """See what everybody is asked for, tell the other hosts, and tell each his part."""
        now = self._clock()
        elapsed_s, self._looked_at = max(1e-3, now - self._looked_at), now
        totals = dict.fromkeys(self._quotas, 0)
        for replica, member in self._members.items():
            for name, quota in self._quotas.items():
                before, counted = member.read.get(name, (0, 0)), self._read(replica, name)
                member.read[name] = counted
                asked, known = counted[0] - before[0], member.demand.get(name, 0)
                member.demand[name] = blended(known, asked, elapsed_s, quota)
                totals[name] += member.demand[name]
        self._hosts.report(totals)
        self._tell()

    async def _keep_looking(self) -> None:
        self._looked_at = self._clock()
        while True:
            await asyncio.sleep(self._every_s)
            self.look()

    def _tell(self) -> None:
        """Tell everybody whose parts have changed."""
        parts: dict[Replica, dict[str, Part]] = {one: {} for one in self._members}
        for name in self._quotas:
            demands = [member.demand.get(name, 0) for member in self._members.values()]
            whole, place = self._hosts.part(name), self._places.get(name)
            for replica, part in zip(self._members, apportion(demands), strict=True):
                parts[replica][name] = place, part * whole // WHOLE
        for replica, member in self._members.items():
            if parts[replica] != member.told:
                member.told = parts[replica]
                replica.send(Shares(parts[replica]))

    def _read(self, replica: Replica, name: str) -> Asked:
        place = self._places.get(name)
        return (0, 0) if place is None else read_quota(replica.memory.row(0), place)


def _sum(one: Asked, other: Asked) -> Asked:
    return one[0] + other[0], one[1] + other[1]
