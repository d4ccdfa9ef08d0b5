"""SIGTERM: nothing new is taken, what was taken is answered, and the process ends with 0."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import kill_replica
from tests.operating import wait_until
from tests.server import ROOT, WATCHDOG_S, Server, get, infer, serving, tensor
from tests.zoo import LONG, write_few

pytestmark = pytest.mark.slow

X = tensor("x", "FP32", [1, 4], [1, 2, 3, 4])
SLOW = infer("patient", tensor("x", "INT64", [1], [LONG]))
CONNECTIONS = 32  # so many that no replica is left out


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(write_few(tmp_path / "models"), tmp_path, default_deadline_s=60) as running:
        yield running


def drain(server: Server, by: signal.Signals = signal.SIGTERM) -> None:
    """Ask the process to end, and return when it takes no more connections."""
    server.process.send_signal(by)
    latest = time.monotonic() + WATCHDOG_S
    while not server.refuses_connections():
        assert time.monotonic() < latest


def test_a_request_in_flight_is_answered_and_its_connection_closed(server: Server) -> None:
    with server.connect() as wire:
        wire.ask(get("/v2/health/live"))
        wire.send(SLOW)
        server.ask(get("/v2/health/live"))  # read after the slow one was
        drain(server)
        answer = wire.answer()
        assert answer.outputs == {"y": [LONG]}
        assert answer.closes
        assert wire.is_ended()
    assert server.process.wait(WATCHDOG_S) == 0
    assert server.complaints() == ""


def test_a_pipeline_in_flight_is_answered_to_its_end(server: Server) -> None:
    with server.connect() as wire:
        wire.send(SLOW + infer("echo", X) + get("/v2/health/live"))
        server.ask(get("/v2/health/live"))
        drain(server)
        answers = [wire.answer() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert [answer.closes for answer in answers] == [False, False, True]
        assert wire.is_ended()
    assert server.process.wait(WATCHDOG_S) == 0


@pytest.mark.parametrize("sent", [10, 60, -5], ids=["in its line", "in its head", "in its body"])
def test_a_request_that_had_begun_may_end_and_is_answered(server: Server, sent: int) -> None:
    whole = infer("echo", X)
    with server.connect() as wire:
        wire.ask(get("/v2/health/live"))
        wire.send(whole[:sent])
        server.ask(get("/v2/health/live"))
        drain(server)
        wire.send(whole[sent:])
        answer = wire.answer()
        assert (answer.outputs, answer.closes) == ({"y": [1.0, 2.0, 3.0, 4.0]}, True)
        assert wire.is_ended()
    assert server.process.wait(WATCHDOG_S) == 0


def test_connections_that_wait_for_nothing_are_closed_in_order(server: Server) -> None:
    with server.connections(20) as wires:
        for wire in wires[:10]:
            assert wire.ask(infer("echo", X)).status == 200
        for wire in wires[10:]:
            assert wire.ask(get("/v2/health/live")).status == 200
        assert server.stop() == 0
        assert all(wire.is_ended() for wire in wires)
    assert server.complaints() == ""


def test_what_waits_longer_than_the_drain_may_last_is_told_so(tmp_path: Path) -> None:
    """The second waits for a thread that the first holds; neither is left without a word."""
    models = write_few(tmp_path / "models")
    with serving(models, tmp_path, drain_timeout_s=1, default_deadline_s=60) as server:
        with server.connect() as wire, server.connect() as second:
            wire.ask(get("/v2/health/live"))
            wire.send(infer("patient", tensor("x", "INT64", [1], [8 * LONG])))
            second.send(infer("patient", tensor("x", "INT64", [1], [8 * LONG])))
            server.ask(get("/v2/health/live"))
            drain(server)
            for one in (wire, second):
                answer = one.answer()
                assert answer.status in (200, 503)
                assert answer.closes
        assert server.process.wait(WATCHDOG_S) == 0
        assert server.complaints() == ""


def test_a_second_interrupt_waits_for_nobody(tmp_path: Path) -> None:
    """The call outlasts the watchdog, and so would the drain."""
    settings = {"drain_timeout_s": 4 * WATCHDOG_S, "default_deadline_s": 4 * WATCHDOG_S}
    models = write_few(tmp_path / "models")
    with serving(models, tmp_path, **settings) as server, server.connect() as wire:
        wire.ask(get("/v2/health/live"))
        wire.send(infer("patient", tensor("x", "INT64", [1], [10**12])))
        server.ask(get("/v2/health/live"))
        drain(server, signal.SIGINT)
        server.process.send_signal(signal.SIGINT)
        answer = wire.answer()
        assert (answer.status, answer.json["code"], answer.closes) == (503, "draining", True)
        assert server.process.wait(WATCHDOG_S) == 0
        assert server.complaints() == ""


@pytest.mark.parametrize("path", ["/v2/health/ready", "/readyz", "/ready"])
def test_a_probe_hears_that_the_server_drains_but_lives(server: Server, path: str) -> None:
    probes = [get(path), get("/v2/health/live")]
    with server.connections(2) as wires:
        for wire, probe in zip(wires, probes, strict=True):
            wire.ask(get("/v2/health/live"))
            wire.send(probe[:-1])
        server.ask(get("/v2/health/live"))
        drain(server)
        for wire, probe in zip(wires, probes, strict=True):
            wire.send(probe[-1:])
        ready, live = (wire.answer() for wire in wires)
        assert (ready.status, ready.json["code"], ready.closes) == (503, "draining", True)
        assert (live.status, live.json, live.closes) == (200, {"live": True}, True)
    assert server.process.wait(WATCHDOG_S) == 0


def test_a_port_in_use_is_one_line_and_exit_code_1(server: Server, tmp_path: Path) -> None:
    models = str(tmp_path / "models")
    command = [sys.executable, "-m", "gateway", "serve", "--models", models]
    second = subprocess.run(
        [*command, "--port", str(server.port)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
        check=False,
    )
    line = f"gateway: cannot listen on 127.0.0.1:{server.port}: Address already in use\n"
    assert (second.returncode, second.stdout, second.stderr) == (1, "", line)
    assert server.ask(infer("echo", X)).status == 200


def test_a_server_takes_the_port_that_another_has_just_left(tmp_path: Path) -> None:
    models = write_few(tmp_path / "models")
    with serving(models, tmp_path) as first, first.connect() as wire:
        wire.ask(get("/v2/health/live"))
        assert first.stop() == 0
        with socket.create_server(("127.0.0.1", first.port)):  # nobody is left on it
            pass


def heard(server: Server, request: bytes) -> set[tuple[int, str, bool]]:
    """What both replicas say to new callers: status, code if there is one, and whether to leave."""
    with server.connections(CONNECTIONS) as wires:
        for wire in wires:
            wire.send(request)
        answers = [wire.answer() for wire in wires]
    return {(one.status, one.json.get("code", ""), one.closes) for one in answers}


def check_withdrawn(server: Server) -> None:
    """Everybody serves, fails readiness, and asks its callers to leave."""
    assert heard(server, get("/readyz")) == {(503, "draining", True)}
    assert heard(server, infer("echo", X)) == {(200, "", True)}
    with server.admin() as admin:
        answer = admin.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")
        assert "shutting down" in answer.json()["error"]


def test_before_a_drain_all_is_served_and_who_is_started_then_asks_callers_to_leave_as_well(
    tmp_path: Path,
) -> None:
    """Readiness fails meanwhile; a second signal ends it, and nobody had to wait."""
    models = write_few(tmp_path / "models")
    with serving(models, tmp_path, replicas=2, pre_drain_s=4 * WATCHDOG_S) as server:
        with server.connections(CONNECTIONS) as wires:
            for wire in wires:
                assert not wire.ask(infer("echo", X)).closes
            server.process.send_signal(signal.SIGTERM)
            wait_until(
                lambda: {status for status, _, _ in heard(server, get("/readyz"))} == {503},
                server.replicas,
            )
            for wire in wires:  # who was there before is served as well, and asked to leave
                answer = wire.ask(infer("echo", X))
                assert (answer.outputs, answer.closes) == ({"y": [1.0, 2.0, 3.0, 4.0]}, True)
                assert wire.is_ended()
        check_withdrawn(server)
        for slot in range(2):
            kill_replica(server, slot)
            check_withdrawn(server)
        assert server.process.poll() is None
        assert server.stop() == 0
        assert server.refuses_connections()


def test_the_time_before_a_drain_ends_by_itself(tmp_path: Path) -> None:
    models = write_few(tmp_path / "models")
    with serving(models, tmp_path, pre_drain_s=1) as server, server.connect() as wire:
        assert wire.ask(get("/v2/health/live")).status == 200
        drain(server)
        assert wire.is_ended()
        assert server.process.wait(WATCHDOG_S) == 0
        assert server.complaints() == ""
