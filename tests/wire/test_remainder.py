"""Remainder: of those who wait at a listening socket none waits for many turns of the loop."""

import asyncio
import socket
from contextlib import ExitStack

import pytest
import uvloop

from gateway.wire.remainder import Remainder

WATCHDOG_S = 30.0
CLIENTS = 200
MOST_TURNS = 20  # 64 are taken in one; then each has its own to be led to its protocol


class Counted(asyncio.Protocol):
    """Knows when all have come."""

    def __init__(self, made: list["Counted"], all_are_there: asyncio.Event) -> None:
        self._made, self._all = made, all_are_there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.append(self)
        self.transport = transport
        if len(self._made) >= CLIENTS:
            self._all.set()


class Turns:
    """Counts the turns of the loop."""

    def __init__(self) -> None:
        self.count = 0
        self._turn()

    def _turn(self) -> None:
        self.count += 1
        asyncio.get_running_loop().call_soon(self._turn)


def test_all_who_wait_are_taken_within_a_few_turns_of_the_loop() -> None:
    async def scene() -> None:
        with ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
            listener.setblocking(False)
            for _ in range(CLIENTS):
                stack.enter_context(socket.create_connection(listener.getsockname(), WATCHDOG_S))
            made: list[Counted] = []
            all_are_there = asyncio.Event()
            remainder = Remainder(listener, lambda: Counted(made, all_are_there))
            loop = asyncio.get_running_loop()
            server = await loop.create_server(remainder.make, sock=listener, backlog=512)
            turns = Turns()
            async with asyncio.timeout(WATCHDOG_S):
                await all_are_there.wait()
            assert turns.count < MOST_TURNS
            for one in made:
                one.transport.close()
            server.close()
            await server.wait_closed()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


def test_a_socket_that_is_closed_meanwhile_is_looked_at_no_more() -> None:
    async def scene() -> None:
        faults: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: faults.append(told))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            remainder = Remainder(listener, asyncio.Protocol)
            server = await loop.create_server(remainder.make, sock=listener)
            remainder.make()
            server.close()
            for _ in range(3):
                await asyncio.sleep(0)
            assert faults == []


def test_a_connection_whose_protocol_cannot_be_made_is_closed() -> None:
    async def scene() -> None:
        def make() -> asyncio.Protocol:
            raise RuntimeError("no protocol")

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            with socket.create_connection(listener.getsockname(), WATCHDOG_S) as client:
                client.setblocking(False)
                with pytest.raises(RuntimeError):
                    Remainder(listener, make).make()
                async with asyncio.timeout(WATCHDOG_S):
                    assert await loop.sock_recv(client, 1) == b""

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
