"""Traffic: callers that never pause, and who remember each answer and each failure.

Job    keep connections busy with requests while the test does its worst to the server.
Life   `traffic` runs its callers in a thread of their own until the block is left.
Never  retries a request: what fails is a failure, with what came of it.

A caller obeys `connection: close` and then connects anew, as any HTTP client does.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.server import WATCHDOG_S


@dataclass
class Tally:
    """What the callers have seen so far. Read it while they run, or after."""

    answers: Counter[int] = field(default_factory=Counter)  # by status
    failures: list[str] = field(default_factory=list)
    connections: int = 0
    bodies: set[bytes] = field(default_factory=set)
    told: threading.Condition = field(default_factory=threading.Condition)

    def tell(self, status: int, body: bytes) -> None:
        with self.told:
            self.answers[status] += 1
            self.bodies.add(body)
            self.told.notify_all()

    def fail(self, what: str) -> None:
        with self.told:
            self.failures.append(what)
            self.told.notify_all()

    def wait_for_more(self, answers: int) -> None:
        """Wait until so many more requests were answered with 200."""
        with self.told:
            wanted = self.answers[200] + answers
            assert self.told.wait_for(lambda: self.answers[200] >= wanted, WATCHDOG_S), self


@contextmanager
def traffic(port: int, request: bytes, callers: int = 16) -> Iterator[Tally]:
    """Send `request` again and again over `callers` connections, each in its turn."""
    tally, stop = Tally(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_call_all(port, request, callers, tally, stop))
    )
    thread.start()
    try:
        tally.wait_for_more(callers)
        yield tally
    finally:
        stop.set()
        thread.join(2 * WATCHDOG_S)
        assert not thread.is_alive(), "a caller was never answered"


async def _call_all(
    port: int, request: bytes, callers: int, tally: Tally, stop: threading.Event
) -> None:
    async with asyncio.timeout(10 * WATCHDOG_S), asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(_call(port, request, tally, stop))


async def _call(port: int, request: bytes, tally: Tally, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            tally.fail(f"connect: {error}")
            return
        tally.connections += 1
        stays = True
        try:
            while stays and not stop.is_set():
                writer.write(request)
                status, stays, body = await asyncio.wait_for(_answer(reader), WATCHDOG_S)
                tally.tell(status, body)
        except (OSError, EOFError, TimeoutError) as error:
            tally.fail(f"{type(error).__name__}: {error}")
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(one[15:]) for one in lines if one.startswith(b"content-length:"))
    body = await reader.readexactly(length)
    return int(lines[0].split()[1]), b"connection: close" not in lines, body
