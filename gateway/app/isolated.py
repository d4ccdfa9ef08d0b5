"""Isolated: a version that runs in processes of its own, introduced to its batchers.

Job    start its processes, and have as much under way as there are instances for it.
Life   as `opened.py`: made when a version is prepared, closed with it.
Never  opens the model here: what it breaks or eats is its processes' alone.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from functools import partial

from gateway.app.opened import Opened, admission_of, batcher_of, policy_of
from gateway.app.policies import breaker_policy, slowness_of
from gateway.batch.batcher import Busy
from gateway.batch.gate import Gate
from gateway.batch.guard import Guard
from gateway.batch.turns import Refuge, Run, Turns
from gateway.config import Config
from gateway.control.opening import OPENING, Opening
from gateway.core import stalls
from gateway.core.breaker import State
from gateway.core.slowness import Slowness
from gateway.errors import DeadlineExceeded, Draining
from gateway.execute.instance import Plan
from gateway.execute.processes import Processes
from gateway.observe.record import Record
from gateway.repository.load import version_of
from gateway.repository.proof import Proof
from gateway.types import Call, Outputs

COMMAND = (sys.executable, "-P", "-m", "gateway.app.working")
_SHADOW_S = 60.0  # what an execution of a shadow may take, its wait for an instance included


class Places:
    """The turns of a version's instances, and those of its refuge: how many, its executor says."""

    def __init__(self) -> None:
        self.turns, self.refuge = Turns(0), Turns(0)

    def allow(self, batches: int, suspects: int) -> None:
        self.refuge.allow(suspects)
        self.turns.allow(batches)

    def is_wanted(self) -> bool:
        return not self.refuge.is_idle()


async def open_isolated(proof: Proof, config: Config, record: Record, busy: Busy) -> Opened:
    """Start a version's processes, and make its batchers. Raises: LoadFailed.

    Cancel: what was started is ended.
    """
    instances = proof.found.settings.execution.instances
    policy = policy_of(proof.found.settings, proof.placement, config)
    places, stack = Places(), AsyncExitStack()
    turns, refuge = places.turns, places.refuge
    processes: Processes | None = None
    loop = asyncio.get_running_loop()

    def show(executor: str, state: State | None) -> None:
        record.breaker(executor, state)
        if processes is not None:  # not now: a batch is on its way to an instance
            loop.call_soon(processes.recount)

    name = f"{proof.found.model} version {proof.found.version}"
    gate = Gate(name, *breaker_policy(config), show)
    slowness = slowness_of(config, proof.signature, proof.cost, instances)
    processes = Processes(plan_of(proof), instances, places, partial(_guarded, gate, slowness))
    turns.refuge = Refuge(
        refuge,
        refuge.counted(processes.run_suspects),
        refuge.counted(processes.wait_for_suspects),
    )
    await stack.enter_async_context(processes)
    run = turns.counted(processes.run)
    admission = admission_of(proof.cost, policy, config, gate)
    make = partial(batcher_of, run, policy, busy, turns, admission)
    aside = _Aside(turns, run)
    stack.callback(aside.close)
    return Opened(version_of(proof), make, record, stack, aside.execute, gate)


def plan_of(proof: Proof) -> Plan:
    """Return how each instance of a version runs."""
    found, execution = proof.found, proof.found.settings.execution
    return Plan(
        f"{found.model} version {found.version}",
        (*COMMAND, f"--model={found.model}", f"--version={found.version}"),
        OPENING.dump_json(Opening(proof)),
        proof.signature,
        proof.cost,
        stalls.Policy(suspect_after_s=execution.suspect_after_s),
        execution.intra_op_threads * execution.inter_op_threads,
    )


def _guarded(gate: Gate, slowness: Slowness, name: str, run: Run) -> Guard:
    """Return one instance behind a breaker of its own."""
    return gate.guarded(name, run, slowness)


class _Aside:
    """Runs calls for threads that wait for them: shadows'.

    Mutable state: who waits for an instance.
    """

    def __init__(self, turns: Turns, run: Run) -> None:
        self._loop = asyncio.get_running_loop()
        self._turns, self._run = turns, run
        self._waiting: dict[Future[Outputs], Callable[[], None]] = {}
        self._is_closed = False

    def execute(self, calls: Sequence[Call]) -> Outputs:
        """Run the calls in the next instance that is free; they are not tried again.

        Raises: whatever became of them; TimeoutError; RuntimeError, where the loop is closed.
        """
        ended: Future[Outputs] = Future()
        self._loop.call_soon_threadsafe(self._start, calls, ended)
        try:
            return ended.result(_SHADOW_S)
        except TimeoutError:
            self._loop.call_soon_threadsafe(self._give_up, ended, DeadlineExceeded("too late"))
            raise

    def close(self) -> None:
        """Let go of who waits."""
        self._is_closed = True
        for ended in tuple(self._waiting):
            self._give_up(ended, Draining("this version was unloaded"))

    def _start(self, calls: Sequence[Call], ended: Future[Outputs]) -> None:
        if self._is_closed:
            _settle(ended, Draining("this version was unloaded"))
            return

        def start() -> None:
            if self._turns.may_start(start):
                self._waiting.pop(ended, None)
                try:
                    self._run(calls, partial(_settle, ended))
                except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
                    _settle(ended, error)

        self._waiting[ended] = start
        start()

    def _give_up(self, ended: Future[Outputs], error: Exception) -> None:
        start = self._waiting.pop(ended, None)
        if start is not None:
            self._turns.leave(start)
        _settle(ended, error)


def _settle(ended: Future[Outputs], result: Outputs | Exception) -> None:
    if ended.done():
        return
    if isinstance(result, Outputs):
        ended.set_result(result)
    else:
        ended.set_exception(result)
