"""Remainder: who else waits behind the connection that the loop has just taken.

Job    take those who wait at a listening socket, 64 in a turn of the loop and not one.
Life   as long as the server whose protocols it makes; what it has taken is led to its protocol.
Never  takes anybody before the loop did, so whatever keeps the loop from it keeps us.

libuv takes one connection in each turn, since few programs have more that wait. Where turns
are long, because many ask, that is a few dozen a second: after a replica was replaced all its
clients come again at once, and the last of them would wait for a minute.
Source: libuv, src/unix/stream.c, `uv__server_io`.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial

_MOST_AT_ONCE = 64


class Remainder:
    """Mutable state: whether it is about to look (`_is_awake`), and who was taken and has no
    protocol yet.
    """

    def __init__(self, listener: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        """`make` gives the protocol of a connection."""
        self._listener = listener
        self._make = make
        self._tasks: set[asyncio.Task[object]] = set()
        self._is_awake = False

    def make(self) -> asyncio.Protocol:
        """Return the protocol of a connection that the loop took, and look for others soon."""
        self._wake()
        return self._make()

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            asyncio.get_running_loop().call_soon(self._take)

    def _take(self) -> None:
        self._is_awake = False
        loop = asyncio.get_running_loop()
        for _ in range(_MOST_AT_ONCE):
            try:
                connected, _ = self._listener.accept()
            except OSError:  # nobody waits; or the loop will meet the same when somebody does
                return
            connected.setblocking(False)
            task = loop.create_task(loop.connect_accepted_socket(self._make, connected))
            self._tasks.add(task)
            task.add_done_callback(partial(self._end, connected))
        self._wake()

    def _end(self, connected: socket.socket, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is not None:
            connected.close()
