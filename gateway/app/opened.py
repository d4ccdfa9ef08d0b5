"""Opened: a loaded version with its executor and its batchers.

Job    introduce a session to what runs it.
Life   made when a version is prepared; `close` answers what was accepted, then lets go of
       the session, so that its memory is free when the last execution has ended.
Never  is reached by callers before it is published, or after it has left the table.

A version has a batcher of its own, for who asks for it, and one for each arm of a routing
document that leads to it: so no execution holds calls of two arms, and what is counted of
an arm is exact. All share one executor, and take turns where it runs beside the loop: a batch
is cut when a thread is free for it, whichever arm's.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from gateway.app.policies import breaker_policy, slowness_of
from gateway.batch.admission import Admission
from gateway.batch.batcher import Batcher, Busy, Finish, Run
from gateway.batch.gate import Gate
from gateway.batch.turns import Turns
from gateway.config import Config
from gateway.control.reports import BreakerTold
from gateway.core.batching import Policy
from gateway.core.costs import Cost, Placement
from gateway.core.limiting import Bounds, Pace
from gateway.errors import Draining
from gateway.execute.executors import Execute, Inline, Threads
from gateway.observe.record import Record
from gateway.repository.load import Loaded
from gateway.repository.settings import ModelSettings
from gateway.types import Call, Outputs, Version

_log = logging.getLogger(__name__)
Make = Callable[[Record], Batcher]


class Opened:
    """Answers the calls of one version.

    Mutable state: the batchers of arms (`_arms`), those that are being closed (`_ends`), and
    where they run since they `_moved`.
    """

    def __init__(
        self,
        version: Version,
        make: Make,
        record: Record,
        stack: AsyncExitStack,
        execute: Execute,
        gate: Gate | None = None,
    ) -> None:
        """`make` gives a batcher behind `gate` that tells a record; `stack` is the executor's."""
        self.version = version
        self.gate = gate or Gate()
        self.batcher = make(record).open()
        self.gate.join(self.batcher.take_waiting)
        self.record = record  # the one that writes to the version's row
        self.execute = execute
        self._make = make
        self._stack = stack
        self._moved: tuple[Run, Policy, Turns | None] | None = None
        self._arms: set[Batcher] = set()
        self._ends: dict[Batcher, asyncio.Event] = {}

    def open_arm(self, record: Record) -> Batcher:
        """Return one more batcher, which tells `record`."""
        batcher = self._make(record).open()
        if self._moved is not None:
            batcher.move(*self._moved)
        self._arms.add(batcher)
        self.gate.join(batcher.take_waiting)
        return batcher

    async def close_arm(self, batcher: Batcher, within_s: float) -> None:
        """Answer within so many seconds what an arm accepted; return when that is done, also
        where somebody else is at it, or was. Cancel: safe; what is left is failed.
        """
        ended = self._ends.get(batcher)
        if ended is not None:
            await ended.wait()
            return
        if batcher is not self.batcher and batcher not in self._arms:
            return
        ended = self._ends[batcher] = asyncio.Event()
        try:
            await _end(batcher, within_s)
        finally:
            ended.set()
            self.gate.leave(batcher.take_waiting)
            self._arms.discard(batcher)
            del self._ends[batcher]

    def move(self, run: Run, policy: Policy, turns: Turns | None = None) -> None:
        """Give the next batches, of all arms, to another executor, where they take turns."""
        self._moved = run, policy, turns
        for batcher in (self.batcher, *self._arms):
            batcher.move(run, policy, turns)

    def breakers(self) -> tuple[BreakerTold, ...]:
        """Return how each executor instance is, for who reads clocks on the wall."""
        now, wall_s, version = time.monotonic(), time.time(), self.version
        return tuple(
            BreakerTold(
                version.model,
                version.version,
                executor,
                one.state.name,
                round(wall_s - (now - one.since), 3),
                one.calls,
                one.failure_ratio,
                one.slow_ratio,
                None if one.next_try_s is None else round(wall_s + one.next_try_s, 3),
            )
            for executor, one in self.gate.readings()
        )

    async def close(self, within_s: float) -> None:
        """Answer within so many seconds what was accepted; call it once.

        Cancel: safe; what is left is failed.
        """
        batchers = (self.batcher, *self._arms)
        try:
            await asyncio.gather(*(self.close_arm(one, within_s) for one in batchers))
        finally:
            # These lead to the session as well, in a circle with its alarm: see `_end`.
            self._make, self.execute, self._moved = _make_none, _execute_none, None
            self.gate.close()
            await self._stack.aclose()


async def _end(batcher: Batcher, within_s: float) -> None:
    try:
        await batcher.close(within_s)
    finally:
        # Batcher, executor and alarm hold each other, in objects that the collector may
        # have been told to pass over: without this the session would stay for ever.
        batcher.move(_refuse, Policy())


def _refuse(_calls: Sequence[Call], finish: Finish) -> None:
    finish(_unloaded())


def _make_none(_record: Record) -> Batcher:
    raise _unloaded()


def _execute_none(_calls: Sequence[Call]) -> Outputs:
    raise _unloaded()


def _unloaded() -> Draining:
    return Draining("this version was unloaded")


async def open_version(
    loaded: Loaded, config: Config, record: Record, on_move: Callable[[], None], busy: Busy
) -> Opened:
    """Make a version's executor and batcher; `on_move` hears that it leaves the loop.

    `busy` is that of all versions of a replica.
    """
    stack = AsyncExitStack()
    placement, declared = loaded.placement, loaded.settings
    policy, instances = policy_of(declared, placement, config), declared.execution.instances
    execute, version = loaded.session.execute, loaded.version
    threads = await stack.enter_async_context(Threads(execute, instances))
    turns = Turns(instances)
    name = f"{version.model} version {version.version}"
    gate = Gate(name, *breaker_policy(config), record.breaker)
    admission = admission_of(loaded.cost, policy, config, gate)
    slowness = slowness_of(config, version.signature, loaded.cost, instances)
    if not placement.is_inline:
        run = turns.counted(gate.guarded("thread", threads.run, slowness, instances).run)
        make = partial(batcher_of, run, policy, busy, turns, admission)
        return Opened(version, make, record, stack, execute, gate)

    def leave_loop() -> None:
        _log.warning("%s held the event loop too long too often: it moves to a thread", name)
        moved = gate.guarded("thread", threads.run, slowness, instances)
        gate.drop(guard)
        opened.move(turns.counted(moved.run), policy, turns)
        on_move()

    # an operator who declares `inline` is obeyed
    on_overrun = leave_loop if declared.execution.executor == "auto" else None
    inline = Inline(execute, config.batching.inline_budget_ms / 1000, on_overrun)
    guard = gate.guarded("inline", inline.run, slowness)
    make = partial(batcher_of, guard.run, policy, busy, None, admission)
    opened = Opened(version, make, record, stack, execute, gate)
    return opened


def batcher_of(
    run: Run,
    policy: Policy,
    busy: Busy,
    turns: Turns | None,
    admission: Admission,
    record: Record,
) -> Batcher:
    """Return one batcher of a version, which tells `record`."""
    return Batcher(run, policy, record, busy=busy, turns=turns, admission=admission)


def admission_of(cost: Cost, policy: Policy, config: Config, gate: Gate) -> Admission:
    """Return what all batchers of a version let in by."""
    batching = config.batching
    bounds = Bounds(
        policy.max_waiting_rows,
        policy.max_waiting_bytes,
        share_ratio=batching.standing_ratio,
        ceiling_s=batching.standing_max_ms / 1000,
        levels=batching.priority_levels,
        usual=batching.default_priority,
    )
    pace = Pace(cost, policy.max_rows, policy.max_running)
    return Admission(bounds, pace, gate=gate)


def policy_of(declared: ModelSettings, placement: Placement, config: Config) -> Policy:
    """Return how a version is batched that is placed there."""
    batching, wait_ms = declared.batching, declared.batching.max_wait_ms
    return Policy(
        max_rows=placement.max_rows,
        max_wait_s=(config.batching.max_wait_ms if wait_ms is None else wait_ms) / 1000,
        max_running=1 if placement.is_inline else declared.execution.instances,
        # a request that fits the model must find room in an empty queue
        max_waiting_rows=max(config.limits.max_queue_rows, batching.max_batch_size),
        max_waiting_bytes=max(config.limits.max_queue_bytes, config.limits.max_body_bytes),
        drain_s=config.drain_timeout_s,
    )
