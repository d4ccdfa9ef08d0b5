"""Replica: the supervisor's side of one process that serves.

Job    start the process, talk to it, hear its end.
Life   `spawn` starts it; `follow` runs until it has ended; then its exit code is known.
Never  outlives its process, nor leaves it unreaped; waits for an answer of the dead.

A replica is executed anew, never forked from a process that has threads. It inherits
every slot's socket, one end of a socket pair and its telemetry memory, and nothing else.
It is the leader of a process group of its own, so that a Ctrl-C meant for the supervisor
is not heard twice. Its end is heard through a pidfd: no signal handler, no polling.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path
from typing import Self

from gateway.control.channel import Broken, Channel, open_channel
from gateway.control.messages import (
    TO_REPLICA,
    TO_SUPERVISOR,
    Accept,
    Accepting,
    Assigned,
    Drain,
    Hello,
    Prepare,
    Prepared,
    Publish,
    Published,
    Retire,
    Started,
    Table,
    ToReplica,
    ToSupervisor,
    Unasked,
)
from gateway.observe.layout import HEARTBEAT_NS
from gateway.observe.memory import Memory
from gateway.supervise.allocator import with_tunables, without_settings

Key = tuple[str, int]  # what is awaited: the kind of an answer, and its number


class Ended(Exception):
    """The process ended before it answered."""


class Phase(Enum):
    """What a replica is at; the values are what operators read."""

    STARTING = "starting"
    SERVING = "serving"
    RETIRING = "retiring"
    ENDED = "ended"


class Replica:
    """One process, from its start to its exit code.

    Mutable state: `phase`, why we killed it, what it is loading and what it could not load,
    the answers that are awaited, and what it said of itself.
    """

    def __init__(
        self,
        slot: int,
        process: "subprocess.Popen[bytes]",
        memory: Memory,
        channel: Channel[ToReplica, ToSupervisor],
        hear: Callable[["Replica", Unasked], None],
    ) -> None:
        self.slot, self.memory = slot, memory
        self.phase = Phase.STARTING
        self.kill_reason: str | None = None
        self.was_silent = self.was_stopped = False  # when we killed it
        self.started_at, self.began_ns = time.time(), time.monotonic_ns()
        self.was_told_to_end = False
        self.is_prepared = self.is_published = False  # it is asked for all that is served
        self.is_stuck = False  # its loading thread does not come back
        self.lacking: Mapping[str, str] = {}  # of what is served, by digest: why
        self._loading: dict[int, tuple[Assigned, ...]] = {}  # by ticket
        self._process = process
        self._channel = channel
        self._hear = hear
        self._tickets = 0
        self._awaited: dict[Key, asyncio.Future[ToSupervisor | None]] = {}
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    async def spawn(
        cls,
        hello: Hello,
        slots: Sequence[socket.socket],
        hear: Callable[["Replica", Unasked], None],
    ) -> Self:
        """Start a process and greet it. `hear` gets what it says unasked.

        Raises: OSError where no process can be started.
        """
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as undo:
            channel = await open_channel(ours, TO_REPLICA, TO_SUPERVISOR)
            undo.callback(channel.close)
            memory = undo.enter_context(Memory.create())
            # The last that can fail, and no wait after it: nobody else would reap a process.
            process = _execute(theirs, memory, slots)
            undo.pop_all()
        replica = cls(hello.slot, process, memory, channel, hear)
        replica.send(hello)
        return replica

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return not self._ended.done()

    def send(self, message: ToReplica) -> None:
        """Say something; to a process that is gone, nothing."""
        with suppress(Broken):
            self._channel.send(message)

    def dismiss(self, message: Retire | Drain) -> None:
        """Tell the process to end in order."""
        if self.phase is not Phase.ENDED:
            self.phase = Phase.RETIRING
        self.was_told_to_end = True
        self.send(message)

    async def started(self) -> None:
        """Wait until the process runs our code. Raises: Ended."""
        await self._answer("started", 0, None)

    async def prepare(self, versions: tuple[Assigned, ...]) -> Mapping[str, str]:
        """Have the process load versions; return reasons by digest. Raises: Ended."""
        self._tickets += 1
        self._loading[self._tickets] = versions
        heard = await self._answer("prepared", self._tickets, Prepare(self._tickets, versions))
        assert isinstance(heard, Prepared)
        return heard.refused

    async def publish(self, table: Table) -> None:
        """Have callers answered by `table` from now on. Raises: Ended."""
        await self._answer("published", table.revision, Publish(table))

    async def accept(self, slot: int) -> bool:
        """Have connections taken from a slot's socket; say whether they are. Raises: Ended."""
        heard = await self._answer("accepting", slot, Accept(slot))
        assert isinstance(heard, Accepting)
        return heard.accepts

    def loading(self) -> tuple[str, ...]:
        """Return the digests that it is loading, or was when it died."""
        versions = next(iter(self._loading.values()), ())
        return tuple(one.proof.digest for one in versions)

    async def ended(self) -> int:
        """Wait for the end; return the exit code, negative for a signal. Cancel: safe."""
        return await asyncio.shield(self._ended)

    def heartbeat_ns(self) -> int:
        """Return when its loop last turned, in monotonic nanoseconds; 0 before it first did."""
        return self.memory.row(0)[HEARTBEAT_NS]

    def kill(self, reason: str, *, is_silent: bool = False) -> None:
        """End the process now. `is_silent`: because it hung, which is somebody's fault."""
        if self.is_alive and self.kill_reason is None:
            self.kill_reason = reason
            self.was_silent = is_silent
            self.was_stopped = _is_stopped(self.pid)
            self._process.kill()

    async def follow(self) -> int:
        """Hear the process until it has ended; return its exit code.

        Cancel: the process is killed and reaped before the cancellation goes on.
        """
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(self.pid)
        exited = loop.create_future()
        loop.add_reader(pidfd, _settle, exited)
        hearing = asyncio.create_task(self._listen())
        try:
            await exited
        except asyncio.CancelledError:
            self.kill("the supervisor ended")
            raise
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            code = self._process.wait()  # it has exited, or was sent SIGKILL just now
            await self._hang_up(hearing, code)
        return code

    async def _hang_up(self, hearing: "asyncio.Task[None]", code: int) -> None:
        self.phase = Phase.ENDED
        if not self._ended.done():
            self._ended.set_result(code)
        for future in self._awaited.values():
            if not future.done():
                future.set_result(None)
        self._awaited.clear()
        hearing.cancel()
        await asyncio.wait([hearing])
        self._channel.close()

    async def _listen(self) -> None:
        try:
            await self._hear_all()
        except ValueError:  # whoever waits for an answer would wait for ever
            self.kill("it said what is no message")

    async def _hear_all(self) -> None:
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, Unasked):
                self._hear(self, message)
                continue
            if isinstance(message, Prepared):
                self._loading.pop(message.ticket, None)
            future = self._awaited.pop(_key(message), None)
            if future is not None and not future.done():
                future.set_result(message)

    async def _answer(self, kind: str, number: int, question: ToReplica | None) -> ToSupervisor:
        answer: ToSupervisor | None = None
        if self.is_alive:
            key = kind, number
            future = self._awaited.get(key)
            if future is None:
                future = self._awaited[key] = asyncio.get_running_loop().create_future()
            if question is not None:
                self.send(question)
            answer = await asyncio.shield(future)
        if answer is None:
            raise Ended(f"replica {self.slot} (pid {self.pid}) has ended")
        return answer


async def unless_ended(said: Awaitable[None]) -> None:
    """Wait for a replica to answer, or to end."""
    with suppress(Ended):
        await said


def _key(message: ToSupervisor) -> Key:
    match message:
        case Prepared(ticket=number) | Published(revision=number):
            return message.kind, number
        case Accepting(slot=number):
            return message.kind, number
        case Started():
            return message.kind, 0
        case _:
            raise AssertionError(message)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _execute(
    control: socket.socket, memory: Memory, slots: Sequence[socket.socket]
) -> "subprocess.Popen[bytes]":
    numbers = [slot.fileno() for slot in slots]
    return subprocess.Popen(  # noqa: S603 - ourselves
        [
            sys.executable, "-P", "-m", "gateway.app",
            "--control", str(control.fileno()),
            "--telemetry", str(memory.fd),
            "--slots", ",".join(map(str, numbers)),
        ],
        stdin=subprocess.DEVNULL,
        env=with_tunables(without_settings(os.environ)),
        pass_fds=(control.fileno(), memory.fd, *numbers),
        process_group=0,
    )  # fmt: skip


def _is_stopped(pid: int) -> bool:
    """Say whether somebody stopped the process: state T or t in its stat."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False
