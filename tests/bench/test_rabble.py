import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import uvloop

from bench.rabble import Rabble


class Seat(asyncio.Protocol):
    """Keeps what a stranger said."""

    def __init__(self, seats: "list[Seat]") -> None:
        seats.append(self)
        self.heard = b""
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True


def play(scene: Callable[[int, list[Seat]], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        seats: list[Seat] = []
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Seat(seats), "127.0.0.1", 0)
        try:
            async with asyncio.timeout(30):
                await scene(server.sockets[0].getsockname()[1], seats)
        finally:
            server.close()

    uvloop.run(whole())


async def until(is_so: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    seen = loop.create_future()

    def look() -> None:
        if is_so():
            seen.set_result(None)
        else:
            loop.call_later(0.001, look)

    look()
    await seen


def test_the_slow_say_a_byte_at_a_time_in_turn_and_never_end() -> None:
    async def scene(port: int, seats: list[Seat]) -> None:
        rabble = Rabble(port, slow=4, idle=2)
        await rabble.connect()
        await until(lambda: sum(bool(seat.heard) for seat in seats) == 4)
        begun = sum(len(seat.heard) for seat in seats)
        for turn in range(8):
            rabble.advance(1000.0 + turn / 4)
            rabble.advance(1000.0 + turn / 4)  # nothing is due twice
        await until(lambda: sum(len(seat.heard) for seat in seats) == begun + 8)
        heads = [b"\r\n\r\n" in seat.heard for seat in seats if seat.heard]
        assert sorted(heads) == [False, False, True, True]
        assert {seat.transport.get_extra_info("peername")[0] for seat in seats} == {"127.0.1.1"}
        rabble.close()
        await until(lambda: all(seat.is_over for seat in seats))
        assert rabble.reconnected == 0

    play(scene)


def test_who_is_turned_out_comes_again() -> None:
    async def scene(port: int, seats: list[Seat]) -> None:
        rabble = Rabble(port, slow=1, idle=1)
        await rabble.connect()
        await until(lambda: len(seats) == 2)
        for seat in list(seats):
            seat.transport.abort()
        await until(lambda: len(seats) == 4)
        assert rabble.reconnected == 2
        rabble.close()

    play(scene)
