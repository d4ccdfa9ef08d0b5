"""Sockets: what the kernel says, of real connections."""

import asyncio
import math
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import cast

import pytest
import uvloop

from gateway.wire.sockets import silent_s, unsent_bytes
from tests.wire.harness import WAIT_S

TICK_S = 0.1  # several of the kernel's: a machine may stand still for a few


class Half(asyncio.Transport):
    """The half of a transport that is asked what it holds, and of its socket."""

    def __init__(self, held_bytes: int, connection: socket.socket | None) -> None:
        super().__init__({} if connection is None else {"socket": connection})
        self._held_bytes = held_bytes

    def get_write_buffer_size(self) -> int:
        return self._held_bytes


def test_what_the_kernel_holds_is_unsent_too() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert unsent_bytes(Half(5, near)) == 5
        near.send(b"x" * 1000)
        assert unsent_bytes(Half(5, near)) >= 1005
        assert far.recv(1000) == b"x" * 1000
        assert unsent_bytes(Half(5, near)) == 5
    assert unsent_bytes(Half(5, near)) == 5
    assert unsent_bytes(Half(5, None)) == 5
    assert unsent_bytes(None) == 0


def test_the_kernel_knows_when_the_last_of_what_was_sent_came() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        for _ in range(3):
            earliest = time.monotonic()
            near.send(b"x" * 100)
            select.select([far], [], [])
            latest = time.monotonic()
            far.recv(1)  # whether it is read changes nothing
            while time.monotonic() < latest + 2 * TICK_S:
                pass
            before, silence_s, after = time.monotonic(), silent_s(Half(0, far)), time.monotonic()
            assert before - latest - TICK_S < silence_s < after - earliest + TICK_S


class Asking(asyncio.Protocol):
    """Asks the kernel as soon as something comes."""

    def __init__(self, said: asyncio.Future[float]) -> None:
        self._said = said

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._said.set_result(silent_s(self._transport))
        self._transport.close()


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_transports_of_either_loop_are_asked(
    loops: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        said: asyncio.Future[float] = loop.create_future()
        server = await loop.create_server(partial(Asking, said), "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x")
            assert await asyncio.wait_for(said, WAIT_S) < WAIT_S
            writer.close()
            await writer.wait_closed()

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(scene())


def test_where_nobody_knows_it_may_have_been_for_ever() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert silent_s(Half(0, near)) == math.inf, "this is no TCP"
    assert silent_s(Half(0, near)) == math.inf, "it is closed"
    assert silent_s(Half(0, None)) == math.inf
    assert silent_s(None) == math.inf
