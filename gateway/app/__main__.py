"""One replica's process: `python -P -m gateway.app --control FD --telemetry FD --slots FD,FD`.

Job    take what the supervisor left open, become a replica, serve until told to leave.
Life   exit code 0 after a drain, whoever asked for it; 1 with a line if it cannot begin.
Never  outlives its supervisor: see deadman.py.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import uvloop

from gateway.app.deadman import Deadman
from gateway.app.following import Follower, Line
from gateway.app.pulse import Pulse
from gateway.app.rooms import open_rooms
from gateway.app.serving import Server, settings_of
from gateway.app.unplaced import cut_of
from gateway.config import Config
from gateway.control.channel import open_channel
from gateway.control.messages import (
    TO_REPLICA,
    TO_SUPERVISOR,
    Hello,
    Released,
    Started,
)
from gateway.observe.memory import Memory
from gateway.observe.record import Record
from gateway.wire.port import Drain

_START_S = 120.0  # from here to the first beat of the pulse

_log = logging.getLogger("gateway.app")


@dataclass(frozen=True, slots=True)
class Inherited:
    """Descriptors that were open when the process began."""

    control: int
    telemetry: int
    slots: tuple[int, ...]


def main(arguments: Sequence[str]) -> int:
    """Be a replica; return its exit code."""
    logging.basicConfig(format=f"replica {os.getpid()}: %(message)s", level=logging.WARNING)
    inherited = _parsed(arguments)
    deadman = Deadman()
    deadman.renew(_START_S)
    code = 0
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_live(inherited, deadman))
    except* (OSError, ValueError) as errors:  # a certificate that cannot be read, for one
        _log.critical("cannot serve: %s", errors.exceptions[0])
        code = 1
    return code


def _parsed(arguments: Sequence[str]) -> Inherited:
    parser = argparse.ArgumentParser(prog="python -P -m gateway.app")
    for name in ("--control", "--telemetry"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--slots", required=True)
    given = parser.parse_args(arguments)
    slots = tuple(int(number) for number in given.slots.split(","))
    return Inherited(given.control, given.telemetry, slots)


async def _live(inherited: Inherited, deadman: Deadman) -> None:
    channel = await open_channel(socket.socket(fileno=inherited.control), TO_SUPERVISOR, TO_REPLICA)
    hello = await channel.receive()
    if not isinstance(hello, Hello):
        return  # the supervisor died before it greeted us
    config = Config.model_validate_json(hello.settings)
    line = Line(channel)
    memory = Memory.attach(inherited.telemetry)  # never closed: whatever is last is counted too
    async with asyncio.TaskGroup() as tasks:
        async with open_rooms(
            config, memory, line.retired, lambda *_: line.desk, line.say
        ) as replica:
            slots = [socket.socket(fileno=number) for number in inherited.slots]
            settings, pressure = settings_of(config, replica), replica.pressure
            server = Server(settings, replica.drain, slots, pressure.is_high)
            _hear_signals(server, replica.drain, lambda: line.say(Released(hello.slot)))
            pulse = Pulse(Record(memory.row(0)), deadman, replica.drain, server.connections)
            share, cut = replica.keys.meters.share, cut_of(config.models)
            follower = Follower(line, replica.catalog, server, share, cut)
            running = [tasks.create_task(one) for one in (pulse.keep(), follower.follow())]
            line.say(Started(os.getpid()))
            await server.serve(sockets=[])
        for task in running:  # not before: a drain may be hurried, and shows that it lives
            task.cancel()


def _hear_signals(server: Server, drain: Drain, tell: Callable[[], None]) -> None:
    """Drain at the first signal, and tell who keeps us; wait for nobody at the second."""

    def hear() -> None:
        if drain.has_begun():
            drain.cut_short()
        tell()
        server.drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, hear)


def _leave(code: int) -> NoReturn:
    """End at once: a thread that is still inside a model, coming back while Python takes
    itself down, would abort the process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main(sys.argv[1:]))
