"""Working: the main of a process in which one version runs, for one replica.

Job    open the version that the replica names, if it is the one that was proved, and run what
       the replica asks.
Life   `python -P -m gateway.app.working --model=M --version=V --parent PID --memory FD --bells
       FD,FD`, until it is told to end, its replica dies, or it is killed.
Never  outlives its replica; leaves it while it drains; leaves a core; takes a core from who
       serves.

What its model prints goes to stderr, and what it would read is empty. Its model and version are
told for whoever lists processes.
"""

import argparse
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from gateway.app.containment import be_modest, die_with, limit_memory
from gateway.app.returning import give_back
from gateway.control.opening import OPENING
from gateway.execute.inside import Inside
from gateway.execute.session import LoadFailed, Session, is_out_of_memory
from gateway.repository.load import open_proved
from gateway.repository.proof import Proof

_OOM_SCORE = 500  # before its replica, which many wait for; after a trial, for which nobody does
_MIB = 1 << 20


def main(arguments: Sequence[str]) -> int:
    """Run one version; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -P -m gateway.app.working")
    for name in ("--parent", "--memory"):
        parser.add_argument(name, type=int, required=True)
    for name in ("--model", "--version", "--bells"):
        parser.add_argument(name, required=True)
    given = parser.parse_args(arguments)
    die_with(given.parent)
    for number in (signal.SIGTERM, signal.SIGINT):  # a whole group may get one: replicas drain
        signal.signal(number, signal.SIG_IGN)
    be_modest(_OOM_SCORE)
    logging.basicConfig(format=f"process {os.getpid()}: %(message)s", level=logging.WARNING)
    asked, answered = (int(number) for number in given.bells.split(","))
    inside = Inside(given.memory, asked, answered)
    proof = OPENING.validate_json(inside.opening()).proof
    session = _opened(proof, inside)
    if session is None:
        return 1
    give_back()
    gc.collect()
    gc.freeze()
    inside.ready()
    inside.serve(session)
    return 0


def _opened(proof: Proof, inside: Inside) -> Session | None:
    """Open a version within its memory, or say why not."""
    memory_bytes = proof.found.settings.execution.max_memory_bytes
    if memory_bytes:
        limit_memory(memory_bytes)
    try:
        return open_proved(proof)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this version's fault
        if is_out_of_memory(error):
            most = f"{memory_bytes // _MIB} MiB of memory"
            inside.refuse(f"{proof.found.onnx}: needs more than the {most} it may have")
        else:
            if not isinstance(error, LoadFailed):
                traceback.print_exception(error)
            inside.refuse(str(error) or type(error).__name__)
    return None


def _leave(code: int) -> NoReturn:
    """End at once: nothing of a model is taken down in order."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main(sys.argv[1:]))
