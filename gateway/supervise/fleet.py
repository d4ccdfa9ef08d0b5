"""Fleet: the replicas, one in each slot, whatever happens to them.

Job    keep every slot served: start, watch, replace and see off replicas.
Life   `async with`; `start` brings the first ones up; `drain` ends them in order, and
       leaving kills what is left.
Never  loads a model or decides what is served: the inventory does.

Theory of operation. One task per slot (`_keep`) lives for ever: whenever the slot is
vacant it brings a replica up. Bringing up is: greet, have it prepare all that is served,
publish the table, accept. A replica that stands is in `_standing`, which has those that
are away covered. So connections always have an acceptor while anybody lives, and while
nobody does they wait in their slot's queue, which is ours.

One task per process (`_see_through`) hears its end, whoever ended it, and accounts for it
before its slot is vacant: so a version that kills is quarantined before the next start.

Replacing (settings, code, certificates) is the same with two processes in one slot: the
successor stands before the old one is retired, and the old one sees its connections off.

`prepare` and `publish` reach every replica that was asked for the same before; one that
is just coming up takes the fleet's own record, which both change before they wait. What a
new replica cannot load, though others serve it, it lacks, and tries again (loads.py); but
it replaces nobody who has more.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from socket import socket
from typing import Self

from gateway.control.messages import (
    Assigned,
    Drain,
    Forget,
    Hello,
    Released,
    Retire,
    Table,
    Unasked,
    Withdraw,
)
from gateway.core.restarts import Restarts, after_end
from gateway.supervise.heartbeats import watch
from gateway.supervise.loads import Loads
from gateway.supervise.offer import Offer
from gateway.supervise.overseer import Overseer, Policy, ReplicaView, Spawn
from gateway.supervise.replica import Ended, Phase, Replica, unless_ended
from gateway.supervise.standing import Standing

_log = logging.getLogger(__name__)
_GRACE_S = 2.0  # what a process may take beyond what it was told


class Fleet:
    """The processes that serve.

    Mutable state: `policy`, every live process (`_lives`), who stands where (`_standing`),
    slots without anybody (`_vacant`), those being replaced (`_replacing`), who is mended
    (`_mending`), and what is loaded and served (`_offer`).
    """

    def __init__(
        self,
        slots: Sequence[socket],
        policy: Policy,
        overseer: Overseer,
        spawn: Spawn = Replica.spawn,
    ) -> None:
        self._slots, self.policy, self._overseer, self._spawn = slots, policy, overseer, spawn
        self._offer = Offer()
        self._loads = Loads(self._offer, lambda: self.policy.prepare_timeout_s)
        self._lives: dict[Replica, asyncio.Task[None]] = {}
        self._standing = Standing(len(slots))
        self.lacking = self._standing.lacking
        self._vacant = [asyncio.Event() for _ in slots]
        self._replacing: set[int] = set()
        self._restarts = [Restarts() for _ in slots]
        self._ended: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()  # of ends, since the start
        self._mending: dict[Replica, asyncio.Task[None]] = {}
        self._is_withdrawn = self._is_ending = False
        self._keepers: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> Self:
        self._tasks = await asyncio.TaskGroup().__aenter__()
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
        self._keepers = (*keep, self._tasks.create_task(watch(self._lives, lambda: self.policy)))
        for slot, vacant in enumerate(self._vacant):
            if slot not in self._standing.by_slot:
                vacant.set()

    def views(self) -> tuple[ReplicaView, ...]:
        """Return every live process, by slot."""
        return tuple(
            ReplicaView(one.slot, one.pid, one.phase.value, self._ended[one.slot], one.started_at)
            for one in sorted(self._lives, key=lambda one: (one.slot, one.started_at))
            if one.is_alive
        )

    def is_served(self, digest: str | None = None) -> bool:
        """Say whether somebody accepts connections, and could load this digest."""
        return self._standing.holds(digest) and not self._is_ending

    async def prepare(self, versions: tuple[Assigned, ...]) -> Mapping[str, str]:
        """Have every replica load versions; return reasons by digest, none where all could.

        What any of them refused, or died of, is forgotten by all. Cancel: safe; what was
        loaded stays until a table leaves it out.
        """
        self._offer.add(versions)
        asked = [one for one in self._lives if one.is_prepared and one.phase is not Phase.RETIRING]
        refused: dict[str, str] = {}
        for answer in await asyncio.gather(*(self._loads.load(one, versions) for one in asked)):
            refused.update(answer)
        self.forget([one.row for one in versions if one.proof.digest in refused])
        if any(one.is_stuck for one in self._standing.by_slot.values()):
            self._tasks.create_task(self._replace_stuck())
        return refused

    def forget(self, rows: Sequence[int]) -> None:
        """Have rows that no table will name dropped by all, whether they know them or not."""
        self._offer.forget(rows)
        for replica in self._lives if rows else ():
            replica.send(Forget(tuple(rows)))

    async def mend(self) -> Mapping[str, str]:
        """Have who lacks something try again now; return what is still lacking."""
        await asyncio.gather(*map(self._loads.try_again, self._standing.by_slot.values()))
        return self.lacking()

    async def publish(self, table: Table) -> None:
        """Have callers answered by `table`; return when every replica does."""
        left = self._offer.publish(table)
        for replica in self._lives if left else ():
            if not replica.is_published:  # no table will tell it, and it may hold them already
                replica.send(Forget(left))
        asked = [one for one in self._lives if one.is_published and one.phase is not Phase.RETIRING]
        await asyncio.gather(*(unless_ended(one.publish(table)) for one in asked))

    async def replace(self) -> None:
        """Replace every replica, one by one, each after its successor stands."""
        for slot in range(len(self._slots)):
            await self._replace(slot)

    def withdraw(self) -> None:
        """Have every replica, and those to come, fail readiness and ask their callers to leave."""
        self._is_withdrawn = True
        for replica in self._lives:
            replica.send(Withdraw())

    def start_no_more(self) -> None:
        """Have nobody started from now on: the slots are about to be closed."""
        self._is_ending = True

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

    async def _keep(self, slot: int) -> None:
        """Bring up a replica whenever there is none."""
        while True:
            await self._vacant[slot].wait()
            self._vacant[slot].clear()
            self._restarts[slot], delay_s = after_end(self._restarts[slot], time.monotonic())
            await asyncio.sleep(delay_s)
            if self._is_ending:
                return
            if slot not in self._standing.by_slot and await self._bring_up(slot) is None:
                self._vacant[slot].set()

    async def _replace(self, slot: int) -> None:
        """Replace the replica of a slot, after those that it replaced have left."""
        there = [one for one in self._lives if one.slot == slot]
        leaving = [self._lives[one] for one in there if one.phase is Phase.RETIRING]
        if leaving:  # or SIGHUP after SIGHUP would pile up processes with all their models
            await asyncio.wait(leaving)
        old = self._standing.by_slot.get(slot)
        if old is None or self._is_ending:
            for one in there:  # the slot's next replica is a new one, if this one is none yet
                if one.phase is Phase.STARTING:
                    one.kill("it was started with what is replaced now")
            return
        self._replacing.add(slot)
        successor = await self._bring_up(slot)
        self._replacing.discard(slot)
        if successor is not None and old.is_alive:
            self._tasks.create_task(self._see_off(old))
        elif slot not in self._standing.by_slot:
            self._vacant[slot].set()

    async def _replace_stuck(self) -> None:
        """Replace those whose loading thread does not come back; they serve meanwhile."""
        for slot, replica in tuple(self._standing.by_slot.items()):
            if replica.is_stuck and slot not in self._replacing:
                _log.warning("replica %d is replaced: it hangs in a model it should load", slot)
                await self._replace(slot)

    async def _bring_up(self, slot: int) -> Replica | None:
        """Start a process and return it when it stands; None where it did not come to that."""
        if self._is_ending:
            return None
        try:
            hello = Hello(slot, len(self._slots), self._overseer.settings())
            replica = await self._spawn(hello, self._slots, self._hear)
        except OSError as error:
            _log.error("replica %d cannot be started: %s", slot, error)
            return None
        self._overseer.began(replica)
        life = self._lives[replica] = self._tasks.create_task(self._see_through(replica))
        try:
            await self._introduce(replica)
        except Ended:
            await asyncio.wait([life])
            return None
        replica.phase = Phase.SERVING
        self._standing.take(replica)
        if replica.lacking:
            self._mending[replica] = self._tasks.create_task(self._loads.mend(replica))
        return replica

    async def _introduce(self, replica: Replica) -> None:
        """Have a new process load, publish and accept. Raises: Ended, where it does not."""
        await replica.started()
        if self._is_withdrawn:
            replica.send(Withdraw())
        replica.is_prepared = True  # from now on it hears of others itself
        replica.lacking = await self._loads.load(replica, self._offer.versions())
        old = self._standing.by_slot.get(replica.slot)
        if old is not None and replica.lacking.keys() - old.lacking.keys():
            replica.kill("it cannot load all that its predecessor serves")
        replica.is_published = True
        await replica.publish(self._offer.table)
        if not await replica.accept(replica.slot):
            replica.kill("it cannot accept connections")
        if replica.phase is not Phase.STARTING or not replica.is_alive:
            raise Ended("it was told to end")

    def _hear(self, replica: Replica, message: Unasked) -> None:
        if not isinstance(message, Released):
            self._overseer.heard(replica, message)
        elif message.slot == replica.slot:
            replica.phase = Phase.RETIRING  # a signal told it to end
            if self._standing.leave(replica):
                self._call_successor(replica.slot)

    def _call_successor(self, slot: int) -> None:
        if slot not in self._replacing:  # else there is one on its way
            self._vacant[slot].set()

    async def _see_through(self, replica: Replica) -> None:
        """Hear a process until its end, and account for it."""
        code = await replica.follow()
        if (mending := self._mending.pop(replica, None)) is not None:
            mending.cancel()
        stood = self._standing.leave(replica)
        reason = await self._overseer.ended(replica, code)
        replica.memory.close()
        del self._lives[replica]
        self._ended[replica.slot] += 1
        self.reasons[reason] += 1
        if stood:
            self._call_successor(replica.slot)

    async def _see_off(self, replica: Replica) -> None:
        """Retire a process whose successor stands."""
        within_s = self.policy.drain_timeout_s
        replica.dismiss(Retire(within_s))
        await asyncio.wait([self._lives[replica]], timeout=within_s + _GRACE_S)
        replica.kill(f"it did not retire within {within_s} s")
