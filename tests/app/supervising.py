"""A supervisor in a test's hands, and the replica it started: a real process.

Job    start `python -P -m gateway.app` as the supervisor does, and speak to it line by line.
Life   `leading` ends with its block: the process is killed if it still lives.
Never  waits without a watchdog.

Each slot has a port of its own, so that a test sees which of them is served.
"""

import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, TypeVar

from pydantic import TypeAdapter

from gateway.config import Config, parse_model
from gateway.config.bounds import bounds_of
from gateway.control.messages import (
    Accept,
    Accepting,
    Assigned,
    Entry,
    Hello,
    Prepare,
    Prepared,
    Publish,
    Published,
    Started,
    Table,
    ToReplica,
    ToSupervisor,
)
from gateway.observe.memory import Memory
from gateway.repository.discover import discover
from gateway.repository.prove import prove
from tests.server import WATCHDOG_S, Wire

_SAID: TypeAdapter[ToReplica] = TypeAdapter(ToReplica)
_HEARD: TypeAdapter[ToSupervisor] = TypeAdapter(ToSupervisor)
Message = TypeVar("Message")


def proved(models: Path, first_row: int = 1) -> tuple[Assigned, ...]:
    """Prove every version below `models`, and give each a row."""
    config = Config()
    found = discover(models, parse_model).found
    proofs = [prove(one, bounds_of(config), config.platform) for one in found]
    return tuple(Assigned(proof, row) for row, proof in enumerate(proofs, start=first_row))


def table_of(versions: tuple[Assigned, ...], revision: int = 1) -> Table:
    """Serve exactly these; the last version of each model answers by default."""
    models: dict[str, dict[str, str]] = {}
    for one in versions:
        models.setdefault(one.proof.found.model, {})[one.proof.found.version] = one.proof.digest
    return Table(revision, {name: Entry([*served][-1], served) for name, served in models.items()})


class Led:
    """A replica as its supervisor has it. Mutable state: what it said and nobody heard yet."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        control: socket.socket,
        memory: Memory,
        sockets: Sequence[socket.socket],
        log: BinaryIO,
    ) -> None:
        self.process = process
        self.memory = memory
        self.sockets = sockets
        self.ports = tuple(one.getsockname()[1] for one in sockets)
        self._log = log
        self.control = control
        control.settimeout(WATCHDOG_S)
        self._lines = control.makefile("rb")
        self._unheard: deque[ToSupervisor] = deque()
        self._tickets = 0

    def say(self, message: ToReplica) -> None:
        self.control.sendall(_SAID.dump_json(message) + b"\n")

    def hear(self, kind: type[Message]) -> Message:
        """Return the next message of a kind; what comes before it waits its turn."""
        for message in tuple(self._unheard):
            if isinstance(message, kind):
                self._unheard.remove(message)
                return message
        while True:
            line = self._lines.readline()
            assert line, f"the replica has ended: {self.process.poll()}"
            message = _HEARD.validate_json(line)
            if isinstance(message, kind):
                return message
            self._unheard.append(message)

    def greet(self, **settings: Any) -> Started:
        config = Config.model_validate(settings)
        self.say(Hello(0, len(self.ports), config.model_dump_json()))
        return self.hear(Started)

    def prepare(self, versions: tuple[Assigned, ...]) -> Mapping[str, str]:
        self._tickets += 1
        self.say(Prepare(self._tickets, versions))
        answer = self.hear(Prepared)
        assert answer.ticket == self._tickets
        return answer.refused

    def publish(self, table: Table) -> None:
        self.say(Publish(table))
        assert self.hear(Published) == Published(table.revision)

    def accept(self, slot: int = 0) -> None:
        self.say(Accept(slot))
        assert self.hear(Accepting) == Accepting(slot)

    def serve(self, versions: tuple[Assigned, ...]) -> None:
        """Have it prepare, publish and accept from the first slot."""
        assert self.prepare(versions) == {}
        self.publish(table_of(versions))
        self.accept()

    def connect(self, slot: int = 0) -> Wire:
        return Wire(socket.create_connection(("127.0.0.1", self.ports[slot]), WATCHDOG_S))

    def die(self) -> None:
        """End as a supervisor does that was killed: nothing is said."""
        self._lines.close()
        self.control.close()

    def said(self) -> str:
        """What it wrote for people so far."""
        self._log.seek(0)
        return self._log.read().decode()

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(WATCHDOG_S)


@contextmanager
def leading(slots: int = 1, sockets: Sequence[socket.socket] = ()) -> Iterator[Led]:
    """Start a replica that was told nothing yet, on slots of its own or on those of another."""
    with ExitStack() as stack:
        if not sockets:
            sockets = [stack.enter_context(_listening()) for _ in range(slots)]
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        memory = stack.enter_context(Memory.create())
        log = stack.enter_context(TemporaryFile())
        with theirs:
            process = _start(theirs.fileno(), memory.fd, [one.fileno() for one in sockets], log)
        stack.enter_context(process)
        stack.callback(process.kill)
        led = Led(process, ours, memory, sockets, log)
        stack.callback(led.die)
        yield led


def _listening() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def _start(
    control: int, telemetry: int, slots: list[int], log: BinaryIO
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            sys.executable, "-P", "-m", "gateway.app",
            "--control", str(control),
            "--telemetry", str(telemetry),
            "--slots", ",".join(map(str, slots)),
        ],
        stdin=subprocess.DEVNULL,
        stderr=log,
        pass_fds=(control, telemetry, *slots),
        process_group=0,
    )  # fmt: skip
