"""Channel: typed messages over one end of a socket pair.

Job    send a message whole, receive the next one; the other side's death is an end.
Life   made around a connected socket; `close` may be called at any time.
Never  lets an unread reader make memory grow without end: `send` fails beyond a bound.
       Sends what the other side would not read: that would end the conversation there.

A message is a line of JSON. A question that brings files is the one exception: to write
and read tens of megabytes as JSON would hold a loop for as many milliseconds, so they
follow their line as they are, and are taken from the socket a piece at a time. Memory is
touched in the same pieces: to be given so much at once takes the kernel 20 ms.
"""

import asyncio
import socket
from dataclasses import replace
from io import BytesIO
from typing import Generic, TypeVar, cast

from pydantic import TypeAdapter

from gateway.control.messages import Ask, Reply
from gateway.errors import GatewayError

_MOST_LINE_BYTES = 64 << 20  # a table of a hundred thousand models fits
_MOST_UNSENT_BYTES = 256 << 20
_MOST_WITHIN_BYTES = 64 << 10  # parameters of a question; longer ones follow it
_PIECE_BYTES = 256 << 10

Sent = TypeVar("Sent")
Heard = TypeVar("Heard")


class Broken(Exception):
    """What was to be said is not heard: the other side is gone, or does not read."""


class TooLong(Broken):
    """Nor would it read so much at once; whatever is said after it is heard."""


class Channel(Generic[Sent, Heard]):
    """One side of a conversation.

    Mutable state: a question that was read, and what has come of the bytes that follow it
    (`_begun`).
    """

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
        self._begun: tuple[Ask, BytesIO] | None = None

    def send(self, message: Sent) -> None:
        """Send `message` after all that was sent before. Raises: Broken; TooLong.

        An answer that is too long is refused in its place, so that whoever asked hears of it.
        """
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > _MOST_UNSENT_BYTES:
            raise Broken("the other side of the control channel is gone or does not read")
        follow = b""
        if isinstance(message, Ask) and len(message.parameters) > _MOST_WITHIN_BYTES:
            follow = message.parameters
            message = replace(message, parameters=b"", follow_bytes=len(follow))
        line = self._sent.dump_json(message)
        if max(len(line), len(follow)) > _MOST_LINE_BYTES:
            what = f"{max(len(line), len(follow))} bytes are too many to be told at once"
            if not isinstance(message, Reply):
                raise TooLong(what)
            line = self._sent.dump_json(replace(message, body=what, code=GatewayError.code))
        self._writer.write(line + b"\n")
        if follow:
            self._writer.write(follow)

    async def receive(self) -> Heard | None:
        """Return the next message, or None when the other side is gone.

        Raises: ValueError for a line that is no message; what follows it is not to be heard.
        Cancel: safe.
        """
        try:
            if self._begun is None:
                line = await self._reader.readline()
                if not line.endswith(b"\n"):
                    return None
                message = self._heard.validate_json(line)
                if not isinstance(message, Ask) or message.follow_bytes <= 0:
                    return message
                if message.follow_bytes > _MOST_LINE_BYTES:
                    raise ValueError(f"{message.follow_bytes} bytes are over the limit")
                # All its room, now: one that grows is copied, and zeros cost nothing.
                self._begun = message, BytesIO(bytes(message.follow_bytes))
            return await self._rest(*self._begun)
        except ConnectionError:
            return None

    async def _rest(self, ask: Ask, follow: BytesIO) -> Heard | None:
        """Return a question with the bytes that follow it, None if they do not all come."""
        while left_bytes := ask.follow_bytes - follow.tell():
            piece = await self._reader.read(min(_PIECE_BYTES, left_bytes))
            if not piece:
                return None
            follow.write(piece)
        self._begun = None
        return cast("Heard", replace(ask, parameters=follow.getvalue(), follow_bytes=0))

    def close(self) -> None:
        """Hang up; the other side hears an end."""
        self._writer.close()


async def open_channel(
    connected: socket.socket, sent: TypeAdapter[Sent], heard: TypeAdapter[Heard]
) -> Channel[Sent, Heard]:
    """Return a channel over a connected stream socket, which it owns from now on."""
    reader, writer = await asyncio.open_unix_connection(sock=connected, limit=_MOST_LINE_BYTES)
    return Channel(reader, writer, sent, heard)
