"""More clients than do any good: they wait, hold, stall or say nothing, and others are served."""

import resource
import select
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.faults.crowd import check_health
from tests.faults.test_slow_clients import BEGINS, drip, has_answer, send_some
from tests.journeys.plus import renew
from tests.operating import wait_until
from tests.server import WATCHDOG_S, Server, Wire, get, serving
from tests.zoo import write_zoo

pytestmark = pytest.mark.slow

MIB = 1 << 20
BODY = b"POST /v2/models/free/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


@contextmanager
def crowded(tmp_path: Path, **limits: object) -> Iterator[Server]:
    with serving(write_zoo(tmp_path / "models"), tmp_path, **limits) as server:
        yield server


def pid_of(server: Server) -> int:
    (replica,) = server.replicas()
    pid: int = replica["pid"]
    return pid


def test_idle_and_slow_connections_cost_others_nothing_and_little_memory(tmp_path: Path) -> None:
    with crowded(tmp_path) as server:
        check_health(server, 3)
        before = server.rss_bytes()
        with server.connections(400) as idle, server.connections(200) as slow:
            for at, wire in enumerate(slow):
                wire.send(BEGINS["head" if at % 2 else "body"])
            for _ in range(20):
                for wire in slow:
                    drip(wire)
                check_health(server, 3)
            assert not any(map(has_answer, idle))
            assert server.rss_bytes() - before < 600 * 32 * 1024
            assert idle[0].ask(get("/livez")).status == 200  # it may still speak
        check_health(server)
        assert server.complaints() == ""


def test_bodies_that_do_not_end_are_held_as_far_as_there_is_room(tmp_path: Path) -> None:
    """Twelve clients send 20 MiB each of 60: there is room for 64, and the others hear so."""
    limits = {"limits__max_unfinished_bytes": 64 * MIB, "limits__body_timeout_s": 60}
    with crowded(tmp_path, **limits) as server, server.connections(12) as wires:
        check_health(server, 3)
        before = server.rss_bytes()
        begun = BODY % (60 * MIB) + bytes(20 * MIB)
        unsent = {wire: memoryview(begun) for wire in wires}
        for wire in wires:
            wire.socket.setblocking(False)
        while any(len(rest) and not has_answer(wire) for wire, rest in unsent.items()):
            select.select([], wires_of(unsent), [], WATCHDOG_S)
            for wire in wires:
                unsent[wire] = unsent[wire][send_some(wire, unsent[wire]) :]
            assert server.rss_bytes() - before < 200 * MIB
        check_health(server)
        told = [wire for wire in wires if has_answer(wire)]
        assert len(told) >= 9 - 1  # three fit whole; one may be on its way to be told
        for wire in told:
            wire.socket.settimeout(WATCHDOG_S)
            answer = wire.answer()
            assert (answer.status, answer.json["code"]) == (429, "overloaded")
            assert answer.closes
        assert server.complaints() == ""


def wires_of(unsent: dict[Wire, memoryview]) -> list[int]:
    return [wire.socket.fileno() for wire, rest in unsent.items() if rest]


def test_who_takes_every_descriptor_keeps_nobody_out_for_longer(tmp_path: Path) -> None:
    """Its limit is lowered while it runs, below what it reckoned with."""
    with crowded(tmp_path) as server:
        pid = pid_of(server)
        check_health(server, 3)
        most = len([*Path(f"/proc/{pid}/fd").iterdir()]) + 20
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        with server.connect() as early:
            assert early.ask(get("/livez")).status == 200
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, hard))
            with ExitStack() as stack:
                for _ in range(100):
                    stack.enter_context(server.connect())
                for _ in range(50):  # who is in is served
                    assert early.ask(get("/livez")).status == 200
        wait_until(lambda: takes_anybody(server), server.complaints)
        for _ in range(5):
            check_health(server)
        assert pid_of(server) == pid


def takes_anybody(server: Server) -> bool:
    """Say whether a new connection is served: those that were too many may still be on their
    way out.
    """
    try:
        check_health(server)
    except ConnectionError:
        return False
    return True


def test_few_descriptors_mean_few_connections(tmp_path: Path) -> None:
    with crowded(tmp_path) as server:
        before = {pid_of(server)}
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (276, 276))
        renew(server)  # whoever is started now has inherited that
        server.wait_for_replicas(1, without=before)
        wait_until(lambda: len(server.replicas()) == 1, server.replicas)  # the old one is gone
        with server.connections(60) as wires:
            for wire in wires:
                wire.send(get("/livez"))
            statuses = [wire.answer().status for wire in wires]
        assert (statuses.count(200), statuses.count(429)) == (20, 40)
        wait_until(lambda: server.ask(get("/livez")).status == 200, server.complaints)
        assert server.complaints() == ""


def test_an_address_has_its_share_of_connections(tmp_path: Path) -> None:
    with crowded(tmp_path, limits__max_connections_per_address=5) as server:
        with server.connections(9) as wires:
            for wire in wires:
                wire.send(get("/livez"))
            statuses = [wire.answer().status for wire in wires]
        assert (statuses.count(200), statuses.count(429)) == (5, 4)
        wait_until(lambda: server.ask(get("/livez")).status == 200, server.complaints)
