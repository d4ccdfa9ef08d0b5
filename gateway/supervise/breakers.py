"""Breakers: how the executors of every replica are, as operators ask for it.

Job    ask all replicas at once, and wait for those that answer soon.
Life   as long as the supervisor; it hears of every process.
Never  asks unless somebody wants to know, or waits for a replica that hangs.
"""

import asyncio
from dataclasses import dataclass, field

from gateway.control.reports import BreakerTold, Report, Reported
from gateway.supervise.replica import Phase, Replica

_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class BreakerView:
    """One executor instance of a replica."""

    replica: int  # its slot
    pid: int
    told: BreakerTold


@dataclass(frozen=True, slots=True)
class BreakersView:
    """`silent` are the slots of replicas that did not answer in time."""

    breakers: tuple[BreakerView, ...]
    silent: tuple[int, ...]


@dataclass(slots=True, eq=False)
class _Round:
    """One question to all; it is over when nobody is `left`."""

    left: set[Replica]
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    answers: dict[Replica, tuple[BreakerTold, ...]] = field(default_factory=dict)

    def strike(self, replica: Replica) -> None:
        self.left.discard(replica)
        if not self.left:
            self.is_over.set()


class Breakers:
    """Mutable state: the processes that live, and the questions that are not answered yet."""

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._replicas: set[Replica] = set()
        self._rounds: dict[int, _Round] = {}
        self._tickets = 0

    def began(self, replica: Replica) -> None:
        """Ask one more from now on."""
        self._replicas.add(replica)

    def ended(self, replica: Replica) -> None:
        """Wait for this one no more."""
        self._replicas.discard(replica)
        for one in self._rounds.values():
            one.strike(replica)

    def hear(self, replica: Replica, message: Reported) -> None:
        """Take an answer; one that comes too late is dropped."""
        asked = self._rounds.get(message.ticket)
        if asked is not None and replica in asked.left:
            asked.answers[replica] = message.breakers
            asked.strike(replica)

    async def ask(self) -> BreakersView:
        """Return how all executors are, by model, version, executor and slot. Cancel: safe."""
        self._tickets += 1
        serving = {one for one in self._replicas if one.phase is not Phase.STARTING}
        ticket, asked = self._tickets, _Round(serving)
        self._rounds[ticket] = asked
        for replica in tuple(serving):
            replica.send(Report(ticket))
        try:
            if asked.left:
                async with asyncio.timeout(self._patience_s):
                    await asked.is_over.wait()
        except TimeoutError:
            pass  # who is silent is named
        finally:
            del self._rounds[ticket]
        found = [
            BreakerView(replica.slot, replica.pid, told)
            for replica, breakers in asked.answers.items()
            for told in breakers
        ]
        return BreakersView(
            tuple(sorted(found, key=_place)), tuple(sorted(one.slot for one in asked.left))
        )


def _place(one: BreakerView) -> tuple[str, str, str, int, int]:
    told = one.told
    return told.model, told.version, told.executor, one.replica, one.pid
