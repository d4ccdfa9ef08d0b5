"""Replicas that cannot load what others serve: those go on, and nothing that is served is lost.

The files of a version are overwritten while it is served, and nobody is told.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import kill_replica, wait_for_words
from tests.faults.traffic import traffic
from tests.operating import row, wait_until
from tests.server import Server, get, infer, serving, tensor
from tests.zoo import write_few

pytestmark = pytest.mark.slow

ASK = infer("echo", tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))
OTHER = infer("patient", tensor("x", "INT64", [1], [1]))
CONNECTIONS = 32  # so many that no replica is left out
CALLERS = 8
LESS = "it cannot load all that its predecessor serves"


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    """The file of `echo`, which `server` serves."""
    write_few(tmp_path / "models")
    return tmp_path / "models" / "echo" / "1" / "model.onnx"


@pytest.fixture
def server(tmp_path: Path, onnx: Path) -> Iterator[Server]:
    with serving(tmp_path / "models", tmp_path, replicas=2, drain_timeout_s=2) as running:
        yield running


def by_slot(server: Server) -> dict[int, int]:
    """The pid of who serves in each slot."""
    return {one["slot"]: one["pid"] for one in server.replicas() if one["state"] == "serving"}


def statuses(server: Server, request: bytes = ASK) -> set[int]:
    """What new connections to both replicas hear; who refuses says why."""
    with server.connections(CONNECTIONS) as wires:
        for wire in wires:
            wire.send(request)
        answers = [wire.answer() for wire in wires]
    for answer in answers:
        if answer.status != 200:
            assert answer.json["code"] == "not_ready"
            assert "echo/1" in answer.json["error"]
            assert str(server.folder) not in answer.json["error"]
            assert answer.headers["retry-after"]
    assert len({answer.body for answer in answers if answer.status == 200}) <= 1
    return {answer.status for answer in answers}


def check_lame(server: Server, slot: int) -> None:
    """One replica serves the version, and one does not: the index names it."""
    assert statuses(server) == {200, 503}
    assert statuses(server, OTHER) == {200}
    known = row(server, "echo")
    assert known["state"] == "READY"
    assert f"replica {slot} cannot load it: " in known["reason"]


def wait_until_whole(server: Server) -> None:
    wait_until(
        lambda: statuses(server) == {200} and row(server, "echo")["reason"] == "",
        lambda: row(server, "echo"),
    )
    assert row(server, "echo")["state"] == "READY"


@pytest.mark.parametrize(
    ("control", "seen"), [("none", (503, "not_ready")), ("explicit", (200, None))]
)
def test_where_nobody_can_load_anything_both_ports_say_the_same_of_it(
    onnx: Path, tmp_path: Path, control: str, seen: tuple[int, str | None]
) -> None:
    files = (onnx, tmp_path / "models" / "patient" / "1" / "model.onnx")
    startup = '["echo","patient"]' if control == "explicit" else "[]"
    settings = {"repository__control": control, "repository__startup": startup}
    with serving(tmp_path / "models", tmp_path, replicas=2, **settings) as server:
        for file in files:
            file.write_bytes(b"garbage")
        for slot in (0, 1):
            kill_replica(server, slot)
        answer = server.ask(get("/readyz"))
        with server.admin() as admin:
            beside = admin.get("/readyz")
        assert statuses(server) == {503}
    assert (answer.status, answer.json.get("code")) == seen
    assert (beside.status_code, beside.json().get("code")) == seen


@pytest.mark.parametrize("slot", [0, 1])
def test_who_comes_back_to_other_files_refuses_what_the_other_serves_until_they_are_back(
    server: Server, onnx: Path, slot: int
) -> None:
    content = onnx.read_bytes()
    onnx.write_bytes(b"garbage")
    kill_replica(server, slot)
    lame = by_slot(server)
    check_lame(server, slot)
    onnx.write_bytes(content)
    wait_until_whole(server)
    assert by_slot(server) == lame  # the same process tried again


def test_a_hangup_replaces_nobody_by_who_can_load_less(server: Server, onnx: Path) -> None:
    content = onnx.read_bytes()
    with traffic(server.port, ASK, CALLERS) as tally:
        before = by_slot(server)
        onnx.write_bytes(b"garbage")
        server.process.send_signal(signal.SIGHUP)
        wait_for_words(server, LESS, times=2)
        assert by_slot(server) == before
        known = row(server, "echo")
        assert known["state"] == "READY"
        assert "echo/1/model.onnx: " in known["reason"]  # why its replacement was refused
        assert statuses(server) == {200}

        onnx.write_bytes(content)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_replicas(2, without=set(before.values()))
        wait_until_whole(server)
        tally.wait_for_more(CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}
    assert len(tally.bodies) == 1


def test_a_hangup_leaves_the_only_replica_that_has_a_version_in_its_place(
    server: Server, onnx: Path
) -> None:
    content = onnx.read_bytes()
    onnx.write_bytes(b"garbage")
    kill_replica(server, 0)
    before = by_slot(server)
    server.process.send_signal(signal.SIGHUP)
    wait_for_words(server, LESS)
    server.wait_for_replicas(2, without={before[0]})  # it had nothing to lose
    assert by_slot(server)[1] == before[1]
    check_lame(server, 0)

    onnx.write_bytes(content)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_replicas(2, without={before[1]})
    wait_until_whole(server)


def test_a_load_is_done_when_who_lacked_the_version_serves_it_too(
    server: Server, onnx: Path
) -> None:
    """Its own next attempt may be a minute away."""
    good = onnx.read_bytes()
    onnx.write_bytes(b"garbage")
    kill_replica(server, 0)
    wait_until(lambda: server.complaints().count("cannot be loaded") >= 3, server.complaints)
    onnx.write_bytes(good)
    with server.admin() as admin:
        answer = admin.post("/admin/v1/models/echo/versions/1/load", json={})
    assert answer.status_code == 200, answer.text
    assert statuses(server) == {200}
    assert row(server, "echo")["reason"] == ""
