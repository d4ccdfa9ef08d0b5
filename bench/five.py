"""The model of five milliseconds: a row costs as much in company as alone.

Its rows are taken as sequences, so that one row alone keeps the processor's vector units as
busy as eight do, and weights are shared by all layers, so that they stay in its caches: a
batch shares nothing but its start. So the saturated rate is known, 200 rows a second, and no
batching hides what overload does. A batch has at most eight rows: forty milliseconds.

A gate stands before all else: the first feature chooses from a table, and one beyond it fails
the whole execution, as a poisoned row does.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.alone import measure
from bench.stand import Stand
from bench.versions import model_of, write_version

FEATURES, STEPS, WIDTH, ANSWERS = 64, 64, 256, 10
SHELF = 17  # values of a pixel
POISON = 99.0
ROW_S = 0.005
MOST_ROWS = 8
PROBE_DEPTH, PROBE_S = 32, 1.0
FIVE = "/v2/models/five/infer"
THREAD = '[execution]\nexecutor = "thread"\n'


def five(depth: int) -> onnx.ModelProto:
    """So many layers of the same weights; with none, the gate and what is around it."""
    dice = np.random.default_rng(5)

    def weights(name: str, rows: int, columns: int) -> onnx.TensorProto:
        drawn = dice.normal(0.0, np.sqrt(2.0 / rows), (rows, columns))
        return numpy_helper.from_array(drawn.astype(np.float32), name)

    constants = [
        numpy_helper.from_array(np.zeros(SHELF, np.float32), "shelf"),
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(dice.uniform(0.5, 1.5, (1, STEPS, 1)).astype(np.float32), "place"),
        weights("first", FEATURES, WIDTH),
        weights("last", WIDTH, ANSWERS),
        *[weights("middle", WIDTH, WIDTH)] * min(depth, 1),
    ]
    make = helper.make_node
    nodes = [
        make("Slice", ["x", "zero", "one", "one"], ["pixel"]),
        make("Cast", ["pixel"], ["index"], to=TensorProto.INT64),
        make("Gather", ["shelf", "index"], ["nothing"]),
        make("Add", ["x", "nothing"], ["admitted"]),  # so it runs after the gate
        make("Unsqueeze", ["admitted", "one"], ["row"]),
        make("Mul", ["row", "place"], ["sequence"]),
        make("MatMul", ["sequence", "first"], ["sum0"]),
        make("Relu", ["sum0"], ["active0"]),
    ]
    for layer in range(1, depth + 1):
        nodes.append(make("MatMul", [f"active{layer - 1}", "middle"], [f"sum{layer}"]))
        nodes.append(make("Relu", [f"sum{layer}"], [f"active{layer}"]))
    nodes.append(make("ReduceMean", [f"active{depth}"], ["pooled"], axes=[1], keepdims=0))
    nodes.append(make("MatMul", ["pooled", "last"], ["y"]))
    return model_of("five", nodes, (FEATURES, ANSWERS), constants)


def write(folder: Path, name: str, depth: int, settings: str = THREAD) -> Path:
    """Write version 1 of the model `name`; return its graph's file."""
    batching = f"[batching]\nmax_batch_size = 64\nmax_execution_rows = {MOST_ROWS}\n"
    return write_version(folder, name, five(depth), f"{batching}\n{settings}")


def depth_of(scratch: Path, cpu: int) -> int:
    """How many layers take five milliseconds a row on this processor, in batches of eight."""
    file = write(scratch / "probe", "probe", PROBE_DEPTH)
    rows_per_s = measure(file, [MOST_ROWS], PROBE_S, cpu)[MOST_ROWS]
    return max(1, round(PROBE_DEPTH * ROW_S * rows_per_s))


def build(stand: Stand) -> Path:
    """A folder of models with `digits` and `five`, whose files live with the scratch folder."""
    folder = stand.scratch / "fives"
    if not folder.exists():  # another part has built it
        shutil.copytree(stand.models / "digits", folder / "digits")
        write(folder, "five", depth_of(stand.scratch, stand.server_cpu))
    return folder


def write_poisoned(file: Path, bodies: Path, every: int) -> None:
    """Write the bodies again, one row in so many poisoned; 1: all."""
    lines = bodies.read_bytes().splitlines()
    for at in range(every - 1, len(lines), every):
        body = json.loads(lines[at])
        body["inputs"][0]["data"][0] = POISON
        lines[at] = json.dumps(body, separators=(",", ":")).encode()
    file.write_bytes(b"".join(line + b"\n" for line in lines))
