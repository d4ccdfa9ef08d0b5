"""Hand-written doubles of the fleet's two neighbours: a process, and who hears of it.

Job    a replica that does at once what it is told, unless told to misbehave, and an
       overseer that writes down what it hears.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from socket import socket
from typing import cast

from gateway.control.messages import (
    Accept,
    Ask,
    Assigned,
    Disagreed,
    Drain,
    Forget,
    Hello,
    Release,
    Retire,
    Retired,
    Table,
    ToReplica,
    Withdraw,
)
from gateway.control.reports import Reported
from gateway.core.costs import Cost, Placement
from gateway.repository.proof import Found, Proof
from gateway.repository.settings import ModelSettings
from gateway.supervise.overseer import Hear
from gateway.supervise.replica import Ended, Phase, Replica
from gateway.types import Signature


def assigned(digest: str, row: int) -> Assigned:
    found = Found("m", digest, Path("m"), Path("m/model.onnx"), ModelSettings())
    proof = Proof(found, digest, Signature((), (), 0), Cost(0.0, 0.0), Placement(True, 1))
    return Assigned(proof, row)


class FakeMemory:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class FakeReplica:
    """A process that lives until `die`, `kill` or a drain."""

    def __init__(self, hello: Hello, hear: Hear, pid: int) -> None:
        self.slot = hello.slot
        self.hello = hello
        self.hear = hear
        self.pid = pid
        self.phase = Phase.STARTING
        self.kill_reason: str | None = None
        self.was_silent = self.was_stopped = self.was_told_to_end = self.is_stuck = False
        self.lacking: Mapping[str, str] = {}
        self.is_prepared = self.is_published = False
        self.started_at = float(pid)
        self.began_ns = 0
        self.beat_ns = 1
        self.memory = FakeMemory()
        self.prepared: list[Assigned] = []
        self.tables: list[Table] = []
        self.accepting: set[int] = set()
        self.told: list[ToReplica] = []
        self.refuses: Mapping[str, str] = {}
        self.dies_of: str | None = None  # the digest that kills it when it is loaded
        self.hangs_in: str | None = None  # the digest whose loading does not end before it is woken
        self.cannot_accept = False
        self.loads: tuple[str, ...] = ()
        self.is_deaf = False  # never answers again
        self.lingers = False  # does not end when it is told to
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_alive(self) -> bool:
        return not self.code.done()

    def heartbeat_ns(self) -> int:
        return self.beat_ns

    def send(self, message: ToReplica) -> None:
        self.told.append(message)
        if isinstance(message, Accept):
            self.accepting.add(message.slot)
        elif isinstance(message, Release):
            self.accepting.remove(message.slot)
        elif isinstance(message, Forget):
            self.prepared = [one for one in self.prepared if one.row not in message.rows]
        elif isinstance(message, Retire | Drain) and not self.lingers:
            self.die(0)

    def dismiss(self, message: Retire | Drain) -> None:
        self.phase = Phase.RETIRING
        self.was_told_to_end = True
        self.send(message)

    async def started(self) -> None:
        await self._answer()

    async def prepare(self, versions: tuple[Assigned, ...]) -> Mapping[str, str]:
        digests = {one.proof.digest for one in versions}
        if self.dies_of in digests:
            self.die(-11)
        if self.hangs_in in digests:
            await asyncio.wait((self.code, self.woken), return_when=asyncio.FIRST_COMPLETED)
        await self._answer()
        self.prepared += [one for one in versions if one.proof.digest not in self.refuses]
        return {
            one.proof.digest: self.refuses[one.proof.digest]
            for one in versions
            if one.proof.digest in self.refuses
        }

    async def publish(self, table: Table) -> None:
        await self._answer()
        self.tables.append(table)

    async def accept(self, slot: int) -> bool:
        await self._answer()
        if not self.cannot_accept:
            self.send(Accept(slot))
        return not self.cannot_accept

    def loading(self) -> tuple[str, ...]:
        return self.loads

    async def ended(self) -> int:
        return await asyncio.shield(self.code)

    def kill(self, reason: str, *, is_silent: bool = False) -> None:
        if self.is_alive and self.kill_reason is None:
            self.kill_reason = reason
            self.was_silent = is_silent
            self.die(-9)

    def die(self, code: int) -> None:
        if self.is_alive:
            self.accepting.clear()
            self.code.set_result(code)

    async def follow(self) -> int:
        try:
            code = await asyncio.shield(self.code)
        except asyncio.CancelledError:
            self.kill("the supervisor ended")
            raise
        self.phase = Phase.ENDED
        return code

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.is_deaf:
            await asyncio.shield(self.code)
        if not self.is_alive:
            raise Ended("gone")


class Stable:
    """Makes replicas; `changes[n]` is done to the n-th when it is born."""

    def __init__(self) -> None:
        self.all: list[FakeReplica] = []
        self.births: dict[int, dict[str, object]] = {}
        self.cannot_start = 0

    async def spawn(self, hello: Hello, slots: Sequence[socket], hear: Hear) -> Replica:
        if self.cannot_start:
            self.cannot_start -= 1
            raise OSError("no more processes")
        replica = FakeReplica(hello, hear, len(self.all))
        for name, value in self.births.get(len(self.all), {}).items():
            setattr(replica, name, value)
        self.all.append(replica)
        return cast("Replica", replica)

    @property
    def alive(self) -> list[FakeReplica]:
        return [one for one in self.all if one.is_alive]


class Notes:
    """An overseer."""

    def __init__(self) -> None:
        self.began_pids: list[int] = []
        self.ends: list[tuple[int, int]] = []

    def settings(self) -> str:
        return "{}"

    def began(self, replica: Replica) -> None:
        self.began_pids.append(replica.pid)

    def heard(self, replica: Replica, message: Ask | Retired | Disagreed | Reported) -> None:
        raise AssertionError(message)

    async def ended(self, replica: Replica, code: int) -> str:
        await asyncio.sleep(0)
        self.ends.append((replica.pid, code))
        return "killed" if code < 0 else "exited"


def is_withdrawn(replica: FakeReplica) -> bool:
    return any(isinstance(message, Withdraw) for message in replica.told)
