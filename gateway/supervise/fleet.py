"""Fleet: the replicas, one in each slot, whatever happens to them.

Job    keep every slot served: start, watch, replace and see off replicas.
Life   `async with`; `start` brings the first ones up; `drain` ends them in order, and
       leaving kills what is left.
Never  loads a model or decides what is served: the inventory does.

Theory of operation. One task per slot (`_keep`) lives for ever: whenever the slot is
vacant it brings a replica up. Bringing up is: greet, have it prepare all that is served,
publish the table, accept. A replica that stands is in `_standing`; whenever that changes,
`_cover_slots` works out who accepts from the slots of those that are away, and tells the
difference. So connections always have an acceptor while anybody lives, and while nobody
does they wait in their slot's queue, which is ours.

One task per process (`_see_through`) hears its end, whoever ended it, and accounts for it
before its slot is vacant: so a version that kills is quarantined before the next start.

Replacing (settings, code, certificates) is the same with two processes in one slot: the
successor stands before the old one is retired, and the old one sees its connections off.

`prepare` and `publish` reach every replica that was asked for the same before; one that
is just coming up takes the fleet's own record, which both change before they wait.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from socket import socket
from typing import Self

from gateway.control.messages import (
    Accept,
    Ask,
    Assigned,
    Drain,
    Forget,
    Hello,
    Release,
    Released,
    Retire,
    Retired,
    Table,
    Withdraw,
)
from gateway.core.covering import changes, cover
from gateway.core.restarts import Restarts, after_end
from gateway.supervise.heartbeats import watch
from gateway.supervise.offer import Offer
from gateway.supervise.overseer import Overseer, Policy, ReplicaView, Spawn
from gateway.supervise.replica import Ended, Phase, Replica, unless_ended

_log = logging.getLogger(__name__)
_GRACE_S = 2.0  # what a process may take beyond what it was told


class Fleet:
    """The processes that serve.

    Mutable state: every live process (`_lives`), who stands in which slot (`_standing`)
    and who covers which (`_covering`), slots without anybody (`_vacant`), those being
    replaced (`_replacing`), and what is loaded and served (`_offer`).
    """

    def __init__(
        self,
        slots: Sequence[socket],
        policy: Policy,
        overseer: Overseer,
        spawn: Spawn = Replica.spawn,
    ) -> None:
        self._slots, self._policy, self._spawn = slots, policy, spawn
        self._overseer = overseer
        self._lives: dict[Replica, asyncio.Task[None]] = {}
        self._standing: dict[int, Replica] = {}
        self._covering: dict[int, int] = {}
        self._vacant = [asyncio.Event() for _ in slots]
        self._replacing: set[int] = set()
        self._restarts = [Restarts() for _ in slots]
        self._ended: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()  # of ends, since the start
        self._offer = Offer()
        self._is_ending = False
        self._keepers: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_ending = True
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for task in self._lives.values():  # all have begun by now: one that has not hears nothing
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def start(self) -> None:
        """Bring up a replica in every slot; return when each stands or has failed once."""
        await asyncio.gather(*(self._bring_up(slot) for slot in range(len(self._slots))))
        keep = [self._tasks.create_task(self._keep(slot)) for slot in range(len(self._slots))]
        self._keepers = (*keep, self._tasks.create_task(watch(self._lives, self._policy)))
        for slot, vacant in enumerate(self._vacant):
            if slot not in self._standing:
                vacant.set()

    def views(self) -> tuple[ReplicaView, ...]:
        """Return every live process, by slot."""
        lives = sorted(self._lives, key=lambda one: (one.slot, one.started_at))
        return tuple(
            ReplicaView(one.slot, one.pid, one.phase.value, self._ended[one.slot], one.started_at)
            for one in lives
            if one.is_alive
        )

    def is_served(self) -> bool:
        """Say whether somebody accepts connections."""
        return bool(self._standing) and not self._is_ending

    async def prepare(self, versions: tuple[Assigned, ...]) -> Mapping[str, str]:
        """Have every replica load versions; return reasons by digest, none where all could.

        What any of them refused is forgotten by all. Cancel: safe; what was loaded stays
        until a table leaves it out.
        """
        self._offer.add(versions)
        asked = [one for one in self._lives if one.is_prepared and one.phase is not Phase.RETIRING]
        refused: dict[str, str] = {}
        for answer in await asyncio.gather(*(self._prepare(one, versions) for one in asked)):
            refused.update(answer)
        self.forget([one.row for one in versions if one.proof.digest in refused])
        return refused

    def forget(self, rows: Sequence[int]) -> None:
        """Have versions that were prepared, and will not be published, dropped by all."""
        self._offer.forget(rows)
        for replica in self._lives if rows else ():
            replica.send(Forget(tuple(rows)))

    async def publish(self, table: Table) -> None:
        """Have callers answered by `table`; return when every replica does."""
        self._offer.publish(table)
        asked = [one for one in self._lives if one.is_published and one.phase is not Phase.RETIRING]
        await asyncio.gather(*(unless_ended(one.publish(table)) for one in asked))

    async def replace(self) -> None:
        """Replace every replica, one by one, each after its successor stands."""
        for slot in range(len(self._slots)):
            old = self._standing.get(slot)
            if old is None or self._is_ending:
                for one in self._lives:  # its next replica is a new one, if this one is none yet
                    if one.slot == slot and one.phase is Phase.STARTING:
                        one.kill("it was started with what is replaced now")
                continue
            self._replacing.add(slot)
            successor = await self._bring_up(slot)
            self._replacing.discard(slot)
            if successor is not None and old.is_alive:
                self._tasks.create_task(self._see_off(old))
            elif slot not in self._standing:
                self._vacant[slot].set()

    def withdraw(self) -> None:
        """Have every replica fail its readiness and ask its callers to leave."""
        for replica in self._lives:
            replica.send(Withdraw())

    async def drain(self, within_s: float) -> None:
        """End every replica in order, within so many seconds; kill what is left.

        May be called again, with less, while it runs: that hurries it.
        """
        self._is_ending = True
        for replica in tuple(self._lives):
            if replica.phase is Phase.STARTING:
                replica.kill("the supervisor drains")
            replica.dismiss(Drain(within_s))
        if self._lives:
            await asyncio.wait(tuple(self._lives.values()), timeout=within_s + _GRACE_S)
        for replica in tuple(self._lives):
            replica.kill(f"it did not drain within {within_s} s")
        if self._lives:
            await asyncio.wait(tuple(self._lives.values()))

    # one slot

    async def _keep(self, slot: int) -> None:
        """Bring up a replica whenever there is none."""
        while True:
            await self._vacant[slot].wait()
            self._vacant[slot].clear()
            self._restarts[slot], delay_s = after_end(self._restarts[slot], time.monotonic())
            await asyncio.sleep(delay_s)
            if self._is_ending:
                return
            if slot not in self._standing and await self._bring_up(slot) is None:
                self._vacant[slot].set()

    async def _bring_up(self, slot: int) -> Replica | None:
        """Start a process and return it when it stands; None where it did not come to that."""
        hello = Hello(slot, len(self._slots), self._overseer.settings())
        try:
            replica = await self._spawn(hello, self._slots, self._hear)
        except OSError as error:
            _log.error("replica %d cannot be started: %s", slot, error)
            return None
        self._overseer.began(replica)
        life = self._lives[replica] = self._tasks.create_task(self._see_through(replica))
        try:
            await replica.started()
            await self._load_all(replica)
            replica.is_published = True
            await replica.publish(self._offer.table)
            await replica.accept(slot)
            if replica.phase is not Phase.STARTING:
                raise Ended("a signal told it to end")
        except Ended:
            await asyncio.wait([life])
            return None
        self._stand(replica)
        return replica

    def _hear(self, replica: Replica, message: Ask | Retired | Released) -> None:
        if not isinstance(message, Released):
            self._overseer.heard(replica, message)
        elif message.slot == replica.slot:
            replica.phase = Phase.RETIRING  # a signal told it to end
            if self._vacate(replica):
                self._call_successor(replica.slot)

    def _vacate(self, replica: Replica) -> bool:
        """Have the slot of one that leaves covered; say whether it stood there."""
        if self._standing.get(replica.slot) is not replica:
            return False
        del self._standing[replica.slot]
        self._cover_slots()
        return True

    def _call_successor(self, slot: int) -> None:
        if slot not in self._replacing:  # else there is one on its way
            self._vacant[slot].set()

    async def _load_all(self, replica: Replica) -> None:
        replica.is_prepared = True  # from now on it hears of others itself
        for digest, reason in (await self._prepare(replica, self._offer.versions())).items():
            self._overseer.lost(digest, reason)

    async def _prepare(self, replica: Replica, versions: tuple[Assigned, ...]) -> Mapping[str, str]:
        """Have one replica load versions; one that dies of it or never answers refuses none."""
        within_s = self._policy.prepare_timeout_s * (1 + len(versions))
        try:
            async with asyncio.timeout(within_s):
                return await replica.prepare(versions)
        except TimeoutError:
            replica.kill(f"it did not load its models within {within_s} s")
        except Ended:
            if replica.phase is Phase.STARTING:
                raise
        return {}

    def _stand(self, replica: Replica) -> None:
        replica.phase = Phase.SERVING
        self._standing[replica.slot] = replica
        for slot, who in self._covering.items():
            if who == replica.slot:  # its predecessor did
                replica.send(Accept(slot))
        self._cover_slots()

    def _cover_slots(self) -> None:
        covering = cover(self._standing.keys(), len(self._slots), self._covering)
        accepts, releases = changes(self._covering, covering, self._standing.keys())
        self._covering = covering
        for who, slot in accepts:
            self._standing[who].send(Accept(slot))
        for who, slot in releases:
            self._standing[who].send(Release(slot))

    # one process

    async def _see_through(self, replica: Replica) -> None:
        """Hear a process until its end, and account for it."""
        code = await replica.follow()
        stood = self._vacate(replica)
        reason = await self._overseer.ended(replica, code)
        replica.memory.close()
        del self._lives[replica]
        self._ended[replica.slot] += 1
        self.reasons[reason] += 1
        if stood:
            self._call_successor(replica.slot)

    async def _see_off(self, replica: Replica) -> None:
        """Retire a process whose successor stands."""
        within_s = self._policy.drain_timeout_s
        replica.dismiss(Retire(within_s))
        await asyncio.wait([self._lives[replica]], timeout=within_s + _GRACE_S)
        replica.kill(f"it did not retire within {within_s} s")
