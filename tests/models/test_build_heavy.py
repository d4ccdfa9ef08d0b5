"""The heavy model is a valid model; how heavy, bench/ says."""

import tomllib
from pathlib import Path

import numpy as np
import onnx

from build import predict
from build_heavy import CLASSES, FEATURES, build_heavy, heavy_network


def test_a_heavy_network_answers_with_finite_scores_of_every_class() -> None:
    rows = np.random.default_rng(3).uniform(0, 16, (5, FEATURES)).astype(np.float32)
    label, scores = predict(heavy_network(width=32, depth=7).SerializeToString(), rows)
    assert (label.shape, scores.shape) == ((5,), (5, CLASSES))
    np.testing.assert_allclose(scores.sum(axis=1), np.ones(5), atol=1e-5)


def test_activations_neither_grow_nor_vanish_with_depth() -> None:
    """Of a deep net the scores still differ from row to row, and none is a certainty."""
    rows = np.random.default_rng(3).normal(size=(20, FEATURES)).astype(np.float32)
    _, scores = predict(heavy_network(width=128, depth=20).SerializeToString(), rows)
    assert scores.std(axis=0).max() > 1e-3
    assert scores.max() < 1.0 - 1e-6


def test_two_builds_are_equal() -> None:
    one, two = heavy_network(width=16, depth=2), heavy_network(width=16, depth=2)
    assert one == two


def test_a_heavy_network_has_the_width_and_depth_asked_for() -> None:
    graph = heavy_network(width=16, depth=3).graph
    shapes = [list(tensor.dims) for tensor in graph.initializer if len(tensor.dims) == 2]
    assert shapes == [[FEATURES, 16], [16, 16], [16, 16], [16, CLASSES]]


def test_a_heavy_model_lies_where_a_repository_looks_for_it(tmp_path: Path) -> None:
    graph = heavy_network(width=16, depth=2)
    build_heavy(graph, tmp_path)
    folder = tmp_path / "heavy" / "1"
    assert onnx.load(folder / "model.onnx") == graph
    settings = tomllib.loads((folder / "model.toml").read_text())
    assert settings["execution"] == {"executor": "thread"}
    assert settings["batching"]["max_batch_size"] >= settings["batching"]["max_execution_rows"]
