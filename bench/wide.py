"""Models of a wanted size, whose answers mean nothing.

`python -m bench.wide FOLDER NAME=MEGABYTES ...` writes each as version 1 of its model. In a
process of its own, because making hundreds of megabytes leaves its traces in memory.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8
LAYER_WIDTHS = {100: 1024}  # up to so many megabytes; beyond, layers of 2048
WIDEST = 2048
SETTINGS = """\
[batching]
max_batch_size = 8

[execution]
executor = "thread"
"""


def wide(megabytes: int) -> onnx.ModelProto:
    """Square layers with Relu between them, about so many megabytes of weights."""
    width = next((one for most, one in LAYER_WIDTHS.items() if megabytes <= most), WIDEST)
    depth = max(1, round(megabytes * 1e6 / (4 * width * width)))
    dice = np.random.default_rng(7)
    nodes, weights, value = [], [], "x"
    for layer in range(depth):
        # of a variance that keeps activations as large as they are, whatever the depth
        drawn = dice.standard_normal((width, width), np.float32) * np.float32((2 / width) ** 0.5)
        weights.append(numpy_helper.from_array(drawn, f"weights{layer}"))
        nodes.append(helper.make_node("MatMul", [value, f"weights{layer}"], [f"sum{layer}"]))
        value = "y" if layer == depth - 1 else f"active{layer}"
        nodes.append(helper.make_node("Relu", [f"sum{layer}"], [value]))
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", width])],
        weights,
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)


def write(folder: Path, name: str, megabytes: int) -> None:
    """Write version 1 of the model `name`."""
    home = folder / name / "1"
    home.mkdir(parents=True)
    onnx.save(wide(megabytes), home / "model.onnx")
    (home / "model.toml").write_text(SETTINGS)


def main() -> None:
    """Write what is named."""
    parser = argparse.ArgumentParser(prog="python -m bench.wide")
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MEGABYTES")
    given = parser.parse_args()
    for wanted in given.models:
        name, _, megabytes = wanted.partition("=")
        write(given.folder, name, int(megabytes))


if __name__ == "__main__":
    main()
