"""A folder of models made for Triton is served as it is, and Triton's client finds it so."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from onnx import TensorProto
from tritonclient.utils import InferenceServerException

from tests import models_onnx
from tests.repository import outside
from tests.server import WATCHDOG_S, Server, serving

pytestmark = pytest.mark.slow

CLASSIFIER = """
name: "classifier"
platform: "onnxruntime_onnx"
max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
version_policy { specific { versions: [ 1, 3 ] } }
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching { max_queue_delay_microseconds: 50 preferred_batch_size: [ 4 ] }
parameters { key: "intra_op_thread_count" value { string_value: "1" } }
model_warmup [
  { name: "nothing" batch_size: 4
    inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } } },
  { name: "something" batch_size: 1
    inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "raw" } } }
]
"""
STRETCHED = """
max_batch_size: 4
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] } ]
optimization { }
"""
ENSEMBLE = 'name: "pipeline"\nplatform: "ensemble"\nensemble_scheduling { step [ ] }\n'


def write_version(model: Path, version: int) -> None:
    """Write y = x, FP32 [rows, 4]."""
    models_onnx.echo(model / str(version) / "model.onnx", TensorProto.FLOAT, ["rows", 4])


def write_repository(root: Path) -> Path:
    """Write what somebody has who served it with Triton until today; return `root`."""
    for version in (1, 2, 3):
        write_version(root / "classifier", version)
        write_version(root / "bare", version)
    (root / "bare" / "config.pbtxt").touch()
    (root / "classifier" / "config.pbtxt").write_text(CLASSIFIER)
    (root / "classifier" / "labels.txt").write_text("cat\ndog\nemu\nfox\n")
    (root / "classifier" / "warmup").mkdir()
    (root / "classifier" / "warmup" / "raw").write_bytes(np.ones(4, np.float32).tobytes())
    weights = root / "foldered" / "1" / "model.onnx"
    outside.write_weights(outside.initializer(weights / "model.onnx", "w.bin").parent / "w.bin")
    (root / "foldered" / "config.pbtxt").write_text("max_batch_size: 4")
    models_onnx.twice(root / "stretched" / "1" / "model.onnx")
    (root / "stretched" / "config.pbtxt").write_text(STRETCHED)
    (root / "pipeline" / "1").mkdir(parents=True)
    (root / "pipeline" / "config.pbtxt").write_text(ENSEMBLE)
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_repository(tmp_path_factory.mktemp("triton") / "models")


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    with serving(
        models,
        models.parent,
        replicas=2,
        repository__control="explicit",
        repository__startup='["classifier", "bare", "pipeline"]',
    ) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A client with several connections, so that it meets both replicas."""
    with tritonclient.http.InferenceServerClient(
        f"127.0.0.1:{server.port}",
        concurrency=4,
        connection_timeout=WATCHDOG_S,
        network_timeout=WATCHDOG_S,
    ) as connected:
        yield connected


def given(rows: int) -> tuple[Any, np.ndarray[Any, Any]]:
    array = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    x = tritonclient.http.InferInput("x", [rows, 4], "FP32")
    x.set_data_from_numpy(array)
    return x, array


def test_the_version_policy_chooses_what_is_served(client: Any) -> None:
    index = {(one["name"], one["version"]): one for one in client.get_model_repository_index()}
    ready = sorted(name for name, one in index.items() if one["state"] == "READY")
    assert ready == [("bare", "3"), ("classifier", "1"), ("classifier", "3")]
    assert client.get_model_metadata("classifier")["versions"] == ["1", "3"]
    assert client.get_model_metadata("bare")["versions"] == ["3"]  # the latest, unless told
    assert not client.is_model_ready("classifier", "2")


def test_what_cannot_be_served_is_told_with_its_file_and_its_line(
    server: Server, models: Path
) -> None:
    rows = [one for one in server.index() if one["name"] == "pipeline"]
    assert {one["state"] for one in rows} == {"UNAVAILABLE"}
    told = "; ".join(one["reason"] for one in rows)
    assert "pipeline/config.pbtxt: line 3: ensemble_scheduling" in told
    assert str(models) not in told


def test_metadata_are_those_of_the_graph_as_the_configuration_declares_them(client: Any) -> None:
    x, y = ({"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in "xy")
    about = client.get_model_metadata("classifier", "1")
    assert about["platform"] == "onnxruntime_onnx"
    assert (about["inputs"], about["outputs"]) == ([x], [y])
    assert client.get_model_metadata("bare")["inputs"] == [x]


def test_the_configuration_comes_back_in_the_same_words(client: Any) -> None:
    config = client.get_model_config("classifier")
    assert config["max_batch_size"] == 4
    assert config["version_policy"] == {"specific": {"versions": [1, 3]}}
    assert config["input"][0] | {"name": "x", "data_type": "TYPE_FP32"} == config["input"][0]
    assert [int(size) for size in config["input"][0]["dims"]] == [4]
    assert config["output"][0]["label_filename"] == "labels.txt"
    assert sum(group["count"] for group in config["instance_group"]) == 2
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 50
    assert config["dynamic_batching"]["preferred_batch_size"] == [4]
    assert config["parameters"]["intra_op_thread_count"] == {"string_value": "1"}
    assert client.get_model_config("bare")["max_batch_size"] == 0


@pytest.mark.parametrize("version", ["", "1", "3"])
def test_it_infers(client: Any, version: str) -> None:
    x, array = given(rows=3)
    result = client.infer("classifier", [x], version)
    assert result.as_numpy("y").tolist() == array.tolist()
    assert result.get_response()["model_version"] == (version or "3")


def test_more_rows_than_the_configuration_allows_are_refused(client: Any) -> None:
    x, _ = given(rows=5)
    with pytest.raises(InferenceServerException, match="batch-size must be <= 4"):
        client.infer("classifier", [x])


def test_statistics_are_those_of_both_replicas(client: Any, server: Server) -> None:
    def successes() -> int:
        (found,) = client.get_inference_statistics("classifier", "3")["model_stats"]
        counted: int = found["inference_stats"]["success"]["count"]
        return counted

    before = successes()
    for turn in range(16):
        with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.port}") as other:
            other.infer("classifier", [given(rows=1)[0]])
        assert successes() == before + turn + 1  # whoever is asked knows of it already
    names = {(one["name"], one["version"]) for one in
             client.get_inference_statistics()["model_stats"]}  # fmt: skip
    assert names == {("bare", "3"), ("classifier", "1"), ("classifier", "3")}


def test_it_loads_and_unloads(client: Any, models: Path) -> None:
    client.unload_model("bare")
    assert not client.is_model_ready("bare")
    with pytest.raises(InferenceServerException, match="bare") as refused:
        client.infer("bare", [given(rows=1)[0]])
    assert refused.value.status() == "503"
    client.load_model("bare")
    assert client.is_model_ready("bare")

    write_version(models / "bare", 4)
    client.load_model("bare")
    assert client.get_model_metadata("bare")["versions"] == ["4"]  # the latest is another now
    assert not client.is_model_ready("bare", "3")
    shutil.rmtree(models / "bare" / "4")
    client.load_model("bare")
    assert client.get_model_metadata("bare")["versions"] == ["3"]


def test_a_configuration_that_is_changed_on_disk_counts_from_the_next_load_on(
    client: Any, models: Path
) -> None:
    file = models / "classifier" / "config.pbtxt"
    file.write_text(CLASSIFIER.replace("max_batch_size: 4", "max_batch_size: 8"))
    x, array = given(rows=5)
    with pytest.raises(InferenceServerException, match="batch-size must be <= 4"):
        client.infer("classifier", [x])
    client.load_model("classifier")
    assert client.infer("classifier", [x]).as_numpy("y").tolist() == array.tolist()

    file.write_text("nonsense\n")
    with pytest.raises(InferenceServerException, match="failed to load 'classifier'") as failed:
        client.load_model("classifier")
    assert "config.pbtxt: line 1" in str(failed.value)
    assert client.infer("classifier", [x]).as_numpy("y").tolist() == array.tolist()
    file.write_text(CLASSIFIER)
    client.load_model("classifier")
    assert client.get_model_config("classifier")["max_batch_size"] == 4


def test_labels_that_are_missing_keep_their_model_from_being_served(
    client: Any, models: Path
) -> None:
    labels = models / "classifier" / "labels.txt"
    kept = labels.read_text()
    labels.unlink()
    try:
        with pytest.raises(InferenceServerException, match=r"labels\.txt"):
            client.load_model("classifier")
        assert client.is_model_ready("classifier")
    finally:
        labels.write_text(kept)
    client.load_model("classifier")


@contextmanager
def loaded(client: Any, model: str, **config: Any) -> Iterator[None]:
    client.load_model(model, **config)
    try:
        yield
    finally:
        client.unload_model(model)


def test_a_model_in_a_folder_of_its_name_is_served_with_its_external_data(client: Any) -> None:
    x = tritonclient.http.InferInput("x", [1, 2], "FP32")
    x.set_data_from_numpy(np.ones((1, 2), np.float32))
    with loaded(client, "foldered"):
        answer = client.infer("foldered", [x]).as_numpy("y").tolist()
    assert answer == [[1 + weight for weight in outside.WEIGHTS]]


def test_dims_that_the_graph_leaves_open_are_those_of_the_configuration(client: Any) -> None:
    x = tritonclient.http.InferInput("x", [1, 3], "FP32")
    x.set_data_from_numpy(np.ones((1, 3), np.float32))
    with loaded(client, "stretched"):
        about = client.get_model_metadata("stretched")
        assert (about["inputs"][0]["shape"], about["outputs"][0]["shape"]) == ([-1, 4], [-1, 4])
        (dims,) = [one["dims"] for one in client.get_model_config("stretched")["input"]]
        assert [int(size) for size in dims] == [4]
        with pytest.raises(InferenceServerException, match=r"Expected \[-1,4\], got \[1,3\]"):
            client.infer("stretched", [x])


def test_a_load_may_choose_a_version_that_the_configuration_does_not(client: Any) -> None:
    config = json.dumps({"version_policy": {"specific": {"versions": [1]}}})
    client.load_model("bare", config=config)
    assert client.get_model_metadata("bare")["versions"] == ["1"]
    client.load_model("bare")
    assert client.get_model_metadata("bare")["versions"] == ["3"]


def test_a_version_that_is_named_and_absent_keeps_no_other_from_being_loaded(
    client: Any, models: Path
) -> None:
    file = models / "classifier" / "config.pbtxt"
    try:
        file.write_text(CLASSIFIER.replace("[ 1, 3 ]", "[ 1, 9 ]"))
        client.load_model("classifier")
        assert client.get_model_metadata("classifier")["versions"] == ["1"]
    finally:
        file.write_text(CLASSIFIER)
        client.load_model("classifier")
    assert client.get_model_metadata("classifier")["versions"] == ["1", "3"]


def test_what_a_configuration_says_in_vain_is_told_where_the_server_logs(server: Server) -> None:
    assert "stretched: $.optimization has no effect" in server.complaints()
