"""Instance: a place where one version runs, whichever process fills it.

Job    keep a process there; give it one batch at a time; say what became of each.
Life   `open` starts the first process, `close` ends the last one. In between, one that dies,
       is killed or cannot begin is followed by another.
Never  leaves a batch unanswered: each ends with its outputs, with an error, or with the process.

A process that has answered something was no failed start, and its successor starts at once;
one that has not has it wait, ever longer (core/restarts.py). Nobody follows the first before it
has loaded the version: that it cannot is for `open` to say, at once.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gateway.core.costs import Cost
from gateway.core.quarantine import Death, is_attributable
from gateway.core.restarts import Restarts, after_end
from gateway.core.stalls import Look, Policy
from gateway.core.suspects import Loss, WorkerLost
from gateway.execute.session import LoadFailed
from gateway.execute.watch import Watch
from gateway.execute.worker import Babble, Worker
from gateway.types import Call, Outputs, Signature

Finish = Callable[[Outputs | Exception], None]

_END_S = 2.0  # from being asked to end to being killed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What every instance of a version runs, and how.

    `command` starts a process, `opening` tells it what to load, which takes `open_s` at most.
    `threads` compute at once.
    """

    name: str
    command: Sequence[str]
    opening: bytes
    signature: Signature
    cost: Cost
    stalls: Policy
    threads: int
    open_s: float = 60.0


class Keeper(Protocol):
    """Who has the instances; hears on the loop."""

    def changed(self) -> None:
        """One can be given work now that could not, or the other way round."""

    def lost(self, instance: "Instance", tell: Callable[[], None]) -> None:
        """Its process died with a batch; have it told to whose batch it was."""


@dataclass(slots=True, eq=False)
class _Batch:
    calls: int
    rows: int | None  # None: it has no batch axis
    finish: Finish


class Instance:
    """Mutable state: the process (`_worker`) and why we killed it, whether it has loaded (and any
    has: `_has_opened`), and answered anything, what runs, how starts are spaced, and who waits
    for a change.
    """

    def __init__(self, name: str, plan: Plan, keeper: Keeper) -> None:
        self.name = name
        self.starts = 0
        self._plan = plan
        self._keeper = keeper
        self._worker: Worker | None = None
        self._is_ready = self._has_opened = self._has_served = self._is_closing = False
        self._killed: Loss | None = None
        self._reason = ""  # why the process has not loaded the version
        self._batch: _Batch | None = None
        self._watch = Watch(plan.cost, plan.stalls, plan.threads, self._look, self._kill)
        self._restarts = Restarts()
        self._timer: asyncio.TimerHandle | None = None  # of the next start, or of one's end
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def is_up(self) -> bool:
        """Whether its process has loaded the version, and nobody is about to end it."""
        return self._is_ready and self._killed is None and not self._is_closing

    @property
    def is_free(self) -> bool:
        return self._batch is None and self.is_up

    @property
    def pid(self) -> int | None:
        return None if self._worker is None else self._worker.pid

    async def open(self) -> None:
        """Start a process; return when it has loaded the version. Raises: LoadFailed."""
        try:
            self._start()
        except OSError as error:
            raise LoadFailed(f"no process can be started for it: {error}") from error
        while not self._is_ready:
            if self._worker is None:
                raise LoadFailed(self._reason)
            await self._change()

    async def close(self) -> None:
        """End the process and reap it; a batch that still runs is lost.

        Cancel: the process is killed, and reaped when its end is heard.
        """
        self._is_closing = True
        self._watch.close()
        if self._timer is not None:
            self._timer.cancel()
        try:
            if self._is_ready and self._batch is None and self._worker is not None:
                self._worker.dismiss()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_END_S):
                        await self._ended()
        finally:
            self._kill("late")
        await self._ended()

    def run(self, calls: Sequence[Call], finish: Finish, is_patient: bool = False) -> None:
        """Run the calls; only where `is_free`. Raises: OSError, where there is no memory.

        `is_patient`: for as long as anybody waits for them.
        """
        worker, signature = self._worker, self._plan.signature
        assert worker is not None
        assert self.is_free
        worker.run(calls, signature)
        rows = sum([call.rows for call in calls])
        self._batch = _Batch(len(calls), rows if signature.max_batch_rows else None, finish)
        self._watch.begin(calls, rows, worker.cpu_s, is_patient)

    def heard(self, worker: Worker) -> None:
        """Take an answer of the process."""
        try:
            if not self._is_ready:
                self._hear_ready(worker)
            elif self._batch is not None:
                self._hear_result(worker, self._batch)
        except Babble as error:
            _log.error("%s of %s says what is no answer: %s", self.name, self._plan.name, error)
            self._kill("crashed")

    def ended(self, worker: Worker, code: int) -> None:
        """Answer for the process, and have another one start."""
        told = f"the model's process {_told(code, self._killed)}"
        loss = self._killed or ("crashed" if is_attributable(Death(code)) else "killed")
        if loss == "crashed" and worker.is_unheard:
            loss = "killed"  # of whatever it was, but not of this batch
        batch, self._batch, self._worker = self._batch, None, None
        has_served, self._is_ready, self._killed = self._has_served, False, None
        self._reason = self._reason or told
        self._watch.end(is_well=False)
        if not self._is_closing:
            _log.warning("%s of %s: %s", self.name, self._plan.name, self._reason)
            self._plan_start(Restarts() if has_served else self._restarts)
        if batch is None:
            self._keeper.changed()
        else:
            self._keeper.lost(self, partial(batch.finish, WorkerLost(told, loss)))
        self._wake()

    def _hear_ready(self, worker: Worker) -> None:
        self._reason = worker.readiness() or ""
        if self._reason:
            return  # it ends by itself
        self._is_ready = self._has_opened = True
        self._keeper.changed()
        self._wake()

    def _hear_result(self, worker: Worker, batch: _Batch) -> None:
        result = worker.result(batch.calls, batch.rows, self._plan.signature)
        self._batch, self._has_served = None, True
        self._watch.end(is_well=isinstance(result, Outputs))
        batch.finish(result)

    def _start(self) -> None:
        """Start a process. Raises: OSError."""
        self._has_served, self._reason = False, ""
        self.starts += 1
        self._worker = Worker.spawn(self._plan.command, self._plan.opening, self)
        self._timer = asyncio.get_running_loop().call_later(self._plan.open_s, self._give_up_start)

    def _start_again(self) -> None:
        try:
            self._start()
        except OSError as error:
            _log.error("%s of %s cannot be started: %s", self.name, self._plan.name, error)
            self._plan_start(self._restarts)

    def _plan_start(self, restarts: Restarts) -> None:
        """Have another process start in its time, once there has been one that could load."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._has_opened:
            return
        self._restarts, delay_s = after_end(restarts, time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._start_again)

    def _give_up_start(self) -> None:
        if not self._is_ready:
            self._reason = f"its process was not ready after {self._plan.open_s:g} s"
            self._kill("stalled")

    def _look(self) -> Look | None:
        return None if self._worker is None else self._worker.look()

    def _kill(self, why: Loss) -> None:
        if self._worker is not None and self._killed is None:
            self._killed = why
            self._worker.kill()

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    async def _ended(self) -> None:
        while self._worker is not None:
            await self._change()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _told(code: int, killed: Loss | None) -> str:
    """Say how a process ended, as a caller may hear it."""
    if killed == "stalled":
        return "was killed, because it did not go on"
    if killed == "late":
        return "was killed, because nobody waited for it any longer"
    if code >= 0:
        return f"ended with code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
