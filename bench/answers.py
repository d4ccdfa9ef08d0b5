"""Answers: who answered, of very many requests.

`python -m bench.answers PORT BODIES --connections N --requests N` connects and prints
{"ports": [...]}, those that it calls from. After a line on its standard input it sends, and
when all is answered it prints {"seen": [[port, status, revision, variant, version, count],
...]}. Without `--requests` it sends until the next line.

A connection has up to `--depth` requests in flight, and sends as many as were answered. Of an
answer the status and the headers before x-request-id are read, where ours say who it was; a
search finds them where they begin, whatever lies between.
"""

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, cast

import uvloop

from bench.requests import INFER, Target

NAMES = (b"x-gateway-revision", b"x-gateway-variant", b"x-gateway-version")
FIRST = re.compile(rb"HTTP/1\.1 [0-9]{3} .*?\r\nx-request-id: ", re.DOTALL)
END_S = 10.0


class Caller(asyncio.Protocol):
    """One connection. Mutable state: `seen`, how often each beginning of an answer came."""

    def __init__(self, requests: Sequence[bytes], on_end: Callable[[], None]) -> None:
        self._feed = cycle(requests)
        self._on_end = on_end
        self._rest = b""
        self._left = 0
        self._flying = 0
        self.seen = Counter[bytes]()
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.port = transport.get_extra_info("sockname")[1]

    def connection_lost(self, exc: Exception | None) -> None:
        self._left = 0
        self._on_end()

    def send(self, requests: int, depth: int) -> None:
        """Send so many, at most `depth` at a time."""
        self._left = requests
        self._go_on(depth)

    def stop(self) -> None:
        """Send no more."""
        self._left = 0
        if not self._flying:
            self._on_end()

    def data_received(self, data: bytes) -> None:
        text = self._rest + data
        end = answered = 0
        for found in FIRST.finditer(text):
            self.seen[found[0]] += 1
            answered += 1
            end = found.end()
        self._rest = text[end:]
        self._flying -= answered
        self._go_on(answered)
        if not self._flying and not self._left:
            self._on_end()

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _go_on(self, most: int) -> None:
        count = min(most, self._left)
        self._left -= count
        self._flying += count
        if count:
            self._transport.write(b"".join(islice(self._feed, count)))

    @property
    def unanswered(self) -> int:
        """How many requests nobody answered."""
        return self._flying


def who(first: bytes) -> tuple[int, str, str, str]:
    """Read status, revision, variant and version; an empty text where it is not said."""
    line, *fields = first.split(b"\r\n")
    said = dict(one.split(b": ", 1) for one in fields if b": " in one)
    revision, variant, version = (said.get(name, b"").decode() for name in NAMES)
    return int(line.split()[1]), revision, variant, version


def told(callers: Sequence[Caller]) -> list[list[Any]]:
    """Return what came, by caller; what did not come has status 0."""
    rows: list[list[Any]] = []
    for caller in callers:
        seen = Counter[tuple[int, str, str, str]]()
        for first, count in caller.seen.items():
            seen[who(first)] += count
        if caller.unanswered:
            seen[0, "", "", ""] = caller.unanswered
        rows += [[caller.port, *one, count] for one, count in seen.items()]
    return rows


async def play(given: argparse.Namespace) -> None:
    """Connect, say so, send when told to, and say what came."""
    loop = asyncio.get_running_loop()
    requests = Target(INFER, given.bodies).formatted()
    callers, ends = [], []
    for at in range(given.connections):
        end = asyncio.Event()
        some = requests[at:] + requests[:at]  # no two send the same at a time
        make = partial(Caller, some, end.set)
        _, caller = await loop.create_connection(make, "127.0.0.1", given.port)
        callers.append(caller)
        ends.append(end)
    _say({"ports": [caller.port for caller in callers]})
    await asyncio.to_thread(sys.stdin.readline)
    each = sys.maxsize if given.requests is None else given.requests // given.connections
    for caller in callers:
        caller.send(each, given.depth)
    if given.requests is None:
        await asyncio.to_thread(sys.stdin.readline)
        for caller in callers:
            caller.stop()
        async with asyncio.timeout(END_S):
            await asyncio.gather(*(end.wait() for end in ends))
    else:
        await asyncio.gather(*(end.wait() for end in ends))
    _say({"seen": told(callers)})
    for caller in callers:
        caller.close()


def _say(message: object) -> None:
    print(json.dumps(message), flush=True)


def main() -> None:
    """Play and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.answers")
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--requests", type=int)
    uvloop.run(play(parser.parse_args()))


if __name__ == "__main__":
    main()
