"""The committed models are what their scripts build, and are as good as they claim."""

import json
import math
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from build import CATALOGUE, SAMPLE_ROWS, Rows, Split, infer_request, measure, predict, profile

MODELS = Path(__file__).parents[2] / "models"
VERSIONS = [
    (model, recipe.version) for model, (_, recipes) in CATALOGUE.items() for recipe in recipes
]
SAMPLES = [(model, name) for model in CATALOGUE for name in ("request.json", "batch.json")]

each_version = pytest.mark.parametrize(("model", "version"), VERSIONS)
each_sample = pytest.mark.parametrize(("model", "sample"), SAMPLES)


def load_split(model: str) -> Split:
    return CATALOGUE[model][0]()


def read_graph(model: str, version: str, root: Path = MODELS) -> bytes:
    return (root / model / version / "model.onnx").read_bytes()


def read_settings(model: str, version: str) -> dict[str, Any]:
    return tomllib.loads((MODELS / model / version / "model.toml").read_text())


def read_profile(model: str, version: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((MODELS / model / version / "profile.json").read_text())
    return document


def read_tensor(model: str, sample: str) -> dict[str, Any]:
    (tensor,) = json.loads((MODELS / model / "samples" / sample).read_text())["inputs"]
    assert isinstance(tensor, dict)
    return tensor


def signature(nodes: list[Any]) -> list[tuple[str, str, list[str | int]]]:
    return [(node.name, node.type, node.shape) for node in nodes]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the command has built `cancer` anew."""
    out = tmp_path_factory.mktemp("rebuilt")
    script = str(MODELS / "build.py")
    command = [sys.executable, "-W", "error", script, "--only", "cancer", "--out", str(out)]
    subprocess.run(command, check=True)
    return out


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_rebuilt_model_predicts_what_the_committed_one_does(rebuilt: Path, version: str) -> None:
    held_out = load_split("cancer").held_out
    old_label, old_scores = predict(read_graph("cancer", version), held_out)
    new_label, new_scores = predict(read_graph("cancer", version, rebuilt), held_out)
    np.testing.assert_allclose(new_scores, old_scores, atol=1e-3)
    assert new_label.tolist() == old_label.tolist()


def test_a_rebuild_writes_the_committed_files_and_no_others(rebuilt: Path) -> None:
    written = {path.relative_to(rebuilt) for path in rebuilt.rglob("*") if path.is_file()}
    committed = {path.relative_to(MODELS) for path in MODELS.glob("cancer/*/*") if path.is_file()}
    assert written == committed


@pytest.mark.parametrize("pattern", ["*/profile.json", "samples/*.json"])
def test_a_rebuild_writes_the_committed_texts(rebuilt: Path, pattern: str) -> None:
    for path in (rebuilt / "cancer").glob(pattern):
        assert path.read_text() == (MODELS / path.relative_to(rebuilt)).read_text()


@each_version
def test_a_model_is_as_good_as_it_claims(model: str, version: str) -> None:
    claimed = read_settings(model, version)["metrics"]
    metrics = measure(read_graph(model, version), load_split(model))
    assert claimed["accuracy"] == pytest.approx(metrics.accuracy, abs=1e-4)
    assert claimed["log_loss"] == pytest.approx(metrics.log_loss, abs=1e-3)


@each_version
def test_a_model_is_better_than_the_least_one_would_take(model: str, version: str) -> None:
    assert read_settings(model, version)["metrics"]["accuracy"] >= 0.96


@each_version
def test_the_settings_hold_what_the_gateway_reads_and_nothing_else(
    model: str, version: str
) -> None:
    settings = read_settings(model, version)
    assert list(settings) == ["description", "batching", "metrics"]
    assert settings["description"].endswith((".", "?"))
    assert settings["batching"] == {"max_batch_size": 1024}
    assert list(settings["metrics"]) == ["accuracy", "log_loss"]


@each_version
def test_the_model_card_tells_the_measured_metrics(model: str, version: str) -> None:
    card = (MODELS / model / "README.md").read_text()
    for value in read_settings(model, version)["metrics"].values():
        assert f"{value:.4f}" in card


@each_version
def test_a_model_takes_raw_features_and_gives_label_and_scores(model: str, version: str) -> None:
    split = load_split(model)
    features, classes = len(split.features), len(np.unique(split.train_labels))
    session = onnxruntime.InferenceSession(read_graph(model, version))
    assert signature(session.get_inputs()) == [("x", "tensor(float)", ["rows", features])]
    assert signature(session.get_outputs()) == [
        ("label", "tensor(int64)", ["rows"]),
        ("scores", "tensor(float)", ["rows", classes]),
    ]


@each_version
def test_scores_are_probabilities_and_the_label_is_the_likeliest(model: str, version: str) -> None:
    label, scores = predict(read_graph(model, version), load_split(model).held_out)
    np.testing.assert_allclose(scores.sum(axis=1), np.ones(len(scores)), atol=1e-5)
    assert scores.min() >= 0.0
    assert label.tolist() == scores.argmax(axis=1).tolist()


@each_version
def test_a_row_gets_the_same_answer_alone_and_in_company(model: str, version: str) -> None:
    graph, rows = read_graph(model, version), load_split(model).held_out[:20]
    together_label, together = predict(graph, rows)
    alone = [predict(graph, rows[at : at + 1]) for at in range(len(rows))]
    assert [int(label[0]) for label, _ in alone] == together_label.tolist()
    np.testing.assert_allclose([scores[0] for _, scores in alone], together, atol=1e-5)


@each_version
def test_a_profile_describes_the_training_rows(model: str, version: str) -> None:
    split, document = load_split(model), read_profile(model, version)
    assert {key: document[key] for key in ("profile", "model", "version", "rows")} == {
        "profile": 1,
        "model": model,
        "version": version,
        "rows": len(split.train),
    }
    assert [feature["name"] for feature in document["features"]] == list(split.features)
    for feature, column in zip(document["features"], split.train.T, strict=True):
        assert list(feature) == ["name", "count", "missing", "quantiles"]
        assert (feature["count"], feature["missing"]) == (len(column), 0)
        quantiles = feature["quantiles"]
        assert len(quantiles) == 64
        assert all(low <= high for low, high in pairwise(quantiles))
        ends = np.float32(quantiles[0]), np.float32(quantiles[-1])
        assert ends == (column.min(), column.max())


def test_a_profile_counts_missing_values_apart() -> None:
    rows: Rows = np.array([[1.0], [np.nan], [3.0]], np.float32)
    labels = np.zeros(3, np.int64)
    document = json.loads(profile("m", "1", Split(("f",), rows, labels, rows, labels)))
    (feature,) = document["features"]
    assert (document["rows"], feature["count"], feature["missing"]) == (3, 2, 1)
    assert (feature["quantiles"][0], feature["quantiles"][-1]) == (1, 3)


@each_sample
def test_a_sample_request_fits_the_signature_of_every_version(model: str, sample: str) -> None:
    tensor = read_tensor(model, sample)
    rows = 1 if sample == "request.json" else SAMPLE_ROWS
    assert (tensor["name"], tensor["datatype"]) == ("x", "FP32")
    assert tensor["shape"] == [rows, len(load_split(model).features)]
    assert len(tensor["data"]) == np.prod(tensor["shape"])


@each_sample
def test_a_sample_request_holds_real_held_out_rows(model: str, sample: str) -> None:
    tensor = read_tensor(model, sample)
    sent = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
    np.testing.assert_array_equal(sent, load_split(model).held_out[: len(sent)])


def test_a_request_is_printed_without_a_needless_character() -> None:
    rows: Rows = np.array([[1.0, 0.1], [2.5, 1e-7]], np.float32)
    assert infer_request(rows) == (
        '{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,0.1,2.5,1e-07]}]}\n'
    )


def test_a_split_shows_no_held_out_row_to_the_learner() -> None:
    for model in CATALOGUE:
        split = load_split(model)
        rows = len(split.train) + len(split.held_out)
        assert len(split.held_out) == math.ceil(0.25 * rows)
        seen = {row.tobytes() for row in split.train}
        assert not [row for row in split.held_out if row.tobytes() in seen]


def test_the_committed_models_stay_below_two_megabytes() -> None:
    committed = [path for model in CATALOGUE for path in (MODELS / model).rglob("*")]
    assert 0 < sum(path.stat().st_size for path in committed if path.is_file()) < 2_000_000


@each_version
def test_no_weight_is_subnormal(model: str, version: str) -> None:
    """One in forty made a batch of `digits` four times slower."""
    for tensor in onnx.load_from_string(read_graph(model, version)).graph.initializer:
        weights = np.abs(numpy_helper.to_array(tensor))
        assert not np.any((weights > 0) & (weights < np.finfo(np.float32).tiny))
