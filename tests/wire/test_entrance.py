"""Entrance: who does the handshake is let in, whoever else stands at the door."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvloop

from gateway.wire import entrance as module
from gateway.wire.entrance import Entrance
from tests.journeys.test_tls import CERTIFICATE, KEY
from tests.supervise.management.test_listening import bound, trusting

WATCHDOG_S = 30.0
NO_TIME_S = 0.01
Loops = Callable[[], asyncio.AbstractEventLoop]
Address = tuple[str, int]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LOOPS = pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])


class Greeter(asyncio.Protocol):
    """Says so when it is let in, and leaves."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writable = cast("asyncio.WriteTransport", transport)  # uvloop's is one in all but name
        writable.write(b"welcome")
        writable.close()


def play(scene: Callable[[], Awaitable[None]], loops: Loops) -> None:
    async def watched() -> None:
        async with asyncio.timeout(WATCHDOG_S):
            await scene()

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(watched())


@asynccontextmanager
async def opened(
    most: int = 4,
    within_s: float = WATCHDOG_S,
    listener: socket.socket | None = None,
) -> AsyncIterator[Address]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    listener = listener or bound()
    address = listener.getsockname()
    async with Entrance(listener, 16, context, Greeter, most, within_s):
        yield address


async def silent(address: Address) -> Streams:
    return await asyncio.open_connection(*address)


async def is_welcome(address: Address, connected: socket.socket | None = None) -> bool:
    tls = trusting(CERTIFICATE)
    if connected is None:
        reader, writer = await asyncio.open_connection(*address, ssl=tls)
    else:
        connected.setblocking(False)
        reader, writer = await asyncio.open_connection(
            sock=connected, ssl=tls, server_hostname=address[0]
        )
    said = await reader.read()
    writer.close()
    return said == b"welcome"


async def has_ended(streams: Streams) -> bool:
    """Wait for the other end to hang up."""
    reader, writer = streams
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True
    finally:
        writer.close()


@LOOPS
def test_who_does_the_handshake_is_let_in(loops: Loops) -> None:
    async def scene() -> None:
        async with opened() as address:
            assert [await is_welcome(address) for _ in range(8)] == [True] * 8

    play(scene, loops)


@LOOPS
def test_who_says_nothing_is_given_its_time_and_no_more(loops: Loops) -> None:
    async def scene() -> None:
        async with opened(within_s=NO_TIME_S) as address:
            assert await has_ended(await silent(address))

    play(scene, loops)


@LOOPS
def test_of_too_many_the_oldest_is_ended_and_the_newest_let_in(loops: Loops) -> None:
    async def scene() -> None:
        async with opened(most=4) as address:
            waiting = [await silent(address) for _ in range(4)]
            assert await is_welcome(address)
            assert await has_ended(waiting[0])
            waiting += [await silent(address) for _ in range(6)]
            assert [await has_ended(one) for one in waiting[1:6]] == [True] * 5
            assert await is_welcome(address)
            for _, writer in waiting[6:]:
                writer.close()

    play(scene, loops)


@LOOPS
@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"])
def test_who_fails_the_handshake_gives_its_place_back(loops: Loops, said: bytes) -> None:
    async def scene() -> None:
        async with opened(most=1) as address:
            for _ in range(3):
                _, writer = await silent(address)
                writer.write(said)
                writer.close()
                assert await is_welcome(address)

    play(scene, loops)


@LOOPS
def test_whoever_stands_there_at_the_end_is_ended_and_nobody_comes_after(loops: Loops) -> None:
    async def scene() -> None:
        async with opened() as address:
            waiting = [await silent(address) for _ in range(3)]
        assert [await has_ended(one) for one in waiting] == [True] * 3
        with pytest.raises(ConnectionError):
            await silent(address)

    play(scene, loops)


@LOOPS
def test_who_was_taken_just_before_the_end_is_closed(loops: Loops) -> None:
    """Its handshake never begins, so nobody else would close it: a leak is an error here."""

    async def scene() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        listener = bound()
        with socket.create_connection(listener.getsockname()) as client:
            async with Entrance(listener, 16, context, Greeter) as entrance:
                entrance._accept()  # noqa: SLF001 - as the loop does, at the last moment
            client.settimeout(WATCHDOG_S)
            assert client.recv(1) == b""

    play(scene, loops)


class Counting(socket.socket):
    """A listening socket that counts whom it gave."""

    given = 0

    def accept(self) -> tuple[socket.socket, Any]:
        accepted = super().accept()
        self.given += 1
        return accepted


@LOOPS
@pytest.mark.parametrize(("most", "expected"), [(4, [4, 5, 6]), (512, [16, 32, 40])])
def test_in_one_turn_some_are_taken_where_there_is_room_and_else_one(
    loops: Loops, most: int, expected: list[int]
) -> None:
    async def scene() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        listener = Counting(fileno=bound().detach())
        listener.listen(64)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(40)]
        async with Entrance(listener, 64, context, Greeter, most) as entrance:
            given = []
            for _ in range(3):
                entrance._accept()  # noqa: SLF001 - as the loop does in three turns
                given.append(listener.given)
        assert given == expected
        for client in clients:
            client.close()

    play(scene, loops)


@LOOPS
def test_those_who_have_left_make_room_before_the_oldest_does(loops: Loops) -> None:
    async def scene() -> None:
        listener = bound()
        listener.listen(256)
        address = listener.getsockname()
        oldest = socket.create_connection(address)
        for _ in range(200):
            socket.create_connection(address).close()
        async with opened(most=128, listener=listener):
            assert await is_welcome(address)  # so all before it have been taken
            assert await is_welcome(address, oldest)

    play(scene, loops)


class Starved(socket.socket):
    """A listening socket that finds no descriptor for the first who come."""

    lacks = 3

    def accept(self) -> tuple[socket.socket, Any]:
        if self.lacks:
            self.lacks -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@LOOPS
def test_who_came_when_descriptors_were_short_is_let_in_later(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", NO_TIME_S)

    async def scene() -> None:
        listener = Starved()
        listener.bind(("127.0.0.1", 0))
        async with opened(listener=listener) as address:
            assert await is_welcome(address)
            assert listener.lacks == 0

    play(scene, loops)
