"""Versions that nobody should load, and the words in which each is refused.

Job    write them into a repository, one model each.
Never  harms who merely writes them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests import models_onnx

MANIFEST = f"{'0' * 64}  model.onnx\n"
PROOF_TIMEOUT_S = 6  # the others need a moment, of a machine that others keep busy
PROOF_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Hostile:
    """`write` makes its model file; `words` are parts of the reason, the file's name aside."""

    name: str
    write: Callable[[Path], Path]
    words: tuple[str, ...]
    has_batches: bool = True

    def put(self, model: Path, version: str = "1") -> Path:
        """Write it as a version of `model`; return its file."""
        onnx = self.write(model / version / "model.onnx")
        if self.has_batches:
            (onnx.parent / "model.toml").write_text("[batching]\nmax_batch_size = 4\n")
        return onnx


def _mislabelled(onnx: Path) -> Path:
    models_onnx.twice(onnx)
    (onnx.parent / "manifest.sha256").write_text(MANIFEST)
    return onnx


def _not_a_number(onnx: Path) -> Path:
    """It divides nothing by nothing, and says that this is one."""
    models_onnx.divides(onnx)
    tensor = {"datatype": "FP32", "shape": [1, 2]}
    golden = {
        "inputs": [{"name": "x", "data": [0, 1], **tensor}],
        "outputs": [{"name": "y", "data": [1, 1], **tensor}],
    }
    (onnx.parent / "golden.json").write_text(json.dumps(golden))
    return onnx


def _outside(onnx: Path) -> Path:
    """The file is there, and it is of the right size."""
    (onnx.parents[2] / "secret").write_bytes(bytes(8))
    return models_onnx.with_external_weights(onnx, "../../secret")


def _segfaults(onnx: Path) -> Path:
    """Deep enough; deeper ones take longer to open."""
    return models_onnx.overflows_the_stack(onnx, depth=5_000)


def _eats_memory(onnx: Path) -> Path:
    return models_onnx.eats_memory(onnx, elements=1 << 29)


def _of_the_future(onnx: Path) -> Path:
    return models_onnx.of_opset(onnx, 9999)


HOSTILE = (
    Hostile("segfaults", _segfaults, ("killed by SIGSEGV while opening",)),
    Hostile(
        "hangs", models_onnx.hangs, ("hung while measuring", f"not done after {PROOF_TIMEOUT_S} s")
    ),
    Hostile(
        "eats_memory",
        _eats_memory,
        (f"needs more than the {PROOF_MAX_BYTES >> 20} MiB of memory it may have",),
    ),
    Hostile(
        "mislabelled", _mislabelled, (f"expected SHA-256 {'0' * 64} from manifest.sha256, got",)
    ),
    Hostile("of_the_future", _of_the_future, ("opset 9999 of ai.onnx is unknown",)),
    Hostile("not_a_number", _not_a_number, ("golden.json", "output 'y'", "nan")),
    Hostile("outside", _outside, ("external data '../../secret' lies outside",)),
    Hostile("truncated", models_onnx.truncated, ("is no ONNX model",)),
)
