"""A replica is killed while it loads what an operator asked for: that load fails, or it does not.

Nothing else changes, and the next one succeeds.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.processes import callers_by_replica, wait_until_opened
from tests.operating import change, row, state
from tests.server import ROOT, WATCHDOG_S, Server, infer, serving, tensor
from tests.zoo import write_echo

pytestmark = pytest.mark.slow

ASK = infer("echo", tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))
MEGABYTES = 100  # reading them takes long enough to be seen at it
WIDTH = 1024
WIDE = infer("wide", tensor("x", "FP32", [1, WIDTH], [0.5] * WIDTH))
CONNECTIONS = 32  # so many that no replica is left out


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model that is served, and one so large that loading it takes a while."""
    root = tmp_path_factory.mktemp("interrupted") / "models"
    write_echo(root, "echo")
    subprocess.run(
        [sys.executable, "-m", "bench.wide", str(root), f"wide={MEGABYTES}"],
        cwd=ROOT,
        timeout=WATCHDOG_S,
        check=True,
    )
    yield root
    shutil.rmtree(root)


def statuses(server: Server, request: bytes) -> set[int]:
    """What new connections to all replicas hear."""
    with server.connections(CONNECTIONS) as wires:
        for wire in wires:
            wire.send(request)
        return {wire.answer().status for wire in wires}


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_load_whose_replica_is_killed_is_declined_with_a_reason_and_the_next_one_succeeds(
    tmp_path: Path, models: Path, replicas: int
) -> None:
    onnx = models / "wide" / "1" / "model.onnx"
    explicit = {"repository__control": "explicit", "repository__startup": '["echo"]'}
    with (
        serving(models, tmp_path, replicas=replicas, **explicit) as server,
        ThreadPoolExecutor(1) as operators,
    ):
        with server.connections(CONNECTIONS) as wires:
            held = callers_by_replica(server, CONNECTIONS)
            victim = server.replicas()[0]["pid"]
            loading = operators.submit(change, server, "load", "wide", "1")
            wait_until_opened(victim, onnx)
            os.kill(victim, signal.SIGKILL)
            for wire in wires:
                if wire.socket.getsockname()[1] not in held[victim]:
                    assert wire.ask(ASK).status == 200
            assert statuses(server, ASK) == {200}  # by the other, or when a successor stands
            answer = loading.result(WATCHDOG_S)
            server.wait_for_replicas(replicas, without={victim})

        assert (answer.status_code, answer.json()["code"]) == (409, "cannot_prepare")
        assert "a replica died while it was loaded" in answer.json()["error"]
        known = row(server, "wide")
        assert known["state"] == "UNAVAILABLE"
        assert "a replica died while it was loaded" in known["reason"]
        assert statuses(server, WIDE) == {503}
        assert state(server, "echo") == "READY"
        assert statuses(server, ASK) == {200}

        assert change(server, "load", "wide", "1").status_code == 200
        assert statuses(server, WIDE) == {200}
        assert statuses(server, ASK) == {200}
        assert row(server, "wide")["reason"] == ""
