"""Child: the program of a process for tests of those who keep it.

Job    double rows of FP32, as `tests.fakes.FakeModel` does; do as its opening says, and as a row
       asks that is one of those below.
Life   `python child.py --parent PID --memory FD --bells FD,FD`, with an opening in JSON:
       {"ready": false}   never be ready
       {"refuse": why}    refuse to load
       {"dies": code}     end before it is ready
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence

import numpy as np

from gateway.app.containment import die_with
from gateway.errors import ModelFailed
from gateway.execute import parcels
from gateway.execute.inside import Inside
from gateway.execute.parcels import Head, Kind
from gateway.types import Array, Outputs, Signature, TensorSpec

POISON, UNNAMED, CRASH, LOOP, STOP, BLOCK, EXIT, WIDE, BABBLE, NO_MEMORY = range(-1, -11, -1)
TWICE = Signature(
    (TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),), 1 << 20
)


class Model:
    """Doubles its rows, or does what they ask."""

    signature = TWICE

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    def execute_joined(self, arrays: Sequence[Array], calls: int, started_ns: int) -> Outputs:
        (array,) = arrays
        for asked in {int(number) for number in array[:, 0].tolist() if number < 0}:
            if asked == WIDE:  # a row more than was asked for
                array = np.concatenate([array, array])
            else:
                self._obey(asked)
        return Outputs([array * np.float32(2)], calls, input_ns=1, infer_ns=2, output_ns=3)

    def _obey(self, asked: int) -> None:
        if asked == POISON:
            raise ModelFailed("a row was poisoned")
        if asked == UNNAMED:
            raise RuntimeError("nobody's business")
        if asked == NO_MEMORY:
            raise MemoryError
        if asked == CRASH:
            os.abort()
        if asked == STOP:
            os.kill(os.getpid(), signal.SIGSTOP)
        if asked == BLOCK:
            threading.Event().wait()
        if asked == EXIT:
            os._exit(3)
        if asked == BABBLE:
            shared = self._inside._shared  # noqa: SLF001 - what a stray pointer would reach
            parcels.write_answer(shared, Head(Kind.DONE, 1 << 40, 1 << 40, 1 << 50))
            os.eventfd_write(self._inside._answered, 1)  # noqa: SLF001 - as above
            threading.Event().wait()
        while asked == LOOP:
            pass


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("--parent", "--memory"):
        parser.add_argument(name, type=int)
    parser.add_argument("--bells")
    given = parser.parse_args()
    die_with(given.parent)  # whatever becomes of a test
    asked, answered = map(int, given.bells.split(","))
    inside = Inside(given.memory, asked, answered)
    opening = json.loads(inside.opening())
    if "dies" in opening:
        os._exit(opening["dies"])
    if "refuse" in opening:
        inside.refuse(opening["refuse"])
        sys.exit(1)
    if not opening.get("ready", True):
        threading.Event().wait()
    inside.ready()
    inside.serve(Model(inside))


if __name__ == "__main__":
    main()
