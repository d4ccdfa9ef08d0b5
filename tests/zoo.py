"""Tiny models whose answers are known beforehand, written where a test wants them.

echo      FP32 [-1,4]         y = x, in batches of up to 8
pair      INT32 [-1,2], FP32 [-1,3]   each twice itself
fixed     FP32 [3]            y = x, no batch axis
free      FP32 [-1,-1]        y = x, no batch axis, any lengths
scalar    FP32 []             y = x
of_bool, of_bytes, of_fp16, of_int8, ...   y = x [-1,2], one for each datatype
shelf     INT64 [-1,1]        y = 10 x for x in 0..9; beyond it the model fails
patient   INT64 [1]           y = x, after a time that grows with x; runs in a thread

On demand only:

plodding  INT64 [1]           y = x, after some 5 ms whatever x is; runs in a thread
labelled  FP32 [-1,4]         y = x, laid out as for Triton; three of its four classes have labels
guest     INT64 [-1,1], BYTES [-1]    age + age and name again: what a table has as columns
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import models_onnx

_KINDS = {
    "bool": TensorProto.BOOL,
    "bytes": TensorProto.STRING,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "fp64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
}

_LABELLED = """
name: "labelled"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
"""

Shape = Sequence[int | str]
# More than half a second of waiting: a step takes a microsecond or so.
LONG = 600_000


def write_zoo(root: Path) -> Path:
    """Write every model of the table above; return `root`."""
    write_echo(root, "echo")
    write_echo(root, "two words")
    write_echo(root, "fixed", shape=[3], max_rows=0)
    write_echo(root, "free", shape=["m", "n"], max_rows=0)
    write_echo(root, "scalar", shape=[], max_rows=0)
    for name, kind in _KINDS.items():
        write_echo(root, f"of_{name}", kind, ["rows", 2])
    write_pair(root)
    write_shelf(root)
    write_patient(root)
    return root


def write_few(root: Path) -> Path:
    """Write `echo` and `patient` alone, for a server that must be up at once."""
    write_echo(root, "echo")
    return write_patient(root)


def write_echo(
    root: Path,
    name: str,
    kind: int = TensorProto.FLOAT,
    shape: Shape = ("rows", 4),
    max_rows: int = 8,
    version: str = "1",
) -> None:
    """Write a model that gives back what it is given; `max_rows` 0: it has no batch axis."""
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [_value("x", shape, kind)], [_value("y", shape, kind)])
    _write(root, name, graph, _batched(max_rows), version)


def write_shelf(root: Path, name: str = "shelf", settings: str = "", version: str = "1") -> Path:
    """Write a model that fails for an index beyond its table, and its whole batch with it."""
    table = numpy_helper.from_array(np.arange(10, dtype=np.int64) * 10, "table")
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    shape: Shape = ["rows", 1]
    graph = helper.make_graph(
        [node], "g", [_value("x", shape)], [_value("y", shape)], initializer=[table]
    )
    return _write(root, name, graph, f"{_batched(64)}{settings}\n", version)


def write_patient(root: Path) -> Path:
    """Write `patient`: a loop of `x` steps, each of them adding one."""
    loop, constants = _loop("x", "y")
    graph = helper.make_graph(
        [loop], "g", [_value("x", [1])], [_value("y", [1])], initializer=constants
    )
    return _write(root, "patient", graph, '[execution]\nexecutor = "thread"\n')


def write_plodding(root: Path, steps: int = 6_000) -> Path:
    """Write `plodding`, which counts to `steps` before it says what it was given."""
    loop, constants = _loop("steps", "counted")
    constants.append(numpy_helper.from_array(np.array([steps], np.int64), "steps"))
    nodes = [
        loop,
        helper.make_node("Mul", ["counted", "zero"], ["nothing"]),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [_value("x", [1])], [_value("y", [1])], initializer=constants
    )
    return _write(root, "plodding", graph, '[execution]\nexecutor = "thread"\n')


def _loop(steps: str, counted: str) -> tuple[onnx.NodeProto, list[TensorProto]]:
    """Return a node that counts to `steps`, one by one, and the constants that it needs."""
    one = numpy_helper.from_array(np.ones(1, np.int64), "one")
    zero = numpy_helper.from_array(np.zeros(1, np.int64), "zero")
    yes = numpy_helper.from_array(np.array(True), "yes")
    step = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes"]),
            helper.make_node("Add", ["sum", "one"], ["more"]),
        ],
        "step",
        [
            _value("at", [], TensorProto.INT64),
            _value("go", [], TensorProto.BOOL),
            _value("sum", [1]),
        ],
        [_value("goes", [], TensorProto.BOOL), _value("more", [1])],
    )
    loop = helper.make_node("Loop", [steps, "yes", "zero"], [counted], body=step)
    return loop, [one, zero, yes]


def write_labelled(root: Path) -> Path:
    """Write `labelled`, whose output has a label_filename."""
    folder = root / "labelled"
    models_onnx.echo(folder / "1" / "model.onnx", TensorProto.FLOAT, ["rows", 4])
    (folder / "config.pbtxt").write_text(_LABELLED)
    (folder / "labels.txt").write_text("cat\ndog\nemu\n")
    return root


def write_guest(root: Path) -> Path:
    """Write `guest`, whose inputs are a table's columns."""
    shape: Shape = ["rows", 1]
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["age", "age"], ["twice_age"]),
            helper.make_node("Identity", ["name"], ["same_name"]),
        ],
        "g",
        [_value("age", shape), _value("name", ["rows"], TensorProto.STRING)],
        [_value("twice_age", shape), _value("same_name", ["rows"], TensorProto.STRING)],
    )
    return _write(root, "guest", graph, _batched(8))


def write_pair(root: Path) -> None:
    """Write `pair`: two inputs and two outputs, of different types and shapes."""
    shapes: dict[str, tuple[Shape, int]] = {
        "a": (["rows", 2], TensorProto.INT32),
        "b": (["rows", 3], TensorProto.FLOAT),
    }
    graph = helper.make_graph(
        [helper.make_node("Add", [name, name], [f"twice_{name}"]) for name in shapes],
        "g",
        [_value(name, shape, kind) for name, (shape, kind) in shapes.items()],
        [_value(f"twice_{name}", shape, kind) for name, (shape, kind) in shapes.items()],
    )
    _write(root, "pair", graph, _batched(8))


def _batched(max_rows: int) -> str:
    return f"[batching]\nmax_batch_size = {max_rows}\n"


def _value(name: str, shape: Shape, kind: int = TensorProto.INT64) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _write(
    root: Path, name: str, graph: onnx.GraphProto, settings: str, version: str = "1"
) -> Path:
    folder = root / name / version
    folder.mkdir(parents=True)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "model.onnx")
    (folder / "model.toml").write_text(settings)
    return root
