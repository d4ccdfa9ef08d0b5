"""Builds `heavy`: a model that costs milliseconds a row alone and far less in company.

    python models/build_heavy.py --out DIR

Its weights outgrow the processor's own caches, so one row waits for all of them to come
from memory, and a batch shares the wait. Lives for one build; never trains: the weights are
drawn by a seeded generator and the answers mean nothing.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx

from graphs import Dense, network

SEED = 7
FEATURES = 64
CLASSES = 10

# Measured with ONNX Runtime 1.31 on one core of a Xeon (model 167, AVX-512), one thread, 7 layers
# of 2048 (101 MB of weights), medians of three interleaved runs on each of two cores, in ms:
#   rows of a batch    1     8     16    32    64    96    128   256   512
#   ms a row           8.1   1.32  0.78  0.58  0.45  0.42  0.41  0.39  0.39
# One row after another, with no batch between to empty the caches: 4.6 ms.
SETTINGS = """\
description = "Wide random layers: milliseconds for one row, far less for each of a batch."

[batching]
max_batch_size = 1024 # rows of one request
max_execution_rows = 256 # a row of 512 costs no less

[execution]
executor = "thread"
"""


def heavy_network(width: int = 2048, depth: int = 7) -> onnx.ModelProto:
    """Return a net of `depth` hidden layers of `width`, the same at every call.

    Weights have the variance 2 / inputs, which keeps the size of activations from layer to
    layer, whatever the depth.  Source: He et al. 2015, arXiv:1502.01852, section 2.2.
    """
    dice = np.random.default_rng(SEED)
    layers = [
        Dense(dice.normal(0.0, np.sqrt(2.0 / inputs), (inputs, outputs)), np.zeros(outputs))
        for inputs, outputs in pairwise([FEATURES, *[width] * depth, CLASSES])
    ]
    return network(layers, "heavy")


def build_heavy(graph: onnx.ModelProto, out: Path) -> None:
    """Write `graph` as version 1 of `heavy` under `out`."""
    folder = out / "heavy" / "1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    (folder / "model.toml").write_text(SETTINGS)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the heavy model.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    build_heavy(heavy_network(), parser.parse_args().out)


if __name__ == "__main__":
    main()
