"""Models that tell which files they were loaded from: y = x + what these say.

Job    write a version, or put other files in its place as operators do.
"""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests import models_onnx
from tests.operating import executing, wait_until
from tests.server import Server, infer, tensor

_AXES = TensorProto.INT64, ["rows"]


def write_plus(root: Path, more: int, name: str = "plus", version: str = "1") -> Path:
    """Write y = x + more, INT64 [rows], in batches of up to 8; return its folder."""
    folder = root / name / version
    constant = helper.make_tensor("more", TensorProto.INT64, [], [more])
    node = helper.make_node("Add", ["x", "more"], ["y"])
    models_onnx.save(folder / "model.onnx", [node], [("x", *_AXES)], [("y", *_AXES)], [constant])
    (folder / "model.toml").write_text("[batching]\nmax_batch_size = 8\n")
    return folder


def write_slow_plus(root: Path, more: int, name: str = "slow") -> Path:
    """Write y = x + more, INT64 [1], after x turns of a loop in a thread; return its folder."""
    folder = root / name / "1"
    values = [helper.make_tensor_value_info(n, TensorProto.INT64, [1]) for n in ("sum", "sums")]
    flags = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("go", "goes")]
    at = helper.make_tensor_value_info("at", TensorProto.INT64, [])
    turn = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes"]),
            helper.make_node("Add", ["sum", "one"], ["sums"]),
        ],
        "turn",
        [at, flags[0], values[0]],
        [flags[1], values[1]],
    )
    constants = [
        numpy_helper.from_array(np.array([more], np.int64), "more"),
        numpy_helper.from_array(np.ones(1, np.int64), "one"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    node = helper.make_node("Loop", ["x", "yes", "more"], ["y"], body=turn)
    tensors = ("x", TensorProto.INT64, [1]), ("y", TensorProto.INT64, [1])
    models_onnx.save(folder / "model.onnx", [node], [tensors[0]], [tensors[1]], constants)
    (folder / "model.toml").write_text('[execution]\nexecutor = "thread"\n')
    return folder


def take(model: str, number: int) -> bytes:
    return infer(model, tensor("x", "INT64", [1], [number]))


def answers_of(server: Server, model: str, number: int, connections: int = 16) -> set[int]:
    """Ask on so many connections, and both replicas with them; return what came."""
    with server.connections(connections) as wires:
        for wire in wires:
            wire.send(take(model, number))
        return {wire.answer().outputs["y"][0] for wire in wires}


def replace_folder(folder: Path, by: Path) -> None:
    """Have a version's folder be another, without a moment at which half of it is there."""
    aside = by.parent / f"{by.name}.before"
    folder.rename(aside)
    by.rename(folder)
    shutil.rmtree(aside)


def renew(server: Server) -> None:
    """Have a server read everything again."""
    os.kill(server.process.pid, signal.SIGHUP)


def wait_for_execution(server: Server, model: str) -> None:
    """Wait until some replica is inside a model."""
    wait_until(lambda: executing(server, model) > 0, server.replicas)
