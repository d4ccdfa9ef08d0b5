"""Entrance: where connections under TLS stand until their handshake is done.

Job    accept; lead each connection through its handshake to its protocol.
Life   `async with`; owns its listening socket; leaving ends the handshakes under way. Or
       `open` and `close`, which leaves them to their time.
Never  has those kept out who mean it by those who connect and say nothing: handshakes are
       bounded in number and in time, and of too many the oldest is ended.

A server of asyncio's own knows of a connection when its handshake is done, and gives it a
minute: until then descriptors, which replicas need, are anybody's.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Self

_MOST_AT_ONCE = 64
_MOST_A_TURN = 16  # so that those who have left are found out before the oldest makes room for them
_WITHIN_S = 5.0
_AGAIN_S = 1.0  # after an accept that failed for want of descriptors or memory


class Entrance:
    """Mutable state: the `context` of handshakes to come, those under way (`_tasks`), the oldest
    first, and whether a timer is to have it accept again (`_again`).
    """

    def __init__(
        self,
        listener: socket.socket,
        backlog: int,
        context: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
        most: int = _MOST_AT_ONCE,
        within_s: float = _WITHIN_S,
    ) -> None:
        """`make` gives the protocol of a connection; who is in a handshake has made none yet."""
        self._listener, self._backlog = listener, backlog
        self.context, self._make = context, make
        self._most, self._within_s = most, within_s
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._again: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def open(self) -> None:
        """Accept from now on. Raises: OSError."""
        self._loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        self._listener.listen(self._backlog)
        self._open()

    def close(self) -> None:
        """Accept no more; handshakes under way go on."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _open(self) -> None:
        self._again = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Take some of those who wait, as there is room, or else one in the oldest's place."""
        for _ in range(max(1, min(_MOST_A_TURN, self._most - len(self._tasks)))):
            try:
                connected, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # it would be told again at once, for as long as that lasts
                self._loop.remove_reader(self._listener)
                self._again = self._loop.call_later(_AGAIN_S, self._open)
                return
            self._begin(connected)

    def _begin(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        if len(self._tasks) >= self._most:
            oldest = next(iter(self._tasks))
            del self._tasks[oldest]  # now: it takes a turn of the loop to end
            oldest.cancel()
        task = self._loop.create_task(self._lead(connected))
        self._tasks[task] = None
        task.add_done_callback(partial(self._end, connected))

    async def _lead(self, connected: socket.socket) -> None:
        """Do the handshake; who fails it has no protocol to be told."""
        with suppress(OSError):  # TLS errors are such
            await self._loop.connect_accepted_socket(
                self._make, connected, ssl=self.context, ssl_handshake_timeout=self._within_s
            )

    def _end(self, connected: socket.socket, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(task, None)
        if task.cancelled():
            connected.close()  # it may have been so before it began; else for the second time
