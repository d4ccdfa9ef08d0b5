"""Worker: a replica's side of one process that runs a version.

Job    start the process, ask it, hear its answers and its end.
Life   from `spawn` to `on_end`, which comes once, when it is reaped.
Never  outlives its replica: the process sees to that itself. Blocks: the bells are eventfds, the
       end is heard through a pidfd. Unpickles, or believes, what comes back.

The process is executed anew, never forked from one that has threads or ONNX Runtime in it. It
inherits the memory, two bells and nothing else, and leads a process group of its own, so that
a Ctrl-C meant for the supervisor is not heard twice.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from gateway.core.stalls import Look, read_look
from gateway.errors import ModelFailed
from gateway.execute import parcels
from gateway.execute.parcels import Head, Kind
from gateway.execute.shared import KEPT_BYTES, Shared
from gateway.types import Array, Call, Outputs, Signature

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_NS = 1e-9


class Babble(Exception):
    """What came back is no answer: a model has written where it should not."""


class Listener(Protocol):
    """Who keeps a worker; on the loop."""

    def heard(self, worker: "Worker") -> None:
        """The bell rang: there is an answer to be taken."""

    def ended(self, worker: "Worker", code: int) -> None:
        """The process is reaped; negative: by a signal."""


class Worker:
    """One process.

    Mutable state: the number of the question, how long laying it down took, how long the
    process had computed when it answered last, and, from its end on, whether the last question
    was never heard (`is_unheard`): of that it did not die.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        shared: Shared,
        bells: tuple[int, int],
        listener: Listener,
    ) -> None:
        self._process = process
        self._shared = shared
        self._ask, self._answered = bells
        self._listener = listener
        self._number = 1
        self._laid_ns = 0
        self.cpu_s = 0.0
        self.is_unheard = False
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._answered, self._hear)
        self._loop.add_reader(self._pidfd, self._reap)

    @classmethod
    def spawn(cls, command: Sequence[str], opening: bytes, listener: Listener) -> "Worker":
        """Start a process, and ask it to load what `opening` says. Raises: OSError.

        The command gets `--parent`, `--memory` and `--bells`.
        """
        with ExitStack() as undo:
            shared = Shared.create()
            undo.callback(shared.close)
            ask = os.eventfd(0, os.EFD_CLOEXEC)
            undo.callback(os.close, ask)
            answered = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, answered)
            stop = parcels.put_text(shared, opening)
            parcels.write_question(shared, Head(Kind.OPEN, 1, stop=stop))
            process = _execute(command, shared.fd, ask, answered)
            try:
                worker = cls(process, shared, (ask, answered), listener)
            except BaseException:  # nobody else would reap it
                process.kill()
                process.wait()
                raise
            undo.pop_all()
        os.eventfd_write(ask, 1)
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, calls: Sequence[Call], signature: Signature) -> None:
        """Have it run the calls together. Raises: OSError, where there is no memory for them."""
        started_ns = time.perf_counter_ns()
        stop = parcels.put_calls(self._shared, calls, signature)
        self._number += 1
        parcels.write_question(self._shared, Head(Kind.RUN, self._number, stop=stop))
        self._laid_ns = time.perf_counter_ns() - started_ns
        os.eventfd_write(self._ask, 1)

    def readiness(self) -> str | None:
        """Return why it cannot load the version, or nothing. Raises: Babble."""
        head = self._head()
        if head.kind == Kind.REFUSED:
            return self._text(head)
        if head.kind != Kind.READY:
            raise Babble(f"expected READY, got {head.kind}")
        return None

    def result(self, calls: int, rows: int | None, signature: Signature) -> Outputs | ModelFailed:
        """Return what became of the calls, in memory of our own.

        Raises: Babble, where it is not `rows` rows of the signature's outputs.
        """
        started_ns = time.perf_counter_ns()
        head = self._head()
        if head.kind == Kind.FAILED:
            return ModelFailed(self._text(head))
        if head.kind != Kind.DONE:
            raise Babble(f"expected DONE, got {head.kind}")
        try:
            arrays = parcels.arrays_of(self._shared, head, signature.outputs)
        except (ValueError, OverflowError) as error:
            raise Babble(str(error)) from error
        copies = [_checked(array, len(spec.shape), rows) for array, spec in
                  zip(arrays, signature.outputs, strict=True)]  # fmt: skip
        del arrays
        if head.stop > KEPT_BYTES:
            self._shared.release()
        input_ns, infer_ns, output_ns, _ = head.times_ns
        output_ns += time.perf_counter_ns() - started_ns
        return Outputs(
            copies,
            calls,
            input_ns=input_ns + self._laid_ns,
            infer_ns=infer_ns,
            output_ns=output_ns,
        )

    def look(self) -> Look | None:
        """Return what the system says of the process; None where it says nothing."""
        with suppress(OSError, ValueError, IndexError):
            return read_look(Path(f"/proc/{self.pid}/stat").read_text("utf-8", "replace"),
                             _TICKS_PER_S)  # fmt: skip
        return None

    def dismiss(self) -> None:
        """Ask it to end; only while it has nothing to answer."""
        self._number += 1
        parcels.write_question(self._shared, Head(Kind.END, self._number))
        os.eventfd_write(self._ask, 1)

    def kill(self) -> None:
        """End it now: a stopped process too."""
        self._process.send_signal(signal.SIGKILL)

    def _head(self) -> Head:
        head = parcels.read_answer(self._shared)
        if head.number != self._number:
            raise Babble(f"expected an answer to question {self._number}, got {head.number}")
        self.cpu_s = head.times_ns[3] * _NS
        return head

    def _text(self, head: Head) -> str:
        try:
            return parcels.text_of(self._shared, head).decode("utf-8", "replace")
        except ValueError as error:
            raise Babble(str(error)) from error

    def _hear(self) -> None:
        try:
            os.eventfd_read(self._answered)
        except BlockingIOError:
            return
        self._listener.heard(self)

    def _has_unheard(self) -> bool:
        """Say whether the bell was rung, and the process ended before it heard."""
        os.set_blocking(self._ask, False)
        try:
            return os.eventfd_read(self._ask) > 0
        except BlockingIOError:
            return False

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._process.wait()  # it has ended
        self._hear()  # what it answered before stands; it may be asked more, dead as it is
        self.is_unheard = self._has_unheard()
        self._loop.remove_reader(self._answered)
        for fd in (self._ask, self._answered):
            os.close(fd)
        self._shared.close()
        self._listener.ended(self, code)


def _checked(array: Array, rank: int, rows: int | None) -> Array:
    if array.ndim != rank or (rows is not None and array.shape[0] != rows):
        raise Babble(f"expected {rank} dims and {rows} rows, got {list(array.shape)}")
    return array.copy()


def _execute(
    command: Sequence[str], memory: int, ask: int, answered: int
) -> "subprocess.Popen[bytes]":
    told = ["--parent", str(os.getpid()), "--memory", str(memory), "--bells", f"{ask},{answered}"]
    return subprocess.Popen(  # noqa: S603 - our own program
        [*command, *told],
        stdin=subprocess.DEVNULL,
        stdout=2,  # what a model prints is no answer
        pass_fds=(memory, ask, answered),
        process_group=0,
    )
