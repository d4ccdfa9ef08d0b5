"""Versions: models of one matrix in and one out, made by hand and written as version 1."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

_OPSET, _IR_VERSION = 17, 8


def model_of(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    widths: tuple[int, int],
    weights: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    """Return a model from `x` to `y`, FP32 matrices of any number of rows and these widths."""
    x, y = (
        helper.make_tensor_value_info(value, TensorProto.FLOAT, ["rows", width])
        for value, width in zip("xy", widths, strict=True)
    )
    graph = helper.make_graph(nodes, name, [x], [y], weights)
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


def write_version(folder: Path, name: str, model: onnx.ModelProto, settings: str) -> Path:
    """Write version 1 of the model `name`, with its model.toml; return its graph's file."""
    home = folder / name / "1"
    home.mkdir(parents=True, exist_ok=True)
    onnx.save(model, home / "model.onnx")
    (home / "model.toml").write_text(settings)
    return home / "model.onnx"
