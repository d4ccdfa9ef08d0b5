"""Traffic: callers that never pause, and who remember each answer and each failure.

Job    keep connections busy with requests while the test does its worst to the server.
Life   `traffic` runs its callers in a thread of their own until the block is left.
Never  retries a request: what fails is a failure, with what came of it.

A caller obeys `connection: close` and then connects anew, as any HTTP client does.
"""

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.server import WATCHDOG_S


@dataclass
class Tally:
    """What the callers have seen so far. Read it while they run, or after."""

    answers: Counter[int] = field(default_factory=Counter)  # by status
    failures: list[str] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)  # the caller's port of what failed once it stood
    connections: int = 0
    bodies: set[bytes] = field(default_factory=set)
    told: threading.Condition = field(default_factory=threading.Condition)

    def tell(self, status: int, body: bytes) -> None:
        with self.told:
            self.answers[status] += 1
            self.bodies.add(body)
            self.told.notify_all()

    def fail(self, what: str, *lost: int) -> None:
        with self.told:
            self.failures.append(what)
            self.lost += lost
            self.told.notify_all()

    def wait_for_more(self, answers: int) -> None:
        """Wait until so many more requests were answered with 200."""
        with self.told:
            wanted = self.answers[200] + answers
            assert self.told.wait_for(lambda: self.answers[200] >= wanted, WATCHDOG_S), self


@contextmanager
def traffic(
    port: int, request: bytes, callers: int = 16, trust: ssl.SSLContext | None = None
) -> Iterator[Tally]:
    """Send `request` again and again over `callers` connections, each in its turn.

    With `trust` they speak TLS, and call on nobody else's certificate.
    """
    tally, stop = Tally(), threading.Event()
    caller = _Caller(port, trust, request, tally, stop)
    thread = threading.Thread(target=lambda: asyncio.run(_call_all(caller, callers)))
    thread.start()
    try:
        tally.wait_for_more(callers)
        yield tally
    finally:
        stop.set()
        thread.join(2 * WATCHDOG_S)
        assert not thread.is_alive(), "a caller was never answered"


@dataclass(frozen=True)
class _Caller:
    port: int
    trust: ssl.SSLContext | None
    request: bytes
    tally: Tally
    stop: threading.Event

    async def call(self) -> None:
        """Ask until told to stop, or until nobody listens."""
        while not self.stop.is_set():
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, ssl=self.trust
                )
            except OSError as error:
                self.tally.fail(f"connect: {error}")
                return
            self.tally.connections += 1
            try:
                await self._ask(reader, writer)
            except (OSError, EOFError, TimeoutError) as error:
                port = writer.get_extra_info("sockname")[1]
                self.tally.fail(f"{type(error).__name__}: {error}", port)
            finally:
                writer.close()
                with suppress(OSError):  # it was told already
                    await writer.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stays = True
        while stays and not self.stop.is_set():
            writer.write(self.request)
            status, stays, body = await asyncio.wait_for(_answer(reader), WATCHDOG_S)
            self.tally.tell(status, body)


async def _call_all(caller: _Caller, callers: int) -> None:
    async with asyncio.timeout(10 * WATCHDOG_S), asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller.call())


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(one[15:]) for one in lines if one.startswith(b"content-length:"))
    body = await reader.readexactly(length)
    return int(lines[0].split()[1]), b"connection: close" not in lines, body
