"""Versions on disk for tests: what was found in a folder, and the bounds to judge it by."""

from dataclasses import replace
from pathlib import Path

from gateway.core.costs import Bounds
from gateway.repository.proof import Found
from gateway.repository.settings import BatchingSettings, ExecutionSettings, ModelSettings
from tests import models_onnx

BATCHES = ModelSettings(batching=BatchingSettings(max_batch_size=512))
FEW = ModelSettings(batching=BatchingSettings(max_batch_size=8))
# Bounds beyond any machine's noise: what a test asks for is what it gets.
CHEAP = Bounds(inline_row_s=1e6, inline_batch_s=1e9, thread_batch_s=1e9)
DEAR = Bounds(inline_row_s=0.0, inline_batch_s=1e9, thread_batch_s=1e9)


def found(onnx: Path, settings: ModelSettings = BATCHES) -> Found:
    return Found("twice", "7", onnx.parent, onnx, settings)


def twice(folder: Path, rows: str | int = "rows") -> Path:
    return models_onnx.twice(folder / "twice" / "7" / "model.onnx", rows)


def declaring(
    executor: ExecutionSettings | None = None, batching: BatchingSettings | None = None
) -> ModelSettings:
    return replace(
        BATCHES,
        execution=executor or BATCHES.execution,
        batching=batching or BATCHES.batching,
    )
