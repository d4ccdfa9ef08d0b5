"""A supervisor that is killed while documents change: the last word stands, whole."""

import random
import threading
from pathlib import Path

import httpx
import pytest

from tests import zoo
from tests.operating import wait_until
from tests.server import Server, infer, serving, tensor

ROUTES = "/admin/v1/models/echo/routes"
ROUNDS = 4


class Writer(threading.Thread):
    """Changes a document again and again; knows the last revision that was answered."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self.answered = 0
        self.changes = 0

    def run(self) -> None:
        with self._server.admin() as admin:
            try:
                while True:
                    self._change(admin)
            except httpx.TransportError:
                pass  # it was killed

    def _change(self, admin: httpx.Client) -> None:
        before = admin.get(ROUTES).json()
        weight = (self.changes * 7) % 101
        variants = [
            {"name": "stable", "version": "1", "weight": 100 - weight},
            {"name": "canary", "version": "2", "weight": weight},
        ]
        body = before | {"variants": variants, "reason": f"change {before['revision']}"}
        tag = {"if-match": f'"{before["revision"]}"'}
        answer = admin.put(ROUTES, json=body, headers=tag)
        assert answer.status_code == 200, answer.text
        self.answered = answer.json()["revision"]
        self.changes += 1


@pytest.mark.slow
def test_a_supervisor_killed_while_it_changes_documents_loses_none_that_was_answered(
    tmp_path: Path,
) -> None:
    dice = random.Random(2026)
    models = tmp_path / "models"
    for version in ("1", "2"):
        zoo.write_echo(models, "echo", version=version)
    last = 0
    for _ in range(ROUNDS):
        with serving(models, tmp_path, replicas=1) as server:
            with server.admin() as admin:
                found = admin.get(ROUTES).json()
            assert found["revision"] in (last, last + 1) if last else found["revision"] == 1
            assert sum(one["weight"] for one in found["variants"]) == 100
            writer = Writer(server)
            writer.start()
            enough = dice.randint(3, 25)
            wait_until(lambda: writer.changes >= enough, lambda: writer.changes)  # noqa: B023 - it is over when the round is
            server.process.kill()  # another change is on its way
            writer.join()
            last = writer.answered
    with serving(models, tmp_path, replicas=1) as server, server.admin() as admin:
        kept = admin.get(ROUTES + "/revisions").json()["revisions"]
        told = admin.get("/admin/v1/audit", params={"limit": 1000}).json()["entries"]
    revisions = [one["revision"] for one in kept]
    assert revisions == list(range(revisions[0], revisions[-1] - 1, -1))
    assert [one["to"] for one in told] == list(range(revisions[0], 0, -1))
    assert server.complaints().count("Traceback") == 0


@pytest.mark.slow
def test_a_torn_document_takes_its_own_model_out_alone_and_says_which_file_it_is(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    for name in ("echo", "other"):
        zoo.write_echo(models, name)
    file = tmp_path / ".gateway/routes/echo/0000000001.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    with serving(models, tmp_path, replicas=1) as server:
        for name, status in (("echo", 503), ("other", 200)):
            answer = server.ask(infer(name, tensor("x", "FP32", [1, 4], [1, 2, 3, 4])))
            assert answer.status == status
        with server.admin() as admin:
            assert admin.get("/readyz").status_code == 200
            for method in ("GET", "DELETE"):
                answered = admin.request(method, ROUTES, json={"reason": "anew"})
                assert (answered.status_code, answered.json()["code"]) == (503, "not_ready")
                assert "routes/echo/0000000001.json is not the document" in answered.json()["error"]
        assert file.read_text() == "{"
