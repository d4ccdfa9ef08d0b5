"""Rabble: connections that only cost the server something, beside those that are measured.

Job    keep so many slow senders, a byte a second each, half of them in the head of a request
       and half in its body; keep so many connections that say nothing.
Never  ends a request.

They live in the generator's own process: another one on its processor would interrupt it
more often than all of this costs, and its pauses would be taken for the server's. They call
from other addresses of loopback than the clients do, as strangers would.
"""

import asyncio
from collections import deque
from functools import partial
from typing import cast

from bench.requests import INFER

BYTE_S = 1.0  # between two bytes of one sender
MOST_BEHIND_S = 0.05  # whatever the generator missed beyond that is not made up for
PER_ADDRESS = 250
AGAIN_S = 0.1  # after the server has closed one
HEAD = f"POST {INFER} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n".encode()
LENGTH = b"content-length: 100000\r\n\r\n"
SLOW_HEAD = b"x-slow: " + b"x" * 1000


class Stranger(asyncio.Protocol):
    """One such connection; `text` is what it has to say, byte by byte."""

    def __init__(self, rabble: "Rabble", number: int) -> None:
        self._rabble = rabble
        self.number = number
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._rabble.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self._rabble.lose(self)

    def say(self, text: bytes) -> None:
        self._transport.write(text)

    def close(self) -> None:
        self.is_over = True
        self._transport.abort()


class Rabble:
    """All of them. Mutable state: who is there, and whose byte is due next."""

    def __init__(self, port: int, slow: int, idle: int) -> None:
        self._port = port
        self._slow, self._idle = slow, idle
        self._there: set[Stranger] = set()
        self._turn: deque[Stranger] = deque()  # of the slow, some over by now
        self._due_s = 0.0
        self._is_over = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.reconnected = 0

    async def connect(self) -> None:
        """Connect all. Raises: OSError."""
        for number in range(self._slow + self._idle):
            await self._connect(number)

    async def _connect(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        address = f"127.0.1.{1 + number // PER_ADDRESS}"
        make = partial(Stranger, self, number)
        await loop.create_connection(make, "127.0.0.1", self._port, local_addr=(address, 0))

    def join(self, stranger: Stranger) -> None:
        self._there.add(stranger)
        if stranger.number < self._slow:
            in_body = stranger.number % 2
            stranger.say(HEAD + LENGTH if in_body else HEAD + SLOW_HEAD[:8])
            self._turn.append(stranger)

    def lose(self, stranger: Stranger) -> None:
        """The server has had enough of one: another comes."""
        self._there.discard(stranger)
        if not self._is_over:
            self.reconnected += 1
            asyncio.get_running_loop().call_later(AGAIN_S, self._again, stranger.number)

    def advance(self, now: float) -> None:
        """Send what is due by `now`, at most one byte: they take turns within each second."""
        if now < self._due_s or not self._turn:
            return
        stranger = self._turn.popleft()
        if not stranger.is_over:
            stranger.say(b" " if stranger.number % 2 else b"x")
            self._turn.append(stranger)
        self._due_s = max(self._due_s, now - MOST_BEHIND_S) + BYTE_S / self._slow

    def close(self) -> None:
        """Hang up, all at once."""
        self._is_over = True
        for stranger in list(self._there):
            stranger.close()

    def _again(self, number: int) -> None:
        if not self._is_over:
            task = asyncio.get_running_loop().create_task(self._try(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _try(self, number: int) -> None:
        try:
            await self._connect(number)
        except OSError:
            asyncio.get_running_loop().call_later(AGAIN_S, self._again, number)
