"""The floor that Python sets: uvloop and httptools, a canned answer, nothing else.

Reads each request whole, as every real server must, and writes the same bytes back.
"""

import asyncio
from typing import cast

import httptools
import uvloop

from bench.requests import ANSWER

RESPONSE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
    + ANSWER
)


class BareProtocol(asyncio.Protocol):
    """One connection; requests are answered in the order their last bytes arrive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._body = b""
        self._transport.write(RESPONSE)


async def listen(port: int) -> asyncio.Server:
    """A bare server on loopback; port 0 takes any free one."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(BareProtocol, "127.0.0.1", port, backlog=2048)


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await listen(port)
    await server.serve_forever()


def run(port: int) -> None:
    """Serve on a fresh uvloop until killed."""
    uvloop.run(serve(port))
