"""The smallest ONNX graphs that show each thing a session can meet.

Job    write a model of a few nodes to a file; no weights, no training.
Never  a model of the repository: those are real, and live in models/.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

OPSET = 17
_OPSETS = [helper.make_opsetid("", OPSET)]
_IR_VERSION = 8

Axes = Sequence[str | int]
Tensor = tuple[str, int, Axes]  # name, element type, axes

X: Tensor = ("x", TensorProto.FLOAT, ["rows", 2])
Y: Tensor = ("y", TensorProto.FLOAT, ["rows", 2])


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


# Hostile ones: nobody means well who serves these, and none may harm a gateway.


def of_opset(path: Path, opset: int, ir_version: int = _IR_VERSION) -> Path:
    """y = x + x, stamped with versions that may be unknown."""
    model = onnx.load(twice(path))
    model.opset_import[0].version = opset
    model.ir_version = ir_version
    onnx.save(model, path)
    return path


def hangs(path: Path, turns: int = 1 << 40) -> Path:
    """y = x, FP32 [rows, 2], after `turns` turns of a loop."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
            helper.make_node("Neg", ["before"], ["after"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, ["rows", 2]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, ["rows", 2]),
        ],
    )
    constants = [
        helper.make_tensor("turns", TensorProto.INT64, [], [turns]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
    ]
    node = helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)
    return save(path, [node], [X], [Y], constants)


def eats_memory(path: Path, elements: int = 1 << 38) -> Path:
    """y = x, FP32 [rows, 2], by way of a tensor of `elements` numbers a row."""
    wide = helper.make_tensor("wide", TensorProto.INT64, [2], [1, elements])
    row = helper.make_tensor("row", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("ReduceSum", ["x", "row"], ["sum"], keepdims=1),
        helper.make_node("Expand", ["sum", "wide"], ["much"]),
        helper.make_node("ReduceMin", ["much"], ["least"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["least", "least"], ["zero"]),
        helper.make_node("Add", ["x", "zero"], ["y"]),
    ]
    return save(path, nodes, [X], [Y], [wide, row])


def overflows_the_stack(path: Path, depth: int = 12_000) -> Path:
    """y = x, through functions that call each other so deep that opening it is a SIGSEGV.

    ONNX Runtime looks into functions by recursion, without a bound.
    """
    own = "deep"
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(own, 1)]
    calls = [
        helper.make_function(
            own, f"f{at}", ["a"], ["b"], [helper.make_node(f"f{at + 1}", ["a"], ["b"], domain=own)],
            opsets,
        )
        for at in range(depth)
    ]  # fmt: skip
    last = helper.make_node("Identity", ["a"], ["b"])
    calls.append(helper.make_function(own, f"f{depth}", ["a"], ["b"], [last], opsets))
    graph = helper.make_graph(
        [helper.make_node("f0", ["x"], ["y"], domain=own)],
        "deep",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
    )
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, functions=calls)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def divides(path: Path) -> Path:
    """y = x / x, FP32 [rows, 2]: NaN where x is 0."""
    node = helper.make_node("Div", ["x", "x"], ["y"])
    return save(path, [node], [X], [Y])


def truncated(path: Path) -> Path:
    """Half of a model's file."""
    content = twice(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def with_external_weights(path: Path, location: str) -> Path:
    """y = x + w, FP32 [rows, 2], whose `w` lies in the file `location`."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "8"}.items():
        weights.external_data.add(key=key, value=value)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    return save(path, [node], [X], [Y], [weights])
