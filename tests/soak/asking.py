"""Asking: mutated requests by the hundred thousand, and what came of each.

Job    send them on a few connections, some whose framing is sound one after another, any
       other on a connection of its own; read every answer.
Never  waits for ever: whoever gets no word within the watchdog has found a hang.
"""

import asyncio
import random
import re
from collections import Counter
from dataclasses import dataclass, field

from tests.soak.mutations import Made, corpus, mutate

WATCHDOG_S = 30.0
DEPTH = 16  # requests of one connection that are sent ahead
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")


@dataclass
class Tally:
    """What came: answers by status, connections that ended without a word, and hangs."""

    statuses: Counter[int] = field(default_factory=Counter)
    silent: int = 0
    hung: list[bytes] = field(default_factory=list)
    failed: list[bytes] = field(default_factory=list)  # requests that got a 5xx

    def asked(self) -> int:
        return sum(self.statuses.values()) + self.silent


async def soak(port: int, requests: int, seed: int, framing_ratio: float, callers: int) -> Tally:
    """Send so many requests; return what came of them."""
    tally = Tally()
    share = [requests // callers + (at < requests % callers) for at in range(callers)]
    async with asyncio.TaskGroup() as group:
        for at, count in enumerate(share):
            caller = _Caller(port, random.Random(f"{seed} {at}"), framing_ratio, tally)
            group.create_task(caller.ask(count))
    return tally


class _Caller:
    """One client: it keeps a connection as long as the server does."""

    def __init__(self, port: int, dice: random.Random, framing_ratio: float, tally: Tally) -> None:
        self._port = port
        self._dice = dice
        self._framing_ratio = framing_ratio
        self._tally = tally
        self._seeds = corpus()

    async def ask(self, count: int) -> None:
        while count > 0:
            batch = [self._next() for _ in range(min(count, DEPTH))]
            count -= len(batch)
            await self._pipeline([one.raw for one in batch if one.is_framed])
            for one in batch:
                if not one.is_framed:
                    await self._alone(one.raw)

    def _next(self) -> Made:
        return mutate(self._seeds, self._dice, self._framing_ratio)

    async def _pipeline(self, requests: list[bytes]) -> None:
        """Ask all at once; each is answered in its turn, whatever the others are."""
        if not requests:
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(b"".join(requests))
            for raw in requests:
                try:
                    async with asyncio.timeout(WATCHDOG_S):
                        self._count(await _answer(reader), raw)
                except (TimeoutError, EOFError):
                    self._tally.hung.append(raw)
                    return
        finally:
            writer.close()

    async def _alone(self, raw: bytes) -> None:
        """Ask on a connection of its own, and listen until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(raw)
            async with asyncio.timeout(WATCHDOG_S):
                self._count(await _answer(reader), raw)
        except (EOFError, ConnectionError):
            self._tally.silent += 1
        except TimeoutError:
            self._tally.hung.append(raw)
        finally:
            writer.close()

    def _count(self, status: int, raw: bytes) -> None:
        self._tally.statuses[status] += 1
        if status >= 500:
            self._tally.failed.append(raw)


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read one answer; return its status. Raises: EOFError."""
    head, status = b"", 100
    while status == 100:
        head = await reader.readuntil(b"\r\n\r\n")
        found = _STATUS.match(head)
        assert found is not None, head
        status = int(found[1])
    length = _LENGTH.search(head)
    if length is not None:
        await reader.readexactly(int(length[1]))
    return status
