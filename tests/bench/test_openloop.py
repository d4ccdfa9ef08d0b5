import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from bench import bare
from bench.arrivals import constant, poisson
from bench.bare import RESPONSE
from bench.openloop import AnswerRefused, Connection, Spin, Stream, is_whole, play
from bench.plans import Plan, Report, StreamPlan
from bench.requests import INFER, READY, write_bodies


class Wire(asyncio.Transport):
    """Keeps what was written; says nothing back."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))


class Line:
    """A stream with its connections, and no network."""

    def __init__(self, connections: int, due: list[float] | None) -> None:
        plan = StreamPlan("digits", INFER, None, connections, None if due is None else 1.0)
        self.faults: list[Exception] = []
        self.stream = Stream(plan, [b"one", b"two"], due, (-1e9, 1e9))
        self.wires = [Wire() for _ in range(connections)]
        self.connections = [Connection(self.stream.settle, self.faults.append) for _ in self.wires]
        for connection, wire in zip(self.connections, self.wires, strict=True):
            connection.connection_made(wire)
            self.stream.join(connection)

    def written(self) -> list[list[bytes]]:
        return [wire.written for wire in self.wires]


@pytest.fixture
def bodies(tmp_path: Path) -> str:
    file = tmp_path / "bodies"
    write_bodies(file, 10)
    return str(file)


def against_null(*streams: StreamPlan, warmup_s: float = 0.05, window_s: float = 0.15) -> Report:
    """Play the streams against the bare server, in one loop."""

    async def scene() -> Report:
        server = await bare.listen(0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await play(Plan(port, warmup_s, window_s, streams))

    return uvloop.run(scene())


def test_every_constant_arrival_is_sent_and_answered(bodies: str) -> None:
    report = against_null(StreamPlan("digits", INFER, bodies, 4, 500.0, "constant"))
    (seen,) = report.streams
    assert (seen.sent, seen.answered) == (100, 100)
    assert len(constant(500.0, 0.2)) == 100
    assert 73 <= seen.measured <= 77  # those due in the last three quarters
    assert 0 < seen.p50_s <= seen.p99_s <= seen.highest_s


def test_every_poisson_arrival_is_sent_and_answered(bodies: str) -> None:
    report = against_null(StreamPlan("digits", INFER, bodies, 4, 500.0, seed=3))
    due = len(poisson(500.0, 0.2, 3))
    assert (report.streams[0].sent, report.streams[0].answered) == (due, due)


def test_streams_of_all_kinds_share_a_loop(bodies: str) -> None:
    report = against_null(
        StreamPlan("busy", INFER, bodies, 2, None),
        StreamPlan("digits", INFER, bodies, 2, 200.0, "constant"),
        StreamPlan("probes", READY, None, 1, 100.0, "constant"),
    )
    assert [stream.name for stream in report.streams] == ["busy", "digits", "probes"]
    assert report.stream("busy").sent == report.stream("busy").answered > 0
    assert report.stream("digits").answered == 40
    assert report.stream("probes").answered == 20
    assert 0 < report.busy_ratio <= 1


def test_a_request_that_finds_no_connection_waits_and_its_wait_counts() -> None:
    line = Line(1, [1.0, 2.0])
    line.stream.advance(5.0)
    assert line.written() == [[b"one"]]
    line.connections[0].data_received(RESPONSE)
    assert line.written() == [[b"one", b"two"]]
    assert line.connections[0].due_s == 2.0  # not the time it was sent
    line.connections[0].data_received(RESPONSE)
    assert line.stream.is_done
    assert line.stream.report().queued == 1


def test_nothing_is_sent_before_it_is_due() -> None:
    line = Line(2, [1.0, 2.0])
    line.stream.advance(0.999)
    assert line.written() == [[], []]
    line.stream.advance(1.0)
    assert line.written() == [[b"one"], []]
    assert not line.stream.is_done


def test_a_late_turn_sends_all_that_is_due_each_on_its_own_connection() -> None:
    line = Line(3, [1.0, 2.0, 3.0])
    line.stream.advance(9.0)
    assert line.written() == [[b"one"], [b"two"], [b"one"]]
    assert line.stream.report().lateness_p99_s == 8.0


def test_a_closed_stream_keeps_every_connection_busy() -> None:
    line = Line(2, None)
    line.stream.advance(0.0)
    line.connections[1].data_received(RESPONSE)
    assert line.written() == [[b"one"], [b"two", b"one"]]


def test_an_answer_in_pieces_is_one_answer() -> None:
    line = Line(1, [0.0])
    line.stream.advance(1.0)
    for at in range(0, len(RESPONSE), 7):
        assert line.stream.answered == 0
        line.connections[0].data_received(RESPONSE[at : at + 7])
    assert (line.stream.answered, line.faults) == (1, [])


def test_an_answer_that_nobody_asked_for_is_a_fault() -> None:
    line = Line(1, [0.0])
    line.connections[0].data_received(RESPONSE)
    assert [type(fault) for fault in line.faults] == [AnswerRefused]


def test_a_connection_lost_in_flight_is_a_fault_and_an_idle_one_is_none() -> None:
    line = Line(2, [0.0])
    line.stream.advance(1.0)
    line.connections[1].connection_lost(None)
    assert line.faults == []
    line.connections[0].connection_lost(None)
    assert [type(fault) for fault in line.faults] == [AnswerRefused]


class Torn(Wire):
    """Cannot be written to."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise RuntimeError("torn")


def test_a_fault_of_the_generator_ends_the_run() -> None:
    async def scene() -> None:
        line = Line(1, [0.0])
        line.connections[0].connection_made(Torn())
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        Spin([line.stream], done).turn()
        await done

    with pytest.raises(RuntimeError, match="torn"):
        asyncio.run(scene())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: nginx\r\n\r\nhi", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", True),
    ],
)
def test_an_answer_is_whole_when_its_length_is_there(answer: bytes, expected: bool) -> None:
    assert is_whole(answer) is expected


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhigh",
    ],
)
def test_anything_but_one_measured_200_is_refused(answer: bytes) -> None:
    with pytest.raises(AnswerRefused):
        is_whole(answer)


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


@pytest.mark.parametrize("answer", [refuse, hang_up])
def test_a_server_that_fails_fails_the_run(answer: Answer, bodies: str) -> None:
    async def scene() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        plan = Plan(port, 0.01, 0.05, (StreamPlan("digits", INFER, bodies, 1, 100.0, "constant"),))
        async with server:
            await play(plan)

    with pytest.raises(AnswerRefused):
        uvloop.run(scene())
