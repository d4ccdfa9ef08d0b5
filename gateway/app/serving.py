"""Serving: the data port of a replica, on as many listening sockets as it is told.

Job    accept from slots, and leave in one of three ways.
Life   `serve(sockets=[])` until told to leave.
Never  ends what others accept from: a slot's socket lives as long as anybody has it.

Theory of operation. uvicorn keeps connections, TLS and the tick. We keep the listeners,
because it knows of no socket that comes and goes: each slot's is duplicated, and the
duplicate closed when the slot is released, so that what still queues there waits for
whoever accepts next. What was accepted is served on.

    withdraw   readiness fails, every answer says `connection: close`; all else goes on
    retire     accept no more, and the same; end when the last connection has left, or
               when time is nearly up, by a drain
    drain      accept no more, answer what has begun to arrive, close what rests, end;
               the slots are let go, so that with the last of us connections are refused

A client that rests is not cut off by the first two: it might be sending at this moment,
and a request that crosses our end is lost.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from gateway.app.rooms import Replica
from gateway.config import Config
from gateway.wire.entrance import Entrance
from gateway.wire.port import Drain
from gateway.wire.remainder import Remainder

_log = logging.getLogger(__name__)
_BACKLOG = 2048
# A connection is not seen before its handshake; no handshake takes longer.
_UNSEEN_S, _UNSEEN_TLS_S = 0.3, 5.0
_MOST_HANDSHAKES = 512  # under way at once; the oldest gives way to a new one
_LAST_RATIO = 0.2  # of a retirement: for requests that began to arrive before


def settings_of(config: Config, replica: Replica) -> uvicorn.Config:
    """Let uvicorn keep connections, TLS and the tick, and the lane all the rest.

    Raises: OSError where a certificate cannot be read.
    """
    tls = config.tls
    settings = uvicorn.Config(
        replica.rest,
        http=replica.lanes(),  # type: ignore[arg-type]  # it calls what it is given
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ssl_certfile=tls.certfile,
        ssl_keyfile=tls.keyfile,
        ssl_keyfile_password=tls.keyfile_password,
        ssl_ca_certs=None if tls.client_ca is None else str(tls.client_ca),
        ssl_cert_reqs=ssl.CERT_NONE if tls.client_ca is None else ssl.CERT_REQUIRED,
    )
    settings.load()
    if settings.ssl is not None and tls.min_version == "1.3":
        settings.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    return settings


def _never(_now: float) -> bool:
    return False


class Server(uvicorn.Server):
    """uvicorn's, but it leaves by the replica's drain, which others share.

    Its own limit on leaving begins later, takes whole seconds and complains on stderr.
    Mutable state: `_listeners` by slot, the slots that are not accepted from because refusing
    takes too much time (`_paused`), and when a retirement ends.
    """

    def __init__(
        self,
        settings: uvicorn.Config,
        drain: Drain,
        slots: Sequence[socket.socket],
        is_pressed: Callable[[float], bool] = _never,
    ) -> None:
        """`is_pressed` says at a monotonic second whether refusals take too much time."""
        super().__init__(settings)
        self._drain = drain
        self._slots = slots
        self._is_pressed = is_pressed
        self._listeners: dict[int, asyncio.AbstractServer | Entrance] = {}
        self._paused: set[int] = set()
        self._drains_at: float | None = None
        self._last_s = 0.0
        self._seen_at = 0.0  # when there last was a connection

    def connections(self) -> int:
        """Return how many are open."""
        return len(self.server_state.connections)

    async def accept(self, number: int) -> bool:
        """Take connections from a slot's socket; say whether we do: who leaves does not.

        Raises: OSError.
        """
        if self._drains_at is not None or self._drain.has_begun():
            return False
        if number in self._listeners:
            return True
        if self._paused:
            self._paused.add(number)
            return True
        shared = self._slots[number].dup()
        try:
            self._listeners[number] = await self._listen(shared)
        except OSError:
            shared.close()
            raise
        return True

    async def _listen(self, shared: socket.socket) -> asyncio.AbstractServer | Entrance:
        """Raises: OSError."""
        make, context = self._protocol, self.config.ssl
        if context is None:
            loop, others = asyncio.get_running_loop(), Remainder(shared, make)
            return await loop.create_server(others.make, sock=shared, backlog=_BACKLOG)
        entrance = Entrance(shared, _BACKLOG, context, make, _MOST_HANDSHAKES, _UNSEEN_TLS_S)
        entrance.open()
        return entrance

    def release(self, number: int) -> None:
        """Take no more connections from a slot's socket."""
        self._paused.discard(number)
        listener = self._listeners.pop(number, None)
        if listener is not None:
            listener.close()

    def withdraw(self) -> None:
        """Fail readiness and ask every client to leave; serve on."""
        self._drain.withdraw()
        for connection in tuple(self.server_state.connections):
            connection.retire()  # type: ignore[union-attr]  # all of them are lanes

    def retire(self, within_s: float) -> None:
        """See everybody off within so many seconds, then end."""
        for number in tuple(self._listeners):
            self.release(number)
        self.withdraw()
        self._seen_at = now = asyncio.get_running_loop().time()
        self._last_s = within_s * _LAST_RATIO
        self._drains_at = now + within_s - self._last_s

    def drain(self, within_s: float | None = None) -> None:
        """End within so many seconds, or those configured; of several times the first ends."""
        self._drain.begin(within_s)
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """End a retirement in time, or when nobody is left; ten times a second."""
        if self._drains_at is not None:
            now = asyncio.get_running_loop().time()
            if self.connections():
                self._seen_at = now
            unseen_s = _UNSEEN_TLS_S if self.config.ssl else _UNSEEN_S
            if now >= self._drains_at or now - self._seen_at > unseen_s:
                self.drain(self._last_s)
        await self._heed_pressure()
        return await super().on_tick(counter)

    async def _heed_pressure(self) -> None:
        """Accept nobody while refusing takes too much time: new clients wait in the kernel."""
        if self._is_pressed(time.monotonic()):
            numbers = tuple(self._listeners)
            for number in numbers:
                self.release(number)
            self._paused.update(numbers)
        else:
            paused, self._paused = self._paused, set()
            failed = {number for number in paused if not await self._accepts_again(number)}
            self._paused |= failed

    async def _accepts_again(self, number: int) -> bool:
        """Say whether a slot that was paused needs no further try."""
        try:
            await self.accept(number)
        except OSError as error:  # no descriptor, say: there will be
            _log.warning("slot %d cannot be accepted from yet: %s", number, error)
            return False
        return True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin the drain, and wait for the connections until it ends."""
        self._drain.begin()
        for number in tuple(self._listeners):
            self.release(number)
        for slot in self._slots:
            slot.close()
        async with self._drain.limit():
            await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process: uvicorn raises them again when it has obeyed."""
        yield

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn calls it
            config=self.config,
            server_state=self.server_state,
            app_state={},
            _loop=asyncio.get_running_loop(),
        )
        return made
