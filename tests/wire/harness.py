"""What the tests of the wire stand on: flows without a model, a transport without a socket,
a server on a free port, and a client that sends exactly what it is told.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h11
import orjson

from gateway.core.stacking import stack
from gateway.errors import Overloaded
from gateway.flow import Flow, Served
from gateway.repository.proof import Found
from gateway.repository.settings import ModelSettings
from gateway.types import Arm, Call, Outputs, Version
from gateway.wire.grammar import read_request_line
from gateway.wire.heads import HeadCache
from gateway.wire.intake import Intake
from gateway.wire.intake import Policy as IntakePolicy
from gateway.wire.keys import NO_KEYS, Keys
from gateway.wire.lane import Lane
from gateway.wire.metadata import Metadata
from gateway.wire.paths import V2_AND_V1, Routes
from gateway.wire.port import Drain, Policy, Port
from gateway.wire.rest import Rest
from gateway.wire.stock import Stock
from tests.fakes import Tallied
from tests.wire.bodies import version
from tests.wire.clerk import Clerk

WAIT_S = 20.0  # for what should come at once, on a busy machine
DOUBLE = version(("x", "FP32", (-1, 2)), outputs=(("y", "FP32", (-1, 2)),))


class Echo(Flow):
    """Answers each call with its own inputs, before `infer` returns."""

    def __init__(self, *versions: Version, draw: Callable[[], int] = lambda: 0) -> None:
        models: dict[str, Served] = {}
        for one in versions or (DOUBLE,):
            known = models.get(one.model)
            arm = Arm(one)
            models[one.model] = Served(arm, {**(known.versions if known else {}), one.version: arm})
        super().__init__(models, {}, draw)

    def infer(self, call: Call) -> None:
        echo(call)


class Desk(Echo):
    """Holds each call until a test answers it."""

    def __init__(self, *versions: Version, draw: Callable[[], int] = lambda: 0) -> None:
        super().__init__(*versions, draw=draw)
        self.calls: list[Call] = []

    def infer(self, call: Call) -> None:
        self.calls.append(call)


def echo(call: Call) -> None:
    call.answer(Outputs(stack([call], call.arm.version.signature), 1), 0, call.rows)


class Ticking:
    """A clock that moves with the loop's, and by what a test says."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> float:
        return self.now + self._loop.time()


class Waiting(Desk):
    """Holds each call, or has no room for it and takes long to say so."""

    def __init__(self, clock: Ticking, *, is_full: bool = False) -> None:
        super().__init__()
        self.clock = clock
        self.is_full = is_full

    def infer(self, call: Call) -> None:
        if self.is_full:
            self.clock.now += 0.05
            call.fail(Overloaded("full"))
        else:
            super().infer(call)


def on_disk(version: Version) -> Found:
    """What would have been found on disk of a version that declares nothing."""
    folder = Path("models") / version.model / version.version
    return Found(version.model, version.version, folder, folder / "model.onnx", ModelSettings())


def monotonic() -> Callable[[], float]:
    """The clock of the running loop, moved: that of a real machine never stands at 0."""
    loop = asyncio.get_running_loop()
    return lambda: 1000.0 + loop.time()


def port_of(
    flow: Flow,
    policy: Policy = Policy(),  # noqa: B008 - frozen
    asking: IntakePolicy = IntakePolicy(),  # noqa: B008 - frozen
    clock: Callable[[], float] | None = None,
    stock: Stock | None = None,
    routes: Routes = V2_AND_V1,
    keys: Keys = NO_KEYS,
) -> Port:
    """A data port before a flow, with the app behind it that the program has."""
    intake = Intake(flow, asking, Tallied(), clock or time.monotonic)
    drain = Drain()
    metadata = Metadata(flow, "gateway", on_disk, is_leaving=drain.is_leaving)
    stock = stock or Stock(Clerk(), flow, False, 100)
    rest = Rest(intake, metadata, stock, policy.max_body_bytes, routes, keys)
    read_line = partial(read_request_line, routes=routes)
    heads = HeadCache(policy.heads, read_line=read_line, keys=keys)
    port = Port(intake, rest, policy, heads, set(), set(), lambda: 1.0, drain=drain)
    if clock is not None:
        port.clock = clock
    return port


# requests


def numbers(*values: float) -> bytes:
    """The body of one row for DOUBLE."""
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": values}
    return orjson.dumps({"inputs": [tensor]})


def request(method: str, path: str, body: bytes = b"", *fields: str, minor: int = 1) -> bytes:
    lines = [f"{method} {path} HTTP/1.{minor}", "host: h", *fields]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def infer(first: float, *fields: str, minor: int = 1) -> bytes:
    """An inference on DOUBLE whose answer is known by its first number."""
    return request("POST", "/v2/models/m/infer", numbers(first, 0), *fields, minor=minor)


# answers


class Answer(NamedTuple):
    """One answer, read by h11. `reason` is left out: nobody reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def first(self) -> float:
        """The first number of an inference on DOUBLE."""
        value: float = self.json["outputs"][0]["data"][0]
        return value

    @property
    def code(self) -> str:
        code: str = self.json["code"]
        return code

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


def answers(raw: bytes, *methods: str) -> list[Answer]:
    """Read all answers of a connection; `methods` were asked with, POST where none is named.

    A 100 counts as an answer of its own. Raises: AssertionError, if one is not whole.
    """
    found: list[Answer] = []
    asked = iter(methods)
    while raw:
        raw = _read_answer(raw, next(asked, "POST"), found)
    return found


def _read_answer(raw: bytes, method: str, found: list[Answer]) -> bytes:
    """Append one answer, and the 100s before it; return what follows."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    body = b""
    status, headers = 0, dict[str, str]()
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.InformationalResponse):
            found.append(Answer(event.status_code, {}, b""))
            if not client.trailing_data[0]:
                return b""
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode(): value.decode() for name, value in event.headers}
            assert len(headers) == len(event.headers), "a header came twice"
        else:
            assert isinstance(event, h11.Data), f"unfinished answer: {raw!r}"
            body += event.data
    found.append(Answer(status, headers, body))
    return client.trailing_data[0]


# a connection without a socket


class Wire(asyncio.Transport):
    """Remembers what is written. Where `holds` is set it closes only when aborted, as one
    does that has something left to write and a client that does not read."""

    def __init__(
        self, holds: bool = False, can_half_close: bool = True, peer: str = "127.0.0.1"
    ) -> None:
        super().__init__({"peername": (peer, 5), "sockname": ("127.0.0.1", 80)})
        self.written = bytearray()
        self.writes = 0
        self.reads = True
        self.is_aborted = False
        self.has_eof = False
        self.is_ended = False
        self._is_closing = False
        self._holds = holds
        self._can_half_close = can_half_close
        self.protocol: asyncio.BaseProtocol | None = None
        self.unsent_bytes = 0

    def write(self, data: "bytes | bytearray | memoryview[int]") -> None:
        assert not self.has_eof
        assert not self._is_closing
        self.writes += 1
        self.written += data

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self._holds:
                self._end()

    def abort(self) -> None:
        self.is_aborted = self._is_closing = True
        self._end()

    def _end(self) -> None:
        self.reads = False
        asyncio.get_running_loop().call_soon(self._lose)

    def _lose(self) -> None:
        assert self.protocol is not None
        if not self.is_ended:
            self.is_ended = True
            self.protocol.connection_lost(None)

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = not self._is_closing

    def can_write_eof(self) -> bool:
        return self._can_half_close

    def write_eof(self) -> None:
        self.has_eof = True


class Line:
    """A lane over a Wire, under the clock of the running loop."""

    def __init__(
        self,
        flow: Flow,
        policy: Policy = Policy(),  # noqa: B008 - frozen
        port: Port | None = None,
        wire: Wire | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.port = port or port_of(flow, policy, clock=monotonic())
        self.lane = Lane(self.port, loop)
        self.wire = wire or Wire()
        self.wire.protocol = self.lane
        self.lane.connection_made(self.wire)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.lane.data_received(piece)

    def answers(self, *methods: str) -> list[Answer]:
        return answers(bytes(self.wire.written), *methods)

    def firsts(self) -> list[float]:
        return [answer.first for answer in self.answers()]

    def statuses(self, *methods: str) -> list[int]:
        return [answer.status for answer in self.answers(*methods)]

    def leave(self) -> None:
        """Let the client go."""
        self.wire.is_ended = True
        self.lane.connection_lost(None)


async def turns(count: int = 20) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


# a server with sockets


class _Counted(Lane):
    """A lane that says when the last of its server's connections is gone."""

    def __init__(
        self, port: Port, loop: asyncio.AbstractEventLoop, none_left: asyncio.Event
    ) -> None:
        super().__init__(port, loop)
        self._none_left = none_left

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._none_left.clear()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self._port.connections:
            self._none_left.set()


@asynccontextmanager
async def listening(port: Port) -> AsyncIterator[tuple[str, int]]:
    """Serve a port on the running loop, on a free port of loopback; give its address."""
    loop, none_left = asyncio.get_running_loop(), asyncio.Event()
    none_left.set()
    server = await loop.create_server(lambda: _Counted(port, loop, none_left), "127.0.0.1", 0)
    try:
        host, number = server.sockets[0].getsockname()[:2]
        yield host, number
    finally:
        server.close()
        for lane in list(port.connections):
            lane.shutdown()
        async with asyncio.timeout(WAIT_S):
            await none_left.wait()
            if port.tasks:
                await asyncio.wait(port.tasks)
            await server.wait_closed()


# clients


@asynccontextmanager
async def peer(
    address: tuple[str, int],
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client on the running loop."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(WAIT_S):
            yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
