"""Settings: what a version says of itself in its `model.toml`, or its model's `config.pbtxt`.

Job    carry the declarations of one version to the rooms that obey them.
Life   made once, when the version is discovered; frozen; sent between processes as JSON.
Never  guessed from the model: without a declaration there is no batch axis.

The schemas and their faults are elsewhere; here are only the values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.types import Shape, TensorSpec


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
    """Where the version runs, and on how many threads.

    Units: `max_memory_bytes` is what a process of its own may have beyond the program's, 0 for
    no limit; `suspect_after_s` None is found from the fitted cost.
    """

    executor: Literal["auto", "inline", "thread", "process", "remote"] = "auto"
    instances: int = 1
    intra_op_threads: int = 1
    inter_op_threads: int = 1
    max_memory_bytes: int = 0
    suspect_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Which V2 servers run the version, and how they are talked to.

    `model` and `version` None: they are called there as they are here; "": the servers choose
    the version. `headers_env` has the name of an environment variable for each header. `ca_file`
    None: the system's authorities. Units: `connections` per endpoint.
    """

    endpoints: tuple[str, ...]
    model: str | None = None
    version: str | None = None
    connections: int = 4
    timeout_s: float = 10.0
    connect_timeout_s: float = 1.0
    max_answer_bytes: int = 64 << 20
    headers_env: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions of a model are served: the `latest` so many, `all`, or these."""

    kind: Literal["latest", "all", "specific"] = "latest"
    count: int = 1  # of the latest
    versions: tuple[str, ...] = ()  # specific, canonical


@dataclass(frozen=True, slots=True)
class WarmupInput:
    """What one input holds during a warm-up.

    Shapes: `shape` is one row's, without the batch axis.
    `file` lies in the folder `warmup` beside the version's folder.
    """

    datatype: str
    shape: Shape
    fill: Literal["zero", "random", "file"] = "zero"
    file: str | None = None


@dataclass(frozen=True, slots=True)
class WarmupSample:
    """One request to run before the first caller's; its row is repeated `rows` times."""

    name: str
    rows: int
    inputs: Mapping[str, WarmupInput] = field(default_factory=dict)
    count: int = 1


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """All that a version declares; no declaration at all is this with its defaults.

    Shapes: declared tensors are as a signature would have them: a leading -1 where
    `max_batch_size` is above 0. None: nothing was declared.
    """

    description: str = ""
    batching: BatchingSettings = BatchingSettings()
    execution: ExecutionSettings = ExecutionSettings()
    metrics: Mapping[str, float] = field(default_factory=dict)
    origin: Literal["toml", "pbtxt", "request"] = "toml"
    version_policy: VersionPolicy = VersionPolicy("all")
    declared_inputs: tuple[TensorSpec, ...] | None = None
    declared_outputs: tuple[TensorSpec, ...] | None = None
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by output
    label_files: Mapping[str, str] = field(default_factory=dict)  # by output
    warmup: tuple[WarmupSample, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    preferred_batch_sizes: tuple[int, ...] = ()
    remote: RemoteSettings | None = None  # it runs elsewhere: it has no model.onnx
    notes: tuple[str, ...] = ()  # what was accepted and has no effect here
