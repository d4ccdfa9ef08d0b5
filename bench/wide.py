"""Models of a wanted size, whose answers mean nothing.

`python -m bench.wide FOLDER NAME=MEGABYTES ...` writes each as version 1 of its model. In a
process of its own, because making hundreds of megabytes leaves its traces in memory.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bench.versions import model_of, write_version

SMALL_MEGABYTES, SMALL_WIDTH = 100, 1024  # up to so many megabytes
WIDTH, HIDDEN = 2048, 16_384  # beyond: two layers of 134 MB, as embeddings are, then others
SETTINGS = """\
[batching]
max_batch_size = 8

[execution]
executor = "thread"
"""


def wide(megabytes: int) -> onnx.ModelProto:
    """Layers with Relu between them, about so many megabytes of weights."""
    widths = _widths(megabytes)
    depth = len(widths) - 1
    dice = np.random.default_rng(7)
    nodes, weights, value = [], [], "x"
    for layer, shape in enumerate(pairwise(widths)):
        # of a variance that keeps activations as large as they are, whatever the depth
        drawn = dice.standard_normal(shape, np.float32) * np.float32((2 / shape[0]) ** 0.5)
        weights.append(numpy_helper.from_array(drawn, f"weights{layer}"))
        nodes.append(helper.make_node("MatMul", [value, f"weights{layer}"], [f"sum{layer}"]))
        value = "y" if layer == depth - 1 else f"active{layer}"
        nodes.append(helper.make_node("Relu", [f"sum{layer}"], [value]))
    return model_of("wide", nodes, (widths[0], widths[-1]), weights)


def _widths(megabytes: int) -> list[int]:
    """Return the widths between layers, the first as the last."""
    width = SMALL_WIDTH if megabytes <= SMALL_MEGABYTES else WIDTH
    layers = max(1, round(megabytes * 1e6 / (4 * width * width)))
    if width == SMALL_WIDTH:
        return [width] * (layers + 1)
    large = HIDDEN // WIDTH  # layers that one of the large ones is as large as
    return [WIDTH, HIDDEN] + [WIDTH] * max(1, layers - 2 * large + 1)


def write(folder: Path, name: str, megabytes: int) -> None:
    """Write version 1 of the model `name`."""
    write_version(folder, name, wide(megabytes), SETTINGS)


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
