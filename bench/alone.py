"""ONNX Runtime with nothing around it: what the processor can give at each batch size.

`python -m bench.alone MODEL --rows 1 64 256 --window 1.0` prints {"rows": rows per second}.
One thread, no spinning, the same rows again and again; the bench pins it to the server's
processor, so that the gateway is compared with all that its core could do.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime as ort

from bench.launch import pinned

FEATURES = 64


def rows_per_s(model: Path, sizes: Sequence[int], window_s: float) -> dict[int, float]:
    """Rows per second at each batch size, each after two runs that are not counted."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    seen = {}
    for rows in sizes:
        batch = np.random.default_rng(1).uniform(0, 16, (rows, FEATURES)).astype(np.float32)
        for _ in range(2):
            session.run(None, {name: batch})
        runs, started = 0, perf_counter()
        while (elapsed_s := perf_counter() - started) < window_s or not runs:
            session.run(None, {name: batch})
            runs += 1
        seen[rows] = runs * rows / elapsed_s
    return seen


def measure(model: Path, sizes: Sequence[int], window_s: float, cpu: int) -> dict[int, float]:
    """The same, in a process of its own on `cpu`."""
    command = [sys.executable, "-m", "bench.alone", str(model), "--window", str(window_s)]
    command += ["--rows", *map(str, sizes)]
    done = subprocess.run(pinned(command, cpu), stdout=subprocess.PIPE, text=True, check=True)
    return {int(rows): rate for rows, rate in json.loads(done.stdout).items()}


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.alone")
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", required=True)
    parser.add_argument("--window", type=float, default=1.0)
    arguments = parser.parse_args()
    print(json.dumps(rows_per_s(arguments.model, arguments.rows, arguments.window)))


if __name__ == "__main__":
    main()
