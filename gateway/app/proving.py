"""Proving: the main of the disposable child that opens versions nobody has opened yet.

Job    read requests, prove, answer; a line each.
Life   `python -P -m gateway.app.proving --parent PID`, until its input ends, its parent
       dies, or a model kills it. One child proves many versions: it imports once.
Never  outlives its parent; leaves a core; takes a core from who serves; lets what a
       model prints, or the memory it wants, be anybody's but its own.

Memory is bounded (containment.py); where that does not do, the child asks the kernel's
killer to take it before anybody else.
"""

import argparse
import ctypes
import gc
import os
import traceback
from typing import BinaryIO

from gateway.app.containment import be_modest, die_with, limit_memory
from gateway.control.trial import FROM_CHILD, TO_CHILD, At, FromChild, Prove, Proved, Ready, Refused
from gateway.execute.session import LoadFailed, is_out_of_memory
from gateway.repository.prove import prove
from gateway.repository.reasons import few

_OOM_SCORE = 1000
_MIB = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Answer requests until there are no more."""
    parser = argparse.ArgumentParser(prog="gateway.app.proving")
    parser.add_argument("--parent", type=int, required=True)
    die_with(parser.parse_args().parent)
    be_modest(_OOM_SCORE)
    requests, answers = _own_pipes()
    _answer(answers, Ready())
    for line in requests:
        request = TO_CHILD.validate_json(line)
        _answer(answers, _Step(answers).prove(request))
        _forget()


class _Step:
    """What is being done, told to whoever will have to say what it died of."""

    def __init__(self, answers: BinaryIO) -> None:
        self._answers = answers
        self._now = "starting"

    def prove(self, request: Prove) -> FromChild:
        """Prove one version, within its memory."""
        limit_memory(request.memory_bytes)
        try:
            return Proved(prove(request.found, request.bounds, request.platform, self._tell))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this version's fault
            return Refused(self._reason(request, error))

    def _reason(self, request: Prove, error: Exception) -> str:
        onnx = request.found.onnx
        if is_out_of_memory(error):
            most = f"{request.memory_bytes // _MIB} MiB of memory"
            return f"{onnx}: needs more than the {most} it may have, while {self._now}"
        if isinstance(error, LoadFailed):
            return "\n".join(few(str(error).splitlines()))
        traceback.print_exception(error)
        return "\n".join(
            few(f"{onnx}: {type(error).__name__} while {self._now}: {error}".splitlines())
        )

    def _tell(self, step: str) -> None:
        self._now = step
        _answer(self._answers, At(step))


def _answer(answers: BinaryIO, message: FromChild) -> None:
    answers.write(FROM_CHILD.dump_json(message) + b"\n")
    answers.flush()


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep both pipes to ourselves: what a model prints goes to stderr, what it reads is empty."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return requests, answers


def _forget() -> None:
    """Give back what the last version took, so that the next finds as much."""
    gc.collect()
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


if __name__ == "__main__":
    main()
