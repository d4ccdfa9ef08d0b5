"""A version is put in, answers, is replaced and is taken out, while callers never pause."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.traffic import traffic
from tests.journeys.plus import (
    answers_of,
    renew,
    replace_folder,
    take,
    wait_for_execution,
    write_plus,
    write_slow_plus,
)
from tests.operating import (
    change,
    load,
    metrics,
    row,
    telemetry,
    unload,
    wait_for_state,
    wait_until,
)
from tests.server import ROOT, WATCHDOG_S, Server, serving
from tests.zoo import LONG, write_echo

pytestmark = pytest.mark.slow

CALLERS = 8
ONE = take("plus", 1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coming") / "models"
    write_echo(root, "echo")
    return root


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    """Two replicas that begin with nothing."""
    with serving(models, models.parent, replicas=2, repository__control="explicit") as running:
        yield running


@pytest.fixture
def plus(server: Server, models: Path) -> Iterator[Path]:
    """A model that is loaded for one test; the folder of its version."""
    folder = write_plus(models, 1)
    assert load(server, "plus").status_code == 200
    yield folder
    shutil.rmtree(folder.parent)
    assert unload(server, "plus").status_code == 200


def command(server: Server, *arguments: str) -> "subprocess.CompletedProcess[str]":
    with server.admin() as admin:
        url = str(admin.base_url)
    return subprocess.run(
        [sys.executable, "-m", "gateway", "models", *arguments, "--gateway", url],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
        check=False,
    )


def by_command(server: Server, what: str, model: str) -> None:
    done = command(server, what, model, "--reason", "a journey")
    assert (done.returncode, done.stderr) == (0, "")
    expected = "READY" if what == "load" else "UNAVAILABLE"
    assert expected in done.stdout


def by_data_port(server: Server, what: str, model: str) -> None:
    answer = (load if what == "load" else unload)(server, model)
    assert (answer.status_code, answer.json()) == (200, {"name": model, what: True})


def by_management_port(server: Server, what: str, model: str) -> None:
    answer = change(server, what, model)
    assert answer.status_code == 200
    (shown,) = answer.json()["versions"]
    assert shown["state"] == ("READY" if what == "load" else "UNAVAILABLE")


def refusal(server: Server, request: bytes) -> tuple[int, str]:
    """What both replicas say, each of them the same."""
    with server.connections(8) as wires:
        for wire in wires:
            wire.send(request)
        answers = [wire.answer() for wire in wires]
    (found,) = {(answer.status, answer.json["code"]) for answer in answers}
    return found


def test_what_is_on_disk_and_not_loaded_is_known_and_what_is_not_there_is_not(
    server: Server,
) -> None:
    assert row(server, "echo") == {
        "name": "echo", "version": "1", "state": "UNAVAILABLE", "reason": "not loaded",
    }  # fmt: skip
    assert refusal(server, take("echo", 1)) == (503, "not_ready")
    assert refusal(server, take("nobody", 1)) == (404, "unknown_model")
    with server.client() as client, server.admin() as admin:
        for path in ("/v2/health/ready", "/readyz"):  # a server without models is a server
            assert client.get(path).status_code == 200
        assert admin.get("/readyz").json() == {"ready": True}


@pytest.mark.parametrize("by", [by_command, by_data_port, by_management_port])
def test_a_version_is_put_in_and_taken_out(
    server: Server, models: Path, by: Callable[[Server, str, str], None]
) -> None:
    """Its folder is copied, it is loaded, answers, is unloaded, and its folder removed."""
    name = by.__name__
    assert refusal(server, take(name, 1)) == (404, "unknown_model")
    folder = write_plus(models, 5, name)
    by(server, "load", name)
    assert answers_of(server, name, 1) == {6}
    assert row(server, name) == {"name": name, "version": "1", "state": "READY", "reason": ""}

    by(server, "unload", name)
    assert refusal(server, take(name, 1)) == (503, "not_ready")
    known = row(server, name)
    assert (known["state"], known["reason"]) == ("UNAVAILABLE", "unloaded")
    shutil.rmtree(folder.parent)
    said = load(server, name).json()["error"]
    assert said.startswith(f"failed to load '{name}', failed to poll from model repository")


def test_a_hangup_loads_nothing_unasked_and_forgets_what_is_gone(
    server: Server, models: Path, plus: Path
) -> None:
    """Somebody else says what is loaded; the disk only says what could be."""
    gone = write_plus(models, 1, "gone")
    assert load(server, "gone").status_code == 200
    assert unload(server, "gone").status_code == 200
    shutil.rmtree(gone.parent)
    write_plus(models, 1, "later")
    write_plus(models, 9, version="2")
    renew(server)
    wait_for_state(server, None, "gone")
    assert refusal(server, take("gone", 1)) == (404, "unknown_model")
    for name, version in (("later", "1"), ("plus", "2")):
        wait_for_state(server, "UNAVAILABLE", name, version)
        assert row(server, name, version)["reason"] == "not loaded"
    assert answers_of(server, "plus", 1) == {2}


def test_a_command_that_is_declined_says_why_and_fails(server: Server) -> None:
    done = command(server, "load", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nobody" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_new_version_answers_who_names_it_alone_and_its_leaving_takes_nothing_from_others(
    server: Server, models: Path, plus: Path
) -> None:
    write_plus(models, 2, version="2")
    with traffic(server.port, ONE, CALLERS) as tally:
        assert answers_of(server, "plus", 1) == {2}  # what is only on disk answers nobody
        assert command(server, "load", "plus", "2").returncode == 0
        assert answers_of(server, "plus", 1) == {2}  # nor does what no document names
        named = ONE.replace(b"plus/infer", b"plus/versions/2/infer")
        answer = server.ask(named)
        assert answer.outputs["y"] == [3]
        assert answer.headers["x-gateway-version"] == "2"
        assert server.ask(ONE).headers["x-gateway-version"] == "1"
        assert command(server, "unload", "plus", "2").returncode == 0
        assert answers_of(server, "plus", 1) == {2}
        assert refusal(server, named) == (503, "not_ready")
        tally.wait_for_more(CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}
    assert len(tally.bodies) == 1
    shutil.rmtree(models / "plus" / "2")


def test_other_files_under_the_same_name_replace_the_old_without_a_gap(
    server: Server, models: Path, plus: Path
) -> None:
    with traffic(server.port, ONE, CALLERS) as tally:
        for more in range(2, 7):
            replace_folder(plus, write_plus(models.parent / "next", more))
            tally.wait_for_more(CALLERS)
            assert answers_of(server, "plus", 1) == {more}  # nobody was told of it
            assert load(server, "plus").status_code == 200
            assert answers_of(server, "plus", 1) == {1 + more}  # all replicas agree from now on
            tally.wait_for_more(CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}
    assert len(tally.bodies) == 6
    infos = [one for one in metrics(server) if one.startswith("gateway_model_info{")]
    assert len([one for one in infos if 'model="plus"' in one]) == 1


def test_a_reload_of_the_same_files_replaces_nothing(server: Server, plus: Path) -> None:
    def keys() -> list[str]:
        return [one["digest"] for one in telemetry(server)["keys"] if one["model"] == "plus"]

    before = keys()
    with traffic(server.port, ONE, CALLERS) as tally:
        assert change(server, "load", "plus", "1").status_code == 200
        tally.wait_for_more(CALLERS)
    assert tally.failures == []
    assert len(tally.bodies) == 1
    assert keys() == before


def test_a_call_that_the_old_files_began_is_answered_by_them_while_the_new_ones_serve(
    server: Server, models: Path
) -> None:
    folder = write_slow_plus(models, 100)
    assert load(server, "slow").status_code == 200
    with server.connect() as wire:
        wire.send(take("slow", LONG))
        wait_for_execution(server, "slow")
        replace_folder(folder, write_slow_plus(models.parent / "next", 200))
        assert load(server, "slow").status_code == 200
        assert answers_of(server, "slow", 1) == {201}
        assert wire.answer().outputs == {"y": [LONG + 100]}
    with server.connect() as wire:
        wire.send(take("slow", LONG))
        wait_for_execution(server, "slow")
        assert unload(server, "slow").status_code == 200
        assert refusal(server, take("slow", 1)) == (503, "not_ready")
        assert wire.answer().outputs == {"y": [LONG + 200]}  # so is what was taken before


def test_what_is_unloaded_under_load_is_answered_or_refused_and_nothing_else(
    server: Server, plus: Path
) -> None:
    with traffic(server.port, ONE, CALLERS) as tally:
        for _ in range(3):
            assert unload(server, "plus").status_code == 200
            assert refusal(server, ONE) == (503, "not_ready")
            assert load(server, "plus").status_code == 200
            assert answers_of(server, "plus", 1) == {2}
            tally.wait_for_more(CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200, 503}
    answered = [body for body in tally.bodies if b'"outputs"' in body]
    assert len(answered) == 1
    assert all(b'"code":"not_ready"' in body for body in tally.bodies if body not in answered)


def test_a_changed_repository_is_followed_at_a_hangup_when_nobody_else_says_what_is_loaded(
    tmp_path: Path,
) -> None:
    models = tmp_path / "models"
    plus = write_plus(models, 1)
    with (
        serving(models, tmp_path, replicas=2) as server,
        traffic(server.port, ONE, CALLERS) as tally,
    ):
        write_plus(models, 7, name="late")
        replace_folder(plus, write_plus(tmp_path / "next", 2))
        assert refusal(server, take("late", 1)) == (404, "unknown_model")
        renew(server)
        wait_for_state(server, "READY", "late")
        # until the last predecessor has gone, connections may lead to it
        wait_until(lambda: answers_of(server, "plus", 1) == {3}, lambda: row(server, "plus"))
        assert answers_of(server, "late", 1) == {8}

        shutil.rmtree(models / "late")
        renew(server)
        wait_for_state(server, None, "late")
        assert refusal(server, take("late", 1)) == (404, "unknown_model")

        refused = check_forbidden(load(server, "plus"))
        assert "explicit model load / unload is not allowed if polling is enabled" in refused
        check_forbidden(unload(server, "plus"))
        assert change(server, "unload", "plus").status_code == 200  # an operator may
        assert refusal(server, ONE) == (503, "not_ready")
        assert change(server, "load", "plus").status_code == 200
        tally.wait_for_more(CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200, 503}


def check_forbidden(answer: httpx.Response) -> str:
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    said: str = answer.json()["error"]
    return said
