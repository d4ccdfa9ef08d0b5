"""A version that passes its proof and kills its replicas: the second death condemns it.

Others are served meanwhile, and whoever asks for it hears why it is gone.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.killers import FATAL, FOR_EVER, mend, write_crashing, write_hanging
from tests.operating import (
    change,
    executing,
    load,
    metrics,
    row,
    state,
    wait_for_state,
    wait_until,
)
from tests.server import Answer, Server, Wire, infer, serving, tensor
from tests.zoo import write_echo

pytestmark = pytest.mark.slow

ECHO = infer("echo", tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))


def take(model: str, number: int) -> bytes:
    return infer(model, tensor("x", "INT64", [1], [number]))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("quarantine")
    models = write_crashing(write_hanging(folder / "models"))
    write_echo(models, "echo")
    with serving(
        models,
        folder,
        replicas=2,
        repository__control="explicit",
        repository__startup='["echo", "crashing", "hanging"]',
        heartbeat_timeout_s=1,
    ) as running:
        yield running


def pids(server: Server) -> set[int]:
    return {one["pid"] for one in server.replicas() if one["state"] == "serving"}


def never_answered(wire: Wire) -> bool:
    """Whether the connection ends without a word."""
    try:
        return wire.socket.recv(1) == b""
    except ConnectionError:
        return True


def kill_by(server: Server, model: str, number: int) -> None:
    """Have one replica die of `number`; return when another stands in its place.

    New connections are answered at once by whoever lives, and wait for nobody's successor.
    """
    before = pids(server)
    with server.connect() as wire:
        wire.send(take(model, number))
        if model == "hanging":  # it takes no connection any more: those queue with its slot
            wait_until(lambda: executing(server, model) > 0, server.replicas)
            with server.connections(8) as others:
                assert never_answered(wire)
                for other in others:
                    assert other.ask(ECHO).status == 200
        assert never_answered(wire)
        for _ in range(8):
            assert server.ask(ECHO).status == 200
    wait_until(lambda: len(pids(server)) == 2 and pids(server) != before, server.replicas)


def ends(server: Server, reason: str) -> float:
    return metrics(server).get(f'gateway_replica_restarts_total{{reason="{reason}"}}', 0)


def check_quarantined(answer: Answer) -> None:
    assert (answer.status, answer.json["code"]) == (503, "not_ready")
    assert "replicas that executed it died" in answer.json["error"]
    assert answer.headers["retry-after"]


@pytest.mark.parametrize(
    ("model", "number", "how"),
    [("crashing", FATAL, "crashed"), ("hanging", FOR_EVER, "unresponsive")],
)
def test_what_kills_twice_is_quarantined_until_an_operator_loads_it(
    server: Server, model: str, number: int, how: str
) -> None:
    harmless = server.ask(take(model, 0))
    assert harmless.status == 200
    ended = ends(server, how)
    kill_by(server, model, number)
    assert state(server, model) == "READY"  # one death is proof of nothing
    kill_by(server, model, number)
    wait_for_state(server, "UNAVAILABLE", model)
    assert ends(server, how) >= ended + 2

    assert "replicas that executed it died" in row(server, model)["reason"]
    with server.connections(8) as wires:  # both replicas say so, and none dies of it
        for wire in wires:
            check_quarantined(wire.ask(take(model, number)))
            check_quarantined(wire.ask(take(model, 0)))
    stays = pids(server)
    assert len(stays) == 2
    assert state(server, "echo") == "READY"

    assert load(server, model).status_code == 200
    assert row(server, model)["reason"] == ""
    with server.connections(8) as wires:
        for wire in wires:
            assert wire.ask(take(model, 0)).body == harmless.body
    assert pids(server) == stays


def test_a_quarantined_version_has_as_many_deaths_to_go_as_any_other(server: Server) -> None:
    assert change(server, "load", "crashing", "1").status_code == 200
    kill_by(server, "crashing", FATAL)
    assert state(server, "crashing") == "READY"
    kill_by(server, "crashing", FATAL)
    wait_for_state(server, "UNAVAILABLE", "crashing")


def test_a_quarantine_outlives_a_look_at_the_disk_until_the_files_are_others(
    tmp_path: Path,
) -> None:
    models = write_crashing(tmp_path / "models")
    write_echo(models, "echo")
    with serving(models, tmp_path, replicas=2) as server:
        for _ in range(2):
            kill_by(server, "crashing", FATAL)
        wait_for_state(server, "UNAVAILABLE", "crashing")
        write_echo(models, "new")
        os.kill(server.process.pid, signal.SIGHUP)
        wait_for_state(server, "READY", "new")
        assert "replicas that executed it died" in row(server, "crashing")["reason"]
        check_quarantined(server.ask(take("crashing", 0)))
        assert server.ask(ECHO).status == 200

        mend(models / "crashing" / "1" / "model.onnx")
        os.kill(server.process.pid, signal.SIGHUP)
        wait_for_state(server, "READY", "crashing")
        assert server.ask(take("crashing", 0)).status == 200
