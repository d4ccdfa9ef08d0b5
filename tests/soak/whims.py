"""Whims: an executor that does to its executions whatever an executor may do.

Job    answer most executions, at once or later, and fail, hang, crash, or speak twice on others,
       as seeded dice say.
Never  loses an execution for ever: what hangs is heard of after `HANG_S`, where nobody listens.

A call's rows are a number, doubled; a number below 0 is poison to the whole execution.
"""

import asyncio
import random
from collections.abc import Sequence

import numpy as np

from gateway.batch.batcher import Finish
from gateway.core.stacking import stack
from gateway.errors import ModelFailed
from gateway.types import Call, Outputs
from tests.fakes import TWICE

HANG_S = 30.0  # beyond what an era lasts
PAUSE_S = 0.05  # beyond what most callers wait for
MOST_COST_S = 0.001
SLOW = 200  # times as long


def execute(calls: Sequence[Call]) -> Outputs:
    """Double the rows of all calls. Raises: ModelFailed, if one of them is poisoned."""
    (array,) = stack(calls, TWICE.signature)
    if (array < 0).any():
        raise ModelFailed("a row was poisoned")
    return Outputs([array * np.float32(2)], len(calls))


class Whims:
    """One such executor, on a loop whose time may be anything. Mutable state: `runs`."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._loop = asyncio.get_running_loop()
        self.runs = 0

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        """Start an execution."""
        self.runs += 1
        roll = self._dice.random()
        if roll < 0.01:
            raise ModelFailed("it would not start")
        result = self._result(calls, is_crash=roll > 0.97)
        if roll < 0.45:
            finish(result)
        else:
            hang_s = HANG_S if roll < 0.4502 else PAUSE_S
            cost_s = hang_s if roll < 0.455 else self._dice.random() * MOST_COST_S
            self._loop.call_later(cost_s, finish, result)
        if 0.44 < roll < 0.48:  # in each of these cases, a word too many
            self._loop.call_later(MOST_COST_S, finish, ModelFailed("a second word"))
        elif 0.43 < roll < 0.44:
            raise ModelFailed("it finished, and raised")

    def _result(self, calls: Sequence[Call], *, is_crash: bool) -> Outputs | Exception:
        if is_crash:
            return ModelFailed("it crashed")
        try:
            return execute(calls)
        except ModelFailed as error:
            return error


class Moody:
    """The same for executors that run in place or in threads: what they execute.

    Nothing hangs there; what is slow takes a millisecond or two, because time is real.
    Mutable state: `runs`.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.runs = 0

    def __call__(self, calls: Sequence[Call]) -> Outputs:
        self.runs += 1
        roll = self._dice.random()
        if roll < 0.03:
            raise ModelFailed("it crashed")
        if roll < 0.05:
            for _ in range(SLOW):
                execute(calls)
        return execute(calls)
