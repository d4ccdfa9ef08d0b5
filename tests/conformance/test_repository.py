"""What Triton's own client asks beside predictions: statistics, configuration, the repository."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.server import WATCHDOG_S, Server


@pytest.fixture
def client(explicit: Server) -> Iterator[Any]:
    """A client of a server that has `echo` loaded, as it is on disk."""
    with tritonclient.http.InferenceServerClient(
        f"127.0.0.1:{explicit.port}",
        connection_timeout=WATCHDOG_S,
        network_timeout=WATCHDOG_S,
    ) as connected:
        connected.load_model("echo")
        yield connected


def ask(client: Any, rows: int = 1) -> None:
    x = tritonclient.http.InferInput("x", [rows, 4], "FP32")
    x.set_data_from_numpy(np.zeros((rows, 4), np.float32))
    client.infer("echo", [x])


def test_the_server_names_what_works(client: Any) -> None:
    extensions = set(client.get_server_metadata()["extensions"])
    assert {
        *("statistics", "model_configuration", "model_repository"),
        "model_repository(unload_dependents)",
    } < extensions
    assert extensions & {"sequence", "trace", "logging"} == set()


def test_an_unloaded_model_is_known_and_not_ready(client: Any) -> None:
    assert client.is_model_ready("echo")
    assert client.get_model_repository_index() == [
        {"name": "echo", "version": "1", "state": "READY", "reason": ""}
    ]
    client.unload_model("echo", unload_dependents=True)
    assert not client.is_model_ready("echo")
    assert client.is_server_ready()
    (row,) = client.get_model_repository_index()
    assert (row["state"], row["reason"]) == ("UNAVAILABLE", "unloaded")
    with pytest.raises(InferenceServerException, match="'echo' has no available versions") as gone:
        ask(client)
    assert gone.value.status() == "503"
    with pytest.raises(InferenceServerException, match="requested model 'echo' is not available"):
        client.get_inference_statistics("echo")
    client.load_model("echo")
    ask(client)


def test_a_load_may_bring_a_configuration(client: Any) -> None:
    """A number may be a text, and shows as a number."""
    before = client.get_model_config("echo")
    config = {**before, "max_batch_size": "2"}
    client.load_model("echo", config=json.dumps(config))
    after = client.get_model_config("echo", "1")
    assert (after["max_batch_size"], after["name"]) == (2, "echo")
    with pytest.raises(InferenceServerException, match="batch-size must be <= 2 for 'echo'"):
        ask(client, rows=3)
    client.load_model("echo")
    assert client.get_model_config("echo") == before
    ask(client, rows=3)


def test_a_load_may_bring_files(client: Any, stock: Path) -> None:
    before = client.get_model_config("echo")
    contents = (stock / "models/echo/1/model.onnx").read_bytes()
    client.load_model("echo", config=json.dumps(before), files={"file:7/model.onnx": contents})
    assert client.get_model_metadata("echo")["versions"] == ["7"]
    ask(client)
    assert not client.is_model_ready("echo", "1")
    client.load_model("echo")
    assert client.get_model_metadata("echo")["versions"] == ["1"]
    assert sorted(path.name for path in (stock / "models/echo").iterdir()) == ["1"]


def test_a_load_that_fails_leaves_everything_as_it_was(client: Any) -> None:
    files = {"file:1/model.onnx": base64.b64encode(b"no model")}
    config = json.dumps(client.get_model_config("echo"))
    with pytest.raises(InferenceServerException, match="failed to load 'echo'") as failed:
        client.load_model("echo", config=config, files=files)
    assert failed.value.status() == "400"
    ask(client)
    with pytest.raises(InferenceServerException, match="failed to poll from model repository"):
        client.load_model("nobody")


def test_statistics_keep_their_identities(client: Any) -> None:
    def row() -> Any:
        (found,) = client.get_inference_statistics("echo", "1")["model_stats"]
        return found

    before = row()
    for rows in (1, 3, 1):
        ask(client, rows)
    after = row()
    assert after["inference_stats"]["success"]["count"] == (
        before["inference_stats"]["success"]["count"] + 3
    )
    sizes = {one["batch_size"]: one["compute_infer"]["count"] for one in after["batch_stats"]}
    assert after["inference_count"] == sum(rows * count for rows, count in sizes.items())
    assert after["inference_count"] == before["inference_count"] + 5
    assert after["execution_count"] == sum(sizes.values())
    stats = after["inference_stats"]
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert stats["success"]["ns"] >= sum(stats[part]["ns"] for part in parts)
    assert {stats[part]["count"] for part in parts} == {stats["success"]["count"]}
    names = [one["name"] for one in client.get_inference_statistics()["model_stats"]]
    assert names == ["echo"]


@pytest.mark.parametrize("version", ["", "9"])
def test_statistics_of_what_is_not_there_are_refused(client: Any, version: str) -> None:
    model = "echo" if version else "nobody"
    words = f"model '{model}'"
    with pytest.raises(InferenceServerException, match=words) as refused:
        client.get_inference_statistics(model, version)
    assert refused.value.status() == "404"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "Model name cannot be empty"),
        ("..", "model name must not contain path traversal characters"),
        ("a\\b", "model name must not contain path traversal characters"),
    ],
    ids=["empty", "above", "backslash"],
)
def test_a_name_that_no_model_can_have_is_not_loaded(client: Any, name: str, words: str) -> None:
    with pytest.raises(InferenceServerException, match=words) as refused:
        client.load_model(name)
    assert refused.value.status() == "400"
