"""Models y = x + w, FP32 [rows, 2], whose `w` lies outside the model file.

Job    write one for each place that can name external data: ONNX Runtime treats them
       differently.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.models_onnx import OPSET, X, Y

WEIGHTS = (10.0, 20.0)
_FLOATS = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["rows", 2])
_ADD = helper.make_node("Add", ["x", "w"], ["y"])
_ADD_WITHIN = helper.make_node("Add", ["x", "w"], ["z"])


def external(name: str, location: str, size: int = 2) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[size])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(4 * size)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto] = (),
    functions: Sequence[onnx.FunctionProto] = (),
    sparse: Sequence[onnx.SparseTensorProto] = (),
) -> Path:
    tensors = [helper.make_tensor_value_info(*tensor) for tensor in (X, Y)]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], initializers)
    graph.sparse_initializer.extend(sparse)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def initializer(path: Path, location: str) -> Path:
    return save(path, [_ADD], [external("w", location)])


def constant(path: Path, location: str) -> Path:
    return save(path, [_constant(location), _ADD])


def _constant(location: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["w"], value=external("w", location))


def subgraph(path: Path, location: str) -> Path:
    """Adds where the sum of x is not 0, which is known at run time alone."""
    then = helper.make_graph([_ADD_WITHIN], "then", [], [_FLOATS], [external("w", location)])
    same = helper.make_node("Identity", ["x"], ["z"])
    other = helper.make_graph([same], "else", [], [_FLOATS])
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["is_any"], to=TensorProto.BOOL),
        helper.make_node("If", ["is_any"], ["y"], then_branch=then, else_branch=other),
    ]
    return save(path, nodes)


def function(path: Path, location: str) -> Path:
    body = [_constant(location), helper.make_node("Add", ["x", "w"], ["y"])]
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_function("own", "f", ["x"], ["y"], body, opsets)
    return save(path, [helper.make_node("f", ["x"], ["y"], domain="own")], functions=[made])


def sparse(path: Path, location: str) -> Path:
    places = helper.make_tensor("places", TensorProto.INT64, [2], [0, 1])
    tensor = helper.make_sparse_tensor(external("w", location), places, [2])
    return save(path, [_ADD], sparse=[tensor])


KINDS: dict[str, Callable[[Path, str], Path]] = {
    one.__name__: one for one in (initializer, constant, subgraph, function, sparse)
}


def write_weights(file: Path, values: Sequence[float] = WEIGHTS) -> Path:
    """Write into a file as it is, as a copy over it would."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    with file.open("r+b") as stream:
        stream.write(np.array(values, dtype="<f4").tobytes())
    return file
