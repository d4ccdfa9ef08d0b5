"""The smallest ONNX graphs that show each thing a session can meet.

Job    write a model of a few nodes to a file; no weights, no training.
Never  a model of the repository: those are real, and live in models/.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

_OPSETS = [helper.make_opsetid("", 17)]
_IR_VERSION = 8

Axes = Sequence[str | int]
Tensor = tuple[str, int, Axes]  # name, element type, axes


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    constants: Sequence[onnx.TensorProto] = (),
) -> Path:
    """Write a graph of `nodes` to `path`, and return the path."""
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(*tensor) for tensor in inputs],
        [helper.make_tensor_value_info(*tensor) for tensor in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def twice(path: Path, rows: str | int = "rows") -> Path:
    """y = x + x, FP32 [rows, width]; a number for `rows` fixes the batch axis."""
    return save(
        path,
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [("x", TensorProto.FLOAT, [rows, "width"])],
        [("y", TensorProto.FLOAT, [rows, "width"])],
    )


def echo(path: Path, kind: int, axes: Axes = ("rows", 2)) -> Path:
    """y = x, of any element type and shape."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return save(path, [node], [("x", kind, axes)], [("y", kind, axes)])


def cast(path: Path, source: int, target: int) -> Path:
    """y = x in another element type."""
    node = helper.make_node("Cast", ["x"], ["y"], to=target)
    return save(path, [node], [("x", source, ["rows", 2])], [("y", target, ["rows", 2])])


def sum_and_names(path: Path) -> Path:
    """Two inputs (a FP32 [rows, 2], b INT64 [rows, 2]) and a BYTES one, three outputs."""
    nodes = [
        helper.make_node("Cast", ["b"], ["b32"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["a", "b32"], ["total"]),
        helper.make_node("Identity", ["name"], ["called"]),
        helper.make_node("Identity", ["b"], ["same"]),
    ]
    return save(
        path,
        nodes,
        [
            ("a", TensorProto.FLOAT, ["rows", 2]),
            ("b", TensorProto.INT64, ["rows", 2]),
            ("name", TensorProto.STRING, ["rows"]),
        ],
        [
            ("total", TensorProto.FLOAT, ["rows", 2]),
            ("called", TensorProto.STRING, ["rows"]),
            ("same", TensorProto.INT64, ["rows", 2]),
        ],
    )


def bfloat16_and_names(path: Path) -> Path:
    """Echoes a BF16 and a BYTES input, [rows] both."""
    kinds = {"half": TensorProto.BFLOAT16, "name": TensorProto.STRING}
    nodes = [helper.make_node("Identity", [name], [f"same_{name}"]) for name in kinds]
    inputs = [(name, kind, ["rows"]) for name, kind in kinds.items()]
    outputs = [(f"same_{name}", kind, ["rows"]) for name, kind in kinds.items()]
    return save(path, nodes, inputs, outputs)


def picky(path: Path, known: int = 4) -> Path:
    """y = table[x], INT64 [rows]: breaks on a row that is not below `known`."""
    table = helper.make_tensor("table", TensorProto.INT64, [known], list(range(10, 10 + known)))
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    tensors = ("x", TensorProto.INT64, ["rows"]), ("y", TensorProto.INT64, ["rows"])
    return save(path, [node], [tensors[0]], [tensors[1]], [table])


def only_rows_above(path: Path, rows: int) -> Path:
    """y = x, FP32 [rows]: breaks where there are fewer than `rows` rows."""
    index = helper.make_tensor("index", TensorProto.INT64, [], [rows - 1])
    nodes = [
        helper.make_node("Gather", ["x", "index"], ["last"]),
        helper.make_node("Sub", ["last", "last"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    tensors = ("x", TensorProto.FLOAT, ["rows"]), ("y", TensorProto.FLOAT, ["rows"])
    return save(path, nodes, [tensors[0]], [tensors[1]], [index])


def total(path: Path) -> Path:
    """y = the sum over all rows, FP32 [1]: says that it batches, and does not."""
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)
    tensors = ("x", TensorProto.FLOAT, ["rows"]), ("y", TensorProto.FLOAT, ["groups"])
    return save(path, [node], [tensors[0]], [tensors[1]])


def scalar(path: Path) -> Path:
    """y = the sum over all rows, a scalar."""
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    return save(path, [node], [("x", TensorProto.FLOAT, ["rows"])], [("y", TensorProto.FLOAT, [])])


def sequence(path: Path) -> Path:
    """Its output `many` is a sequence of tensors, which no V2 tensor is."""
    nodes = [helper.make_node("SequenceConstruct", ["x", "x"], ["many"])]
    graph = helper.make_graph(
        nodes,
        "sequence",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows"])],
        [helper.make_tensor_sequence_value_info("many", TensorProto.FLOAT, ["rows"])],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION), path)
    return path
