"""The graphs say what the trained numbers say."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from build import predict
from graphs import Dense, Tree, boosted_trees, floor_float32, flush, fold, network

finite = st.floats(min_value=-1e30, max_value=1e30)


def draw_layers(*widths: int) -> list[Dense]:
    dice = np.random.default_rng(1)
    return [
        Dense(dice.normal(size=(inputs, outputs)), dice.normal(size=outputs))
        for inputs, outputs in pairwise(widths)
    ]


def draw_rows(rows: int, features: int) -> NDArray[np.float32]:
    return np.random.default_rng(2).normal(size=(rows, features)).astype(np.float32)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def stump(feature: int, threshold: float, at_most: float, above: float) -> Tree:
    return Tree(
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        feature=np.array([feature, -2, -2]),
        threshold=np.array([threshold, -2.0, -2.0]),
        value=np.array([0.0, at_most, above]),
    )


def serve(graph: onnx.ModelProto, rows: NDArray[np.float32]) -> tuple[list[int], list[float]]:
    """Return the labels and the scores of class 1."""
    label, scores = predict(graph.SerializeToString(), rows)
    return label.tolist(), scores[:, 1].tolist()


def test_a_network_computes_its_layers_with_relu_between_and_softmax_after() -> None:
    hidden, last = draw_layers(5, 7, 3)
    rows = draw_rows(11, 5)
    expected = softmax(
        np.maximum(rows @ hidden.weights + hidden.bias, 0) @ last.weights + last.bias
    )
    label, scores = predict(network([hidden, last], "two").SerializeToString(), rows)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert label.tolist() == expected.argmax(axis=1).tolist()


@pytest.mark.parametrize(("depth", "nodes"), [(1, 3), (2, 5), (3, 7)])
def test_a_network_has_no_node_that_a_weight_could_absorb(depth: int, nodes: int) -> None:
    assert len(network(draw_layers(*[4] * (depth + 1)), "lean").graph.node) == nodes


def test_weights_travel_as_raw_float32() -> None:
    graph = network(draw_layers(5, 3), "raw").graph
    assert [len(tensor.raw_data) for tensor in graph.initializer] == [4 * 5 * 3, 4 * 3]


def test_weights_too_small_to_matter_are_zero_for_subnormals_are_slow() -> None:
    weights = np.array([[1e-41, -1e-41, 1e-21, 1e-19, -0.5]])
    assert np.count_nonzero(flush(weights)) == 2
    (first, _) = network([Dense(weights.T, np.zeros(1))], "small").graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(first), flush(weights).T)


def test_a_folded_layer_takes_raw_features() -> None:
    (layer,) = draw_layers(4, 3)
    gain, offset = np.array([0.5, 2.0, 1.0, -1.0]), np.array([1.0, 0.0, -3.0, 0.25])
    folded = fold(gain, offset, layer)
    rows = draw_rows(6, 4).astype(np.float64)
    np.testing.assert_allclose(
        rows @ folded.weights + folded.bias, (rows * gain + offset) @ layer.weights + layer.bias
    )


def test_a_row_at_the_threshold_goes_left_and_the_next_float_above_goes_right() -> None:
    graph = boosted_trees([stump(0, 1.5, -2.0, 2.0)], features=1, log_odds=0.0, name="stump")
    rows = np.array([[1.5], [np.nextafter(np.float32(1.5), np.float32(2.0))]], np.float32)
    label, benign = serve(graph, rows)
    assert label == [0, 1]
    assert benign == pytest.approx([1 / (1 + np.exp(2.0)), 1 / (1 + np.exp(-2.0))], abs=1e-6)


def test_the_votes_of_all_trees_are_added_to_the_log_odds() -> None:
    trees = [stump(0, 0.0, -1.0, 0.5), stump(1, 0.0, 0.25, 2.0)]
    rows = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)
    sums = np.array([-1.0 + 0.25, -1.0 + 2.0, 0.5 + 0.25, 0.5 + 2.0]) - 0.9
    label, benign = serve(boosted_trees(trees, features=2, log_odds=-0.9, name="two"), rows)
    assert label == [int(vote > 0) for vote in sums]
    assert benign == pytest.approx((1 / (1 + np.exp(-sums))).tolist(), abs=1e-6)


def test_trees_whose_votes_are_all_positive_still_choose_at_one_half() -> None:
    """ONNX Runtime takes another road when no weight is negative."""
    graph = boosted_trees([stump(0, 0.0, 0.5, 3.0)], features=1, log_odds=-1.0, name="positive")
    label, benign = serve(graph, np.array([[-1.0], [1.0]], np.float32))
    assert label == [int(score > 0.5) for score in benign] == [0, 1]


def test_every_row_has_scores_that_add_to_one() -> None:
    trees = [stump(0, 0.0, -1.0, 0.5)]
    for graph in (network(draw_layers(2, 2), "n"), boosted_trees(trees, 2, 0.1, "t")):
        _, scores = predict(graph.SerializeToString(), draw_rows(9, 2))
        np.testing.assert_allclose(scores.sum(axis=1), np.ones(9), atol=1e-6)


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_the_batch_axis_takes_any_number_of_rows(rows: int) -> None:
    graph = network(draw_layers(4, 3), "batch")
    label, scores = predict(graph.SerializeToString(), draw_rows(rows, 4))
    assert (label.shape, scores.shape) == ((rows,), (rows, 3))


@given(threshold=finite, value=st.floats(width=32, min_value=-(2.0**99), max_value=2.0**99))
def test_a_threshold_in_float32_splits_float32s_as_it_did_in_float64(
    threshold: float, value: float
) -> None:
    floor = floor_float32(np.array([threshold]))[0]
    assert (np.float32(value) <= floor) == (value <= threshold)
    assert float(floor) <= threshold < float(np.nextafter(floor, np.float32(np.inf)))


def test_a_graph_says_how_old_a_runtime_may_be(tmp_path: Path) -> None:
    graph = network(draw_layers(4, 3), "old")
    onnx.save(graph, tmp_path / "model.onnx")
    loaded = onnx.load(tmp_path / "model.onnx")
    assert loaded.ir_version == 8
    assert {(opset.domain, opset.version) for opset in loaded.opset_import} == {("", 17)}
