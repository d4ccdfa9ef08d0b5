"""Models that pass every proof and kill their replica all the same: the input decides.

Job    write them: what the proof runs, zeros, harms nobody.
Never  harms who merely writes them.
"""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tests import models_onnx
from tests.zoo import write_patient

LEAST = -(2**63)
FATAL = -2
FOR_EVER = 1 << 60


def write_crashing(root: Path, name: str = "crashing", version: str = "1") -> Path:
    """y = the least INT64 / (x + 1): a quotient that is none, and a SIGFPE, where x is -2."""
    axes = TensorProto.INT64, ["rows"]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [], [value])
        for name, value in (("least", LEAST), ("one", 1))
    ]
    nodes = [
        helper.make_node("Add", ["x", "one"], ["divisor"]),
        helper.make_node("Div", ["least", "divisor"], ["y"]),
    ]
    folder = root / name / version
    models_onnx.save(folder / "model.onnx", nodes, [("x", *axes)], [("y", *axes)], constants)
    (folder / "model.toml").write_text("[batching]\nmax_batch_size = 4\n")
    return root


def write_hanging(root: Path, name: str = "hanging") -> Path:
    """y = x, INT64 [1], after x turns of a loop that holds the event loop."""
    write_patient(root)
    (root / "patient").rename(root / name)
    (root / name / "1" / "model.toml").write_text('[execution]\nexecutor = "inline"\n')
    return root


def mend(onnx_file: Path) -> None:
    """Have a model say something else of itself: it is another version then."""
    model = onnx.load(onnx_file)
    model.doc_string += "mended"
    onnx.save(model, onnx_file)


def write_hungry(root: Path, settings: str = "", name: str = "hungry") -> Path:
    """y = x, INT64 [rows], by way of as many numbers of four bytes as the largest row says."""
    axes = TensorProto.INT64, ["rows"]
    constants = [
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=1),
        helper.make_node("Max", ["most", "one"], ["count"]),
        helper.make_node("ConstantOfShape", ["count"], ["much"]),
        helper.make_node("ReduceMax", ["much"], ["nothing"], keepdims=1),
        helper.make_node("Cast", ["nothing"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mul", ["whole", "zero"], ["none"]),
        helper.make_node("Add", ["x", "none"], ["y"]),
    ]
    folder = root / name / "1"
    models_onnx.save(folder / "model.onnx", nodes, [("x", *axes)], [("y", *axes)], constants)
    (folder / "model.toml").write_text(f"[batching]\nmax_batch_size = 16\n{settings}")
    return root
