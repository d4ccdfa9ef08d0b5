"""The generator against servers that answer, refuse, hang up and say nothing."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import uvloop

from bench.courses import Clients, ClientsReport, Course, Report, playing
from bench.groups import Group, Line
from bench.launch import ROOT, serving
from bench.requests import INFER, READY, Target
from bench.rungs import bare
from bench.surge import play

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
NO = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}"
BYE = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
END = b"END"  # of each body

Manners = Callable[["Host", int], None]  # what is done with the request of that number


class Host(asyncio.Protocol):
    """A server that knows a request by the end of its body."""

    requests = 0

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def say(self, answer: bytes) -> None:
        self.transport.write(answer)

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(END)
        for _ in whole:
            Host.requests += 1
            self._manners(self, Host.requests)


@pytest.fixture
def bodies(tmp_path: Path) -> str:
    file = tmp_path / "bodies"
    file.write_bytes(b"".join(b"%dEND\n" % at for at in range(50)))
    return str(file)


def against(manners: Manners, *clients: Clients, phases_s: tuple[float, ...] = (0.2,)) -> Report:
    """Play in one loop with a host of such manners."""
    Host.requests = 0

    async def scene() -> Report:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Host(manners), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await play(Course(port, phases_s, clients), lambda _: None)
        finally:
            server.close()

    return uvloop.run(scene())


def polite(host: Host, number: int) -> None:
    host.say(OK)


def summed(report: ClientsReport) -> dict[str, int]:
    (phase,) = report.phases
    return dict(phase.answers)


def test_every_request_that_is_due_is_sent_and_answered(bodies: str) -> None:
    report = against(polite, Clients("a", "/", bodies, 8, (500.0,), 1.0, is_regular=True))
    (phase,) = report.clients[0].phases
    assert (phase.offered, phase.good, phase.answers) == (100, 100, {"200": 100})
    assert sum(one.offered for one in report.clients[0].slices) == 100
    assert (report.clients[0].surplus, report.clients[0].unconnected) == (0, 0)


def test_bursts_are_answered_request_by_request(bodies: str) -> None:
    clients = Clients("a", "/", bodies, 8, (800.0,), 1.0, burst=4, is_regular=True)
    (phase,) = against(polite, clients).clients[0].phases
    assert (phase.offered, phase.answers) == (160, {"200": 160})


def test_a_refusal_is_counted_and_not_asked_again(bodies: str) -> None:
    def moody(host: Host, number: int) -> None:
        host.say(NO if number % 4 == 0 else OK)

    clients = Clients("a", "/", bodies, 8, (500.0,), 1.0, is_regular=True)
    assert summed(against(moody, clients).clients[0]) == {"200": 75, "429": 25}


def test_a_closed_loop_keeps_its_connections_busy(bodies: str) -> None:
    (phase,) = against(polite, Clients("a", "/", bodies, 4, None, 1.0)).clients[0].phases
    assert phase.answers["200"] == phase.offered > 100


def test_what_finds_no_connection_is_not_sent(bodies: str) -> None:
    def silent(host: Host, number: int) -> None:
        asyncio.get_running_loop().call_later(0.3, host.say, OK)

    clients = Clients("a", "/", bodies, 3, (500.0,), 0.1, is_regular=True)
    (phase,) = against(silent, clients).clients[0].phases
    assert (phase.offered, phase.unsent) == (100, 97)
    assert (phase.accepted, phase.good) == (3, 0)  # late, all of them


def test_a_connection_that_ends_cuts_what_was_on_its_way_and_another_is_made(bodies: str) -> None:
    def rude(host: Host, number: int) -> None:
        if number % 10 == 0:
            host.transport.abort()
        else:
            host.say(OK)

    clients = Clients("a", "/", bodies, 8, (500.0,), 1.0, is_regular=True)
    assert summed(against(rude, clients).clients[0]) == {"200": 90, "cut": 10}


def test_a_server_that_says_goodbye_loses_nothing(bodies: str) -> None:
    def parting(host: Host, number: int) -> None:
        host.say(BYE if number % 5 == 0 else OK)

    clients = Clients("a", "/", bodies, 16, (500.0,), 1.0, is_regular=True)
    assert summed(against(parting, clients).clients[0]) == {"200": 100}


def test_who_leaves_is_counted_apart_and_harms_no_count(bodies: str) -> None:
    def late(host: Host, number: int) -> None:
        asyncio.get_running_loop().call_later(0.1, say_if_there, host)

    def say_if_there(host: Host) -> None:
        if not host.transport.is_closing():
            host.say(OK)

    clients = Clients("a", "/", bodies, 64, (200.0,), 1.0, leaves_within_s=0.01, is_regular=True)
    (phase,) = against(late, clients).clients[0].phases
    assert (phase.offered, phase.left, phase.answers) == (40, 40, {})


def test_an_answer_that_nobody_asked_for_is_surplus(bodies: str) -> None:
    def generous(host: Host, number: int) -> None:
        host.say(OK + OK)

    clients = Clients("a", "/", bodies, 8, (100.0,), 1.0, is_regular=True)
    assert against(generous, clients).clients[0].surplus > 0


def a_group(bodies: str) -> Group:
    clients = Clients("a", "/", bodies, 1, (10.0,), 1.0, is_regular=True)
    return Group(clients, Course(1, (1.0,), (clients,)))


@pytest.mark.parametrize("size", [1, 5, 7])
def test_an_answer_in_pieces_is_one_answer(bodies: str, size: int) -> None:
    group = a_group(bodies)
    line, text = Line(group), OK + NO
    line.awaited, line.cell = 2, group.cells[0]
    for at in range(0, len(text), size):
        line.data_received(text[at : at + size])
    assert line.awaited == 0
    assert len(group.cells[0].latencies) == 1
    assert group.cells[0].answers == {"429": 1}


@pytest.mark.slow
def test_the_generator_in_its_own_process_says_when_it_begins_and_what_it_saw(
    bodies: str, tmp_path: Path
) -> None:
    rung, target = bare(ROOT / "models"), Target(READY, None)
    with serving(rung, target, None, tmp_path) as server:
        clients = Clients("a", INFER, bodies, 8, (400.0, 100.0), 5.0, is_regular=True)
        with playing(Course(server.port, (0.2, 0.3), (clients,)), None, tmp_path) as player:
            began_s = player.began_s()
            report = player.report()
    assert report.began_s == began_s > 0
    assert [one.answers for one in report.of("a").phases] == [{"200": 80}, {"200": 30}]
