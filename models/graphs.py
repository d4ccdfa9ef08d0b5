"""ONNX graphs from trained numbers, written by hand so that they have the fewest nodes.

Lives for one build; never trains, reads or measures. Every graph takes one FP32 input `x`
[rows, features] and answers `label` INT64 [rows] and `scores` FP32 [rows, classes]; a node
costs about a microsecond a run, hence no node that a weight can absorb.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

# The oldest pair with all we need; every ONNX Runtime since 1.14 loads it.
OPSETS = {"": 17, "ai.onnx.ml": 3}
IR_VERSION = 8

# Weight decay leaves the weights of dead inputs near 1e-40, where a multiplication takes the
# processor's slow path: with 61 such weights a batch of 64 digits took 56 us instead of 15.
FLUSHED_BELOW = 1e-20


class Dense(NamedTuple):
    """`x @ weights + bias`, weights [inputs, outputs]."""

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]


class Tree(NamedTuple):
    """A regression tree in columns, node 0 its root: `x[feature] <= threshold` goes left.

    A leaf has no children (-1) and is worth `value`.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    value: NDArray[np.float64]


def fold(gain: NDArray[np.float64], offset: NDArray[np.float64], layer: Dense) -> Dense:
    """Return the layer that gives for raw `x` what `layer` gives for `x * gain + offset`."""
    return Dense(gain[:, None] * layer.weights, layer.bias + offset @ layer.weights)


def network(layers: Sequence[Dense], name: str) -> onnx.ModelProto:
    """Return `layers` with Relu between them, Softmax after them and ArgMax over that."""
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    value = "x"
    for depth, layer in enumerate(layers):
        if depth > 0:
            nodes.append(helper.make_node("Relu", [value], [f"active{depth}"]))
            value = f"active{depth}"
        names = [f"weights{depth}", f"bias{depth}"]
        weights += [
            numpy_helper.from_array(flush(array), called)
            for array, called in zip(layer, names, strict=True)
        ]
        nodes.append(helper.make_node("Gemm", [value, *names], [f"sum{depth}"]))
        value = f"sum{depth}"
    nodes.append(helper.make_node("Softmax", [value], ["scores"], axis=1))
    nodes.append(helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0))
    return _model(name, nodes, weights, len(layers[0].weights), len(layers[-1].bias))


def boosted_trees(
    trees: Sequence[Tree], features: int, log_odds: float, name: str
) -> onnx.ModelProto:
    """Return a two-class model: class 1 has probability sigmoid(`log_odds` + sum of leaves)."""
    sizes = [len(tree.left) for tree in trees]
    every = Tree(*(np.concatenate(columns) for columns in zip(*trees, strict=True)))
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    leaf = every.left < 0
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        nodes_treeids=tree_ids.tolist(),
        nodes_nodeids=node_ids.tolist(),
        nodes_featureids=np.where(leaf, 0, every.feature).tolist(),
        nodes_values=np.where(leaf, 0.0, floor_float32(every.threshold)).tolist(),
        nodes_modes=["LEAF" if is_leaf else "BRANCH_LEQ" for is_leaf in leaf],
        nodes_truenodeids=np.where(leaf, 0, every.left).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, every.right).tolist(),
        class_treeids=tree_ids[leaf].tolist(),
        class_nodeids=node_ids[leaf].tolist(),
        # One column of votes means two classes: ONNX Runtime makes 1 - p for the other.
        class_ids=[0] * int(leaf.sum()),
        class_weights=every.value[leaf].tolist(),
        classlabels_int64s=[0, 1],
        base_values=[log_odds],
        post_transform="LOGISTIC",
    )
    return _model(name, [node], [], features, classes=2)


def flush(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the weights as float32, with zeros for those too small to matter."""
    return np.where(np.abs(weights) < FLUSHED_BELOW, 0.0, weights).astype(np.float32)


def floor_float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the greatest float32 not above each value.

    For any float32 `x`, `x <= threshold` then means the same in both widths.
    """
    near = values.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near > values, below, near)


def _model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto],
    features: int,
    classes: int,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", features])],
        [
            helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["rows"]),
            helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["rows", classes]),
        ],
        weights,
    )
    domains = {node.domain for node in nodes}
    model = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid(domain, version)
            for domain, version in OPSETS.items()
            if domain == "" or domain in domains
        ],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model)
    return model
