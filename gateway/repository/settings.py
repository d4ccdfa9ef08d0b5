"""Settings: what a version says of itself in its `model.toml`.

Job    carry the declarations of one version to the rooms that obey them.
Life   made once, when the version is discovered; frozen.
Never  guessed from the model: without a declaration there is no batch axis.

The schema and its faults are in the configuration; here are only the values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class BatchingSettings:
    """How requests for the version may share an execution.

    Units: `max_batch_size` is the most rows of one request; 0 says that the model has
    no batch axis. `max_wait_ms` None takes the gateway's. `pad_to` are rows, ascending;
    () pads nothing. `max_execution_rows` None lets the planner choose.
    """

    max_batch_size: int = 0
    max_wait_ms: float | None = None
    pad_to: tuple[int, ...] = ()
    max_execution_rows: int | None = None


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """Where the version runs, and on how many threads."""

    executor: Literal["auto", "inline", "thread"] = "auto"
    instances: int = 1
    intra_op_threads: int = 1
    inter_op_threads: int = 1


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """All that a version declares; an absent `model.toml` is this with its defaults."""

    description: str = ""
    batching: BatchingSettings = BatchingSettings()
    execution: ExecutionSettings = ExecutionSettings()
    metrics: Mapping[str, float] = field(default_factory=dict)
