"""Channel: typed messages over one end of a socket pair.

Job    send a message whole, receive the next one; the other side's death is an end.
Life   made around a connected socket; `close` may be called at any time.
Never  lets an unread reader make memory grow without end: `send` fails beyond a bound.
"""

import asyncio
import socket
from typing import Generic, TypeVar

from pydantic import TypeAdapter

_MOST_LINE_BYTES = 64 << 20  # a table of a hundred thousand models fits
_MOST_UNSENT_BYTES = 256 << 20

Sent = TypeVar("Sent")
Heard = TypeVar("Heard")


class Broken(Exception):
    """The other side is gone, or does not read."""


class Channel(Generic[Sent, Heard]):
    """One side of a conversation."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sent: TypeAdapter[Sent],
        heard: TypeAdapter[Heard],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._sent = sent
        self._heard = heard

    def send(self, message: Sent) -> None:
        """Send `message` after all that was sent before. Raises: Broken."""
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            raise Broken("the other side of the control channel is gone or does not read")
        self._writer.write(self._sent.dump_json(message) + b"\n")

    async def receive(self) -> Heard | None:
        """Return the next message, or None when the other side is gone.

        Raises: ValueError for a line that is no message; what follows it is not to be heard.
        Cancel: safe.
        """
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return self._heard.validate_json(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Hang up; the other side hears an end."""
        self._writer.close()


async def open_channel(
    connected: socket.socket, sent: TypeAdapter[Sent], heard: TypeAdapter[Heard]
) -> Channel[Sent, Heard]:
    """Return a channel over a connected stream socket, which it owns from now on."""
    reader, writer = await asyncio.open_unix_connection(sock=connected, limit=_MOST_LINE_BYTES)
    return Channel(reader, writer, sent, heard)
