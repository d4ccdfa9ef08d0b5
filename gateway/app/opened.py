"""Opened: a loaded version with its executor and its batcher.

Job    introduce a session to what runs it.
Life   made when a version is prepared; `close` answers what was accepted, then lets go of
       the session, so that its memory is free when the last execution has ended.
Never  is reached by callers before it is published, or after it has left the table.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from gateway.batch.batcher import Batcher, Finish
from gateway.config import Config
from gateway.core.batching import Policy
from gateway.errors import Draining
from gateway.execute.executors import Inline, Threads
from gateway.observe.record import Record
from gateway.repository.load import Loaded
from gateway.types import Call, Version

_log = logging.getLogger(__name__)


class Opened:
    """Answers the calls of one version."""

    def __init__(
        self, version: Version, batcher: Batcher, record: Record, stack: AsyncExitStack
    ) -> None:
        self.version = version
        self.batcher = batcher
        self.record = record  # the one that writes to the version's row
        self._stack = stack  # the executor's

    async def close(self, within_s: float) -> None:
        """Answer within so many seconds what was accepted; call it once.

        Cancel: safe; what is left is failed.
        """
        try:
            await self.batcher.close(within_s)
        finally:
            await self._stack.aclose()
            # Batcher, executor and alarm hold each other, in objects that the collector may
            # have been told to pass over: without this the session would stay for ever.
            self.batcher.move(_refuse, Policy())


def _refuse(_calls: Sequence[Call], finish: Finish) -> None:
    finish(Draining("this version was unloaded"))


async def open_version(
    loaded: Loaded, config: Config, record: Record, on_move: Callable[[], None]
) -> Opened:
    """Make a version's executor and batcher; `on_move` hears that it leaves the loop."""
    stack = AsyncExitStack()
    placement, declared = loaded.placement, loaded.settings
    policy, instances = _policy(loaded, config), declared.execution.instances
    threads = await stack.enter_async_context(Threads(loaded.session.execute, instances))
    if not placement.is_inline:
        policy = replace(policy, max_running=instances)
        batcher = await Batcher(threads.run, policy, record).__aenter__()
        return Opened(loaded.version, batcher, record, stack)

    def leave_loop() -> None:
        name = f"{loaded.version.model} version {loaded.version.version}"
        _log.warning("%s held the event loop too long too often: it moves to a thread", name)
        batcher.move(threads.run, policy)
        on_move()

    # an operator who declares `inline` is obeyed
    on_overrun = leave_loop if declared.execution.executor == "auto" else None
    inline = Inline(loaded.session.execute, config.batching.inline_budget_ms / 1000, on_overrun)
    batcher = await Batcher(inline.run, policy, record).__aenter__()
    return Opened(loaded.version, batcher, record, stack)


def _policy(loaded: Loaded, config: Config) -> Policy:
    declared = loaded.settings.batching
    wait_ms = declared.max_wait_ms
    return Policy(
        max_rows=loaded.placement.max_rows,
        max_wait_s=(config.batching.max_wait_ms if wait_ms is None else wait_ms) / 1000,
        # a request that fits the model must find room in an empty queue
        max_waiting_rows=max(config.limits.max_queue_rows, declared.max_batch_size),
        drain_s=config.drain_timeout_s,
    )
