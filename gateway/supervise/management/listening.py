"""Listening: the management port on its sockets.

Job    accept connections and give each a lane, in the supervisor's event loop.
Life   `open_management` listens until its block is left; what is under way has two
       seconds then.
Never  touches signals, or lets its callers take what the replicas need: connections,
       bodies and times are bounded far below those of the data port.

The lane is the data port's own, so framing, limits and time-outs are too. It is told of
no inference: here its path is as unknown as any other.
"""

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from gateway.config import Config
from gateway.core.routing import Pairs
from gateway.supervise.management.guard import Guard, is_loopback
from gateway.supervise.management.office import Office
from gateway.supervise.management.reception import MAX_BODY_BYTES, Ids, Reception
from gateway.supervise.management.routes import Answers, Settings
from gateway.wire.entrance import Entrance
from gateway.wire.exchange import Exchange
from gateway.wire.failures import Refused
from gateway.wire.grammar import RequestLine, read_request_line
from gateway.wire.heads import HeadCache
from gateway.wire.keys import Keys
from gateway.wire.lane import Lane
from gateway.wire.meters import Meter
from gateway.wire.paths import InferTarget, Routes
from gateway.wire.port import Drain, Policy, Port
from gateway.wire.terms import Terms
from gateway.wire.unpacking import Body

BACKLOG = 128
_GRACE_S = 2.0
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to be recognised
_POLICY = Policy(
    max_body_bytes=MAX_BODY_BYTES,
    max_pipeline_depth=1,
    max_connections=128,
    max_refused=16,
    body_timeout_s=10.0,
    write_timeout_s=10.0,
)


class Unguarded(ValueError):
    """Without tokens the port would be everybody's."""


class Listening:
    """The port while it is open."""

    def __init__(
        self,
        answers: Answers,
        reception: Reception,
        sockets: Sequence[socket.socket],
        entrances: Sequence[Entrance],
    ) -> None:
        self._answers = answers
        self._reception = reception
        self._sockets = sockets
        self._entrances = entrances

    def reload(self, config: Config) -> None:
        """Take the tokens, names, certificates and routes of `config`, for what comes from now on.

        Whether there is TLS at all is settled when the port is opened.
        Raises: Unguarded; OSError, ssl.SSLError; then all stays as it was.
        """
        guard = _guard(config, self._sockets)
        context = _context(config)
        if context is not None:
            for entrance in self._entrances:  # a new one: the old would go on trusting old signers
                entrance.context = context
        self._reception.guard = guard
        self._answers.settings = _settings(config, self._sockets)


class _NoInference(Ids):
    """Stands where the data port has its intake."""

    def start(
        self,
        exchange: Exchange,
        terms: Terms,
        target: InferTarget,
        body: Body,
        now: float,
        headers: Pairs = (),
        since: float | None = None,
    ) -> None:
        """Answer that there is none here."""
        exchange.refuse(Refused(404, "Not Found", code="not_found"))

    def refuse(self, exchange: Exchange, error: Exception, meter: Meter | None = None) -> None:
        """Answer what could not be read; nobody counts these, and there are no quotas."""
        exchange.refuse(error)


class _Connection(Lane):
    """A lane whose end is heard by whoever waits for the last one."""

    def __init__(self, port: Port, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        super().__init__(port, loop)
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._ended.set()

    def abort(self) -> None:
        """End at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def open_management(
    office: Office, config: Config, sockets: Sequence[socket.socket], grace_s: float = _GRACE_S
) -> AsyncIterator[Listening]:
    """Answer on bound sockets, which it owns from now on, until the block is left.

    What is under way then has `grace_s` to end.

    Raises: Unguarded; OSError or ssl.SSLError, where the certificate cannot be read.
    """
    context = _context(config)
    ids = _NoInference()
    answers = Answers(office, _settings(config, sockets))
    reception = Reception(answers, _guard(config, sockets), ids)
    port = Port(
        ids,
        reception,
        _POLICY,
        HeadCache(_POLICY.heads, read_line=_read_line),
        set(),
        set(),
        lambda: random.uniform(0.9, 1.1),  # noqa: S311 - no secret
        drain=Drain(grace_s),
    )
    async with AsyncExitStack() as stack:
        ended = asyncio.Event()
        stack.push_async_callback(_leave, port, ended)
        loop = asyncio.get_running_loop()
        make = partial(_Connection, port, loop, ended)
        entrances = []
        for one in sockets:
            if context is not None:
                entrance = Entrance(one, BACKLOG, context, make)
                entrances.append(await stack.enter_async_context(entrance))
                continue
            server = await loop.create_server(make, sock=one, backlog=BACKLOG)
            stack.callback(server.close)
        yield Listening(answers, reception, sockets, entrances)


async def _leave(port: Port, ended: asyncio.Event) -> None:
    """See off who is connected, within the grace; then end what is left."""
    port.drain.begin()
    for lane in tuple(port.connections):
        lane.shutdown()
    async with port.drain.limit():
        await _none_left(port, ended)
    for lane in (*port.connections, *port.refused):
        lane.abort()
    for task in tuple(port.tasks):
        task.cancel()
    await asyncio.gather(*port.tasks, return_exceptions=True)
    await _none_left(port, ended)


async def _none_left(port: Port, ended: asyncio.Event) -> None:
    while port.connections:
        ended.clear()
        await ended.wait()


def _settings(config: Config, sockets: Sequence[socket.socket]) -> Settings:
    told = config.dialects
    own_port = sockets[0].getsockname()[1]
    return Settings(
        config.server_name,
        _url(config.admin_host, own_port, is_tls=config.admin_tls.certfile is not None),
        _url(config.host, config.port, is_tls=config.tls.certfile is not None),
        Routes.told(told.default_model, told.predict_route, told.health_route),
        config.repository.control == "explicit",
        Keys(config.auth.keys),
    )


def _url(host: str, port: int, *, is_tls: bool) -> str:
    """Return how somebody on this machine reaches a port; 0, which is any, is shown as it is."""
    name = "127.0.0.1" if host in _WILDCARDS else f"[{host}]" if ":" in host else host
    return f"{'https' if is_tls else 'http'}://{name}:{port}"


def _guard(config: Config, sockets: Sequence[socket.socket]) -> Guard:
    """Raises: Unguarded."""
    guard = Guard(config.auth.admin_tokens, known_hosts(config))
    if guard.is_open and not all(is_loopback(one.getsockname()[0]) for one in sockets):
        raise Unguarded(
            "without auth.admin_tokens the management port must stay on a loopback address"
        )
    return guard


def known_hosts(config: Config) -> tuple[str, ...]:
    """Return the names by which the port may be called, beside those of this machine's own."""
    own = (socket.gethostname(),) if config.admin_host in _WILDCARDS else (config.admin_host,)
    return (*own, *config.admin_hosts)


def _read_line(line: bytes) -> RequestLine:
    return read_request_line(line)._replace(infer=None)


def _context(config: Config) -> ssl.SSLContext | None:
    tls = config.admin_tls
    if tls.certfile is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # A password that is missing is a fault, and no question on a terminal.
    context.load_cert_chain(tls.certfile, tls.keyfile, lambda: tls.keyfile_password or "")
    if tls.client_ca is not None:
        context.load_verify_locations(tls.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if tls.min_version == "1.3":
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
