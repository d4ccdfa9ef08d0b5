"""Versions that nobody should load: each is refused by name, and harms no caller of another.

The callers of a healthy model never pause while the worst is tried.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import models_onnx
from tests.faults.hostile import HOSTILE, PROOF_MAX_BYTES, PROOF_TIMEOUT_S, Hostile
from tests.faults.traffic import Tally, traffic
from tests.operating import change, load, row, state, wait_for_state
from tests.repository import outside
from tests.server import Server, infer, serving, tensor
from tests.zoo import write_echo

pytestmark = pytest.mark.slow

ASK = infer("healthy", tensor("x", "FP32", [1, 4], [1, 2, 3, 4]))
X = tensor("x", "FP32", [1, 2], [1, 2])
CALLERS = 4
BY_NAME = {one.name: one for one in HOSTILE}
# What a proof may take is for those that hang; for the others there is no need to wait twice.
QUICK = [one for one in HOSTILE if one.name != "hangs"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("versions") / "models"
    write_echo(root, "healthy")
    for one in HOSTILE:
        one.put(root / one.name)
    return root


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    settings: dict[str, Any] = {
        "replicas": 2,
        "repository__control": "explicit",
        "repository__startup": '["healthy"]',
        "repository__proof_timeout_s": PROOF_TIMEOUT_S,
        "repository__proof_max_bytes": PROOF_MAX_BYTES,
    }
    with serving(models, models.parent, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def calling(server: Server) -> Iterator[Tally]:
    with traffic(server.port, ASK, CALLERS) as tally:
        yield tally


@pytest.fixture
def tally(server: Server, calling: Tally) -> Iterator[Tally]:
    """Who calls the healthy model all the while, and is never let down."""
    replicas = {one["pid"] for one in server.replicas()}
    calling.wait_for_more(CALLERS)
    yield calling
    calling.wait_for_more(10 * CALLERS)
    assert calling.failures == []
    assert set(calling.answers) == {200}
    assert len(calling.bodies) == 1
    assert {one["pid"] for one in server.replicas()} == replicas


def check_reason(reason: str, one: Hostile, models: Path, version: str = "1") -> None:
    """The reason names the version's folder or file, and what is wrong with it.

    Callers of the data port are told it from the model's folder on, operators wholly.
    """
    assert str(models) in reason
    assert f"/{version}" in reason
    for words in one.words:
        assert words in reason


@pytest.mark.parametrize("one", HOSTILE, ids=lambda one: one.name)
def test_a_hostile_version_is_refused_by_name_over_the_data_port(
    server: Server, models: Path, tally: Tally, one: Hostile
) -> None:
    answer = load(server, one.name)
    said = answer.json()
    assert (answer.status_code, said["code"]) == (400, "load_failed")
    assert said["error"].startswith(f"failed to load '{one.name}'")
    check_reason(said["error"], one, Path(one.name))
    known = row(server, one.name)
    assert known["state"] == "UNAVAILABLE"
    check_reason(known["reason"], one, Path(one.name))
    refused = server.ask(infer(one.name, X))
    assert (refused.status, refused.json["code"]) == (503, "not_ready")


@pytest.mark.parametrize("one", QUICK, ids=lambda one: one.name)
def test_a_hostile_version_is_refused_by_name_over_the_management_port(
    server: Server, models: Path, tally: Tally, one: Hostile
) -> None:
    answer = change(server, "load", one.name, "1")
    said = answer.json()
    assert (answer.status_code, said["code"]) == (409, "cannot_prepare")
    check_reason(said["error"], one, models / one.name)
    with server.admin() as admin:
        (shown,) = admin.get(f"/admin/v1/models/{one.name}").json()["versions"]
    assert shown["state"] == "UNAVAILABLE"
    check_reason(shown["reason"], one, models / one.name)


@pytest.mark.parametrize("name", ["of_the_future", "segfaults", "mislabelled"])
def test_a_bad_new_version_of_what_is_served_leaves_the_old_one_serving(
    server: Server, models: Path, tally: Tally, name: str
) -> None:
    """All of a model arrives, or nothing changes."""
    one = BY_NAME[name]
    one.put(models / "healthy", "2")
    try:
        answer = load(server, "healthy")
        assert (answer.status_code, answer.json()["code"]) == (400, "load_failed")
        check_reason(answer.json()["error"], one, Path("healthy"), "2")
        known = row(server, "healthy", "2")
        assert known["state"] == "UNAVAILABLE"
        check_reason(known["reason"], one, Path("healthy"), "2")
        assert row(server, "healthy", "1")["state"] == "READY"
        assert server.ask(ASK).headers["x-gateway-version"] == "1"
    finally:
        shutil.rmtree(models / "healthy" / "2")
    assert load(server, "healthy").status_code == 200
    assert state(server, "healthy", "2") is None


def test_bad_files_in_the_place_of_what_is_served_are_refused_and_it_serves_on(
    server: Server, models: Path, tally: Tally
) -> None:
    """Its reason says why the replacement was refused, as long as it lies there."""
    kept = models.parent / "kept"
    (models / "healthy" / "1").rename(kept)
    one = BY_NAME["truncated"]
    try:
        one.put(models / "healthy")
        assert load(server, "healthy").status_code == 400
        known = row(server, "healthy")
        assert known["state"] == "READY"
        check_reason(known["reason"], one, Path("healthy"))
    finally:
        shutil.rmtree(models / "healthy" / "1")
        kept.rename(models / "healthy" / "1")
    assert load(server, "healthy").status_code == 200
    assert row(server, "healthy") == {
        "name": "healthy", "version": "1", "state": "READY", "reason": "",
    }  # fmt: skip


def test_bad_versions_are_known_with_their_reasons_when_everything_is_loaded_at_the_start(
    tmp_path: Path,
) -> None:
    """Whoever is well is served; a new process, asked for what is on disk then, serves no less."""
    write_echo(tmp_path / "models", "healthy")
    bad = [BY_NAME[name] for name in ("segfaults", "mislabelled", "outside", "truncated")]
    for one in bad:
        one.put(tmp_path / "models" / one.name)
    with (
        serving(tmp_path / "models", tmp_path, replicas=2) as server,
        traffic(server.port, ASK, CALLERS) as tally,
    ):
        for one in bad:
            known = row(server, one.name)
            assert known["state"] == "UNAVAILABLE"
            check_reason(known["reason"], one, Path(one.name))
        BY_NAME["of_the_future"].put(tmp_path / "models" / "healthy", "2")
        before = {one["pid"] for one in server.replicas()}
        os.kill(server.process.pid, signal.SIGHUP)
        wait_for_state(server, "UNAVAILABLE", "healthy", "2")
        server.wait_for_replicas(2, without=before)
        tally.wait_for_more(10 * CALLERS)
    assert tally.failures == []
    assert set(tally.answers) == {200}
    assert len(tally.bodies) == 1


@pytest.mark.parametrize("kind", outside.KINDS)
def test_external_data_that_are_overwritten_and_cut_off_while_they_are_served_change_nothing(
    server: Server, models: Path, tally: Tally, kind: str
) -> None:
    """They would be other answers under the same digest, and then the end of every replica."""
    folder = models / f"outside_{kind}" / "1"
    outside.KINDS[kind](folder / "model.onnx", "w.bin")
    file = outside.write_weights(folder / "w.bin")
    assert load(server, f"outside_{kind}").status_code == 200
    ask = infer(f"outside_{kind}", tensor("x", "FP32", [1, 2], [1, 1]))
    expected = [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [11.0, 21.0]}]

    def answers() -> list[Any]:
        return [server.ask(ask).json["outputs"] for _ in range(8)]

    assert answers() == [expected] * 8
    outside.write_weights(file, (1.0, 2.0))
    assert answers() == [expected] * 8
    os.truncate(file, 0)
    assert answers() == [expected] * 8
    shutil.rmtree(folder.parent)


def test_pipes_under_the_names_of_configurations_hold_nothing_up(
    server: Server, models: Path, tally: Tally
) -> None:
    for name in ("config.pbtxt", "1/model.toml", "1/golden.json", "1/manifest.sha256"):
        folder = models / f"pipe_{name.rpartition('/')[2]}"
        models_onnx.twice(folder / "1" / "model.onnx")
        os.mkfifo(folder / name)
        answer = load(server, folder.name)
        assert (answer.status_code, answer.json()["code"]) == (400, "load_failed")
        assert f"{folder.name}/{name}" in answer.json()["error"]
        assert "is no regular file" in answer.json()["error"]
        shutil.rmtree(folder)
