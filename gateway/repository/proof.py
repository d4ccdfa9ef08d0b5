"""Proof: what is known of a version once a disposable child has opened and run it.

Job    carry a version's digest, signature, cost and placement to whoever serves it.
Life   made once per digest, in a child; sent to every replica.
Never  holds anything of ONNX Runtime: the supervisor reads it and never loads a model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.costs import Cost, Placement
from gateway.repository.settings import ModelSettings
from gateway.types import Shape, Signature


@dataclass(frozen=True, slots=True)
class Found:
    """One version on disk; `version` is canonical, whatever its folder is called.

    `onnx` is the file that makes it one; of a version that runs elsewhere it is its `model.toml`.
    """

    model: str
    version: str
    folder: Path
    onnx: Path
    settings: ModelSettings


@dataclass(frozen=True, slots=True)
class External:
    """Where a model's external data lie, by the names that it gives them.

    `is_nested`: not all of them are initializers of the graph itself.
    """

    locations: tuple[str, ...] = ()
    is_nested: bool = False


NOTHING_EXTERNAL = External()


@dataclass(frozen=True, slots=True)
class Proof:
    """A version that was opened, checked, run and measured.

    `digest` is the SHA-256 over the files that were proved: whoever loads others has
    another version.

    Shapes: `trial_shapes` are one row of an input, by name, where the graph leaves axes
    open and a sample told what callers send.
    """

    found: Found
    digest: str
    signature: Signature
    cost: Cost
    placement: Placement
    platform: str = "onnxruntime_onnx"
    trial_shapes: Mapping[str, Shape] = field(default_factory=dict)
    external: External = NOTHING_EXTERNAL

    @property
    def executor(self) -> str:
        """Where the version runs, in the words of `model.toml`; never `auto`."""
        declared = self.found.settings.execution.executor
        if declared in ("auto", "inline", "thread"):
            return "inline" if self.placement.is_inline else "thread"
        return declared
