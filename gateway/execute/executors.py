"""Executors: where an execution happens.

Inline    on the event loop, for models dearer to hand over than to run.
Threads   in threads of our own; ONNX Runtime releases the GIL while it runs.

Both have the one shape that the batcher knows: `run(calls, finish)`.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Self

from gateway.core.costs import Overruns
from gateway.types import Call, Outputs

Execute = Callable[[Sequence[Call]], Outputs]
Finish = Callable[[Outputs | Exception], None]
_Work = tuple[Sequence[Call], Finish]

# A thread that comes back from ONNX Runtime waits this long for a busy loop to give up
# the GIL; Python's own 5 ms would be most of a small model's latency.
_SWITCH_INTERVAL_S = 0.0005
_YIELDING_NICENESS = 10  # the loop gets a shared core whenever it has something to do


class Inline:
    """Runs on the loop, and says so when the model has held it too long too often.

    `on_overrun` is called once, after `Overruns.limit` executions in a row took longer
    than `budget_s`.
    """

    def __init__(
        self, execute: Execute, budget_s: float, on_overrun: Callable[[], None] | None = None
    ) -> None:
        self._execute = execute
        self._budget_s = budget_s
        self._on_overrun = on_overrun
        self._overruns = Overruns()

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        """Run the calls and finish before returning."""
        started = time.perf_counter()
        try:
            result: Outputs | Exception = self._execute(calls)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            result = error
        self._overruns = self._overruns.after(time.perf_counter() - started, self._budget_s)
        if self._on_overrun is not None and self._overruns.has_exceeded():
            tell, self._on_overrun = self._on_overrun, None
            tell()
        finish(result)


class Threads:
    """Runs in `instances` threads; `finish` is called on the loop.

    Leaving waits for nobody: the threads end when they have run what is queued.
    """

    def __init__(self, execute: Execute, instances: int) -> None:
        self._execute = execute
        self._instances = instances
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        for _thread in self._threads:
            self._work.put(None)

    def _start(self) -> None:
        """Start the threads, with the first batch: most inline models never need them."""
        for number in range(self._instances):
            # daemon: a model that hangs in native code must not keep the process alive
            thread = threading.Thread(target=self._serve, name=f"execute-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        """Hand the calls to the next free thread."""
        if not self._threads:
            self._start()
        self._work.put((calls, finish))

    def _serve(self) -> None:
        yield_to_the_loop()
        while (work := self._work.get()) is not None:
            calls, finish = work
            try:
                result: Outputs | Exception = self._execute(calls)
            except Exception as error:  # noqa: BLE001 - a model may raise anything
                result = error
            try:
                self._loop.call_soon_threadsafe(finish, result)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more


def switch_soon() -> None:
    """Have a thread that waits for the interpreter get it soon, whoever holds it."""
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL_S))


def yield_to_the_loop() -> None:
    """Make the calling thread nicer, and the interpreter quicker to switch between threads.

    A thread that is as nice already stays so: it might not be allowed back.
    """
    switch_soon()
    thread = threading.get_native_id()
    with suppress(OSError):  # elsewhere than on Linux, a thread has no niceness of its own
        niceness = max(os.getpriority(os.PRIO_PROCESS, thread), _YIELDING_NICENESS)
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
