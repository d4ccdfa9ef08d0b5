"""Hand-written doubles for the batcher's neighbours: the model, the client, who counts.

Job    a model that doubles its rows at a cost in virtual time, a client that keeps what
       it heard, a telemetry row of one's own, and a list of what was refused.
       A row of a call is one FP32 number, repeated over the width of its shape class.
Never  a stand-in for ONNX Runtime: tests/test_fakes.py holds the model against a real one.
"""

import asyncio
import math
from collections.abc import Callable, Sequence

import numpy as np

from gateway.batch.batcher import Batcher, Finish
from gateway.core.batching import Policy
from gateway.core.stacking import stack
from gateway.errors import ModelFailed, Shed
from gateway.observe.layout import ROW_CELLS
from gateway.observe.record import Record
from gateway.types import Arm, Array, Call, Outputs, Shape, Signature, TensorSpec, Version

TWICE = Version(
    "twice",
    "1",
    Signature((TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),), 1 << 20),
)
TWICE_ARM = Arm(TWICE)
POISON = -1.0  # the model breaks on a batch with such a row

Answer = list[float] | type[Exception]


class Poisoned(ModelFailed):
    """What the fake model raises."""


# One object a width, as the decoder has one a version: calls of one class share it.
_SHAPES: dict[int, tuple[Shape, ...]] = {width: ((width,),) for width in range(1, 1025)}


def now() -> float:
    """Return the time of the running loop, which is the clock of every scene."""
    return asyncio.get_running_loop().time()


def deaf(call: Call) -> None:
    """Hear an answer, and forget it."""


def a_call(
    *rows: float,
    width: int = 1,
    deadline: float = math.inf,
    priority: int = 0,
    arrived: float = 0.0,
    on_done: Callable[[Call], None] = deaf,
) -> Call:
    """Make a call of `rows`, each `width` times the same number."""
    payload = np.repeat(np.array(rows, dtype="<f4"), width).tobytes()
    shapes = _SHAPES[width]
    return Call(TWICE_ARM, (payload,), len(rows), shapes, on_done, deadline, priority, arrived)


def rows_of(call: Call) -> list[float]:
    """Return what the call asked about, a number a row."""
    return first_column(stack([call], TWICE.signature)[0])


def first_column(array: Array) -> list[float]:
    return [float(row[0]) for row in array]


def answer_of(call: Call) -> Answer:
    """Return what the call was told: its rows of the outputs, or the kind of its error."""
    if call.outputs is None:
        return type(call.error) if call.error is not None else AssertionError
    return first_column(call.outputs.arrays[0][call.start : call.stop])


def untold(_call: Call, _outputs: Outputs) -> None:
    """Hear of a split call that is about to be answered, and tell nobody."""


class FakeModel:
    """Doubles every row after `cost_s`, and remembers what it was given and when."""

    def __init__(self, cost_s: float | Callable[[int], float] = 0.0) -> None:
        self.batches: list[list[float]] = []
        self.started: list[float] = []
        self._cost_s = cost_s if callable(cost_s) else lambda rows: cost_s

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        """Finish before returning if that costs nothing, as a short model on the loop does."""
        rows = [row for call in calls for row in rows_of(call)]
        self.batches.append(rows)
        self.started.append(now())
        cost_s = self._cost_s(len(rows))
        if cost_s:
            asyncio.get_running_loop().call_later(cost_s, finish, self.result(calls))
        else:
            finish(self.result(calls))

    def result(self, calls: Sequence[Call]) -> Outputs | Exception:
        try:
            return self.execute(calls)
        except Poisoned as error:
            return error

    def execute(self, calls: Sequence[Call]) -> Outputs:
        (array,) = stack(calls, TWICE.signature)
        if (array == POISON).any():
            raise Poisoned("a row was poisoned")
        return Outputs([array * np.float32(2)], len(calls))


class Client:
    """Makes calls and keeps what it heard, in the order it heard it."""

    def __init__(self) -> None:
        self.heard: list[Call] = []

    def call(
        self, *rows: float, width: int = 1, deadline: float = math.inf, priority: int = 0
    ) -> Call:
        return a_call(
            *rows,
            width=width,
            deadline=deadline,
            priority=priority,
            arrived=now(),
            on_done=self.heard.append,
        )

    def answers(self) -> list[Answer]:
        return [answer_of(call) for call in self.heard]


class Tallied:
    """Keeps what it was told of requests that got an error."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, float, int]] = []
        self.sheds: list[Shed] = []
        self.fallbacks = 0

    def refuse(self, code: str, elapsed_s: float, rows: int = 0) -> None:
        self.refused.append((code, elapsed_s, rows))

    def shed(self, reason: Shed) -> None:
        self.sheds.append(reason)

    def fell_back(self) -> None:
        self.fallbacks += 1

    def codes(self) -> list[str]:
        return [code for code, _, _ in self.refused]


def a_row() -> memoryview:
    """Return a telemetry row that nobody else knows."""
    return memoryview(bytearray(ROW_CELLS * 8)).cast("q")


def a_record() -> Record:
    """Return a record that nobody reads."""
    return Record(a_row())


def batcher_for(model: FakeModel, policy: Policy) -> Batcher:
    """Return a batcher that lives in the time of the running loop."""
    return Batcher(model.run, policy, a_record(), now)
