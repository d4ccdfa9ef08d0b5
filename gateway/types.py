"""Call: one request on its way through the rooms, and the nouns it carries.

Job    carry what each room learns; be answered exactly once.
Life   made by wire; whoever finishes it answers; `on_done` hears it and writes.
Never  awaited, never answered twice: a late answer is dropped, it is no error.

Tensors travel as bytes. What a client sent in binary, or what the decoder packed
from JSON, is joined once, when a batch is cut; no array is made for a single call.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

# One call's tensor, row-major: little-endian bytes, or the strings of a BYTES tensor.
Payload = bytes | bytearray | memoryview | list[str]
Shape = tuple[int, ...]
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model says of one of its inputs or outputs.

    Shapes: -1 is a dynamic axis; a model that batches has a leading -1.
    """

    name: str
    datatype: str  # the protocol's name: "FP32"; see core/datatypes.py
    shape: Shape


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives.

    Units: `max_batch_rows` is the most rows that one request may carry; 0 says that
    the model has no batch axis.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One immutable version of a model, compared by identity."""

    model: str
    version: str
    signature: Signature
    digest: str = ""  # SHA-256 over its files
    platform: str = "onnxruntime_onnx"
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of classes, by output


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """What a call is given to, compared by identity: a version under the name that led to it.

    `variant` and `revision` are those of the routing document by which it was chosen. None:
    there was nothing to choose, the version was asked for. `fallback` answers a call in its
    stead that fails here.
    """

    version: Version
    variant: str | None = None
    revision: int = 0
    fallback: "Arm | None" = None


@dataclass(slots=True, eq=False)
class Outputs:
    """The outputs of one execution, shared by the calls whose rows they hold.

    Units: what it took, in nanoseconds, to join the rows, to run the model, and to check
    what came out.
    """

    arrays: Sequence[Array]  # in the order of the signature
    calls: int  # that share them
    texts: Any = None  # the encoder's own, made at most once an execution
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0


@dataclass(slots=True, eq=False)
class Call:
    """One request for one arm; answered or failed exactly once.

    Shapes: `shapes` are the inputs' shapes beyond the batch axis: calls of one
    arm may share a batch when these are equal. `start:stop` are this call's
    rows in `outputs`.
    Units: `deadline` and `arrived` are monotonic seconds; `size_bytes` is what it holds in
    memory while it waits, about.
    """

    arm: Arm
    payloads: tuple[Payload, ...]  # in the order of the signature
    rows: int
    shapes: tuple[Shape, ...]
    on_done: Callable[["Call"], None]  # called once; must not raise
    deadline: float = math.inf
    priority: int = 0  # lower leaves first
    arrived: float = 0.0
    size_bytes: int = 0
    outputs: Outputs | None = None
    start: int = 0
    stop: int = 0
    error: Exception | None = None
    done: bool = False
    is_part: bool = False  # of a larger call, which its client knows
    was_run: bool = False  # in a batch that failed: what is run now is no first execution

    def answer(self, outputs: Outputs, start: int, stop: int) -> None:
        """Give the call its rows of `outputs`, unless it is done already."""
        if not self.done:
            self.done = True
            self.outputs = outputs
            self.start = start
            self.stop = stop
            self.on_done(self)

    def fail(self, error: Exception) -> None:
        """Give the call an error, unless it is done already."""
        if not self.done:
            self.done, self.error = True, error
            self.on_done(self)
