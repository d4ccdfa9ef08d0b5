"""App: the composition root of a replica.

Job    turn a configuration into a running data port, and back into nothing.
Life   `open_replica` is the one place where rooms are made and introduced to each
       other; leaving it closes them in reverse order.
Never  decides anything about a request.
"""

import asyncio
import gc
import logging
import random
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import uvicorn
import uvloop

from gateway.batch.batcher import Batcher
from gateway.config import Config, parse_model
from gateway.core.batching import Policy as BatchingPolicy
from gateway.core.costs import Bounds
from gateway.core.versions import version_key
from gateway.execute.executors import Inline, Threads
from gateway.flow import Flow, Served
from gateway.repository.discover import discover
from gateway.repository.load import Loaded, load
from gateway.types import Version
from gateway.wire.decode import Limits
from gateway.wire.heads import HeadCache, HeadLimits
from gateway.wire.intake import Intake
from gateway.wire.intake import Policy as IntakePolicy
from gateway.wire.lane import Lane
from gateway.wire.metadata import Metadata
from gateway.wire.port import Drain, Port
from gateway.wire.port import Policy as PortPolicy
from gateway.wire.rest import Rest

_log = logging.getLogger(__name__)
_BACKLOG = 2048
_AGE_SPREAD_RATIO = 0.1
# What is loaded lives as long as the process, so collections need not look at it; a
# request makes no cycle, so they need not come often either.
_GC_THRESHOLDS = (50_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Replica:
    """What serves. `rest` alone serves under any ASGI server; the lane serves faster."""

    flow: Flow
    intake: Intake
    rest: Rest
    policy: PortPolicy
    drain: Drain

    def lanes(self) -> Callable[..., Lane]:
        """Return what makes a protocol for each connection of one uvicorn server."""
        port: Port | None = None

        def lane(server_state: Any, _loop: asyncio.AbstractEventLoop | None, **_: Any) -> Lane:
            nonlocal port
            if port is None:
                port = self._port(server_state)
            return Lane(port, _loop or asyncio.get_running_loop())

        return lane

    def _port(self, state: Any) -> Port:
        return Port(
            self.intake,
            self.rest,
            self.policy,
            HeadCache(self.policy.heads),
            state.connections,
            state.tasks,
            _spread,
            drain=self.drain,
        )


def _spread() -> float:
    return random.uniform(1 - _AGE_SPREAD_RATIO, 1 + _AGE_SPREAD_RATIO)  # noqa: S311 - no secret


@asynccontextmanager
async def open_replica(config: Config) -> AsyncIterator[Replica]:
    """Load every model and serve it until the block is left.

    Raises: RepositoryError, LoadFailed.
    """
    drain = Drain(config.drain_timeout_s)
    async with AsyncExitStack() as stack:
        bounds = _bounds(config)
        found = discover(config.models, parse_model)
        loaded = [load(one, bounds, config.platform) for one in found]
        batchers = {one.version: await _open_batcher(one, config, stack) for one in loaded}
        flow = Flow(_served(loaded), batchers)
        intake = Intake(flow, _intake_policy(config))
        metadata = Metadata(flow, config.server_name, drain.has_begun)
        rest = Rest(intake, metadata, config.limits.max_body_bytes)
        stack.push_async_callback(_close, batchers.values(), drain)
        yield Replica(flow, intake, rest, _port_policy(config), drain)


async def _close(batchers: Iterable[Batcher], drain: Drain) -> None:
    """Close all batchers at once, within what is left of the drain."""
    drain.begin()
    async with asyncio.TaskGroup() as closing:
        for batcher in batchers:
            closing.create_task(batcher.close(drain.left_s()))


async def _open_batcher(loaded: Loaded, config: Config, stack: AsyncExitStack) -> Batcher:
    """Make a version's executor and its batcher; the batcher closes first."""
    placement, declared = loaded.placement, loaded.settings
    wait_ms = declared.batching.max_wait_ms
    policy = BatchingPolicy(
        max_rows=placement.max_rows,
        max_wait_s=(config.batching.max_wait_ms if wait_ms is None else wait_ms) / 1000,
        # a request that fits the model must find room in an empty queue
        max_waiting_rows=max(config.limits.max_queue_rows, declared.batching.max_batch_size),
        drain_s=config.drain_timeout_s,
    )
    instances = declared.execution.instances
    threads = await stack.enter_async_context(Threads(loaded.session.execute, instances))
    if not placement.is_inline:
        threaded = replace(policy, max_running=instances)
        return await stack.enter_async_context(Batcher(threads.run, threaded))

    def leave_loop() -> None:
        name = f"{loaded.version.model} version {loaded.version.version}"
        _log.warning("%s held the event loop too long too often: it moves to a thread", name)
        batcher.move(threads.run, policy)

    # an operator who declares `inline` is obeyed
    on_overrun = leave_loop if declared.execution.executor == "auto" else None
    inline = Inline(loaded.session.execute, config.batching.inline_budget_ms / 1000, on_overrun)
    batcher = await stack.enter_async_context(Batcher(inline.run, policy))
    return batcher


def _served(loaded: Sequence[Loaded]) -> Mapping[str, Served]:
    """Group versions by model, ascending; the highest answers where none is named."""
    models: dict[str, dict[str, Version]] = {}
    for one in loaded:
        models.setdefault(one.version.model, {})[one.version.version] = one.version
    return {
        name: Served(versions[max(versions, key=version_key)], versions)
        for name, versions in models.items()
    }


def _bounds(config: Config) -> Bounds:
    batching = config.batching
    return Bounds(
        inline_row_s=batching.inline_row_us / 1e6,
        inline_batch_s=batching.inline_budget_ms / 1e3,
        thread_batch_s=batching.thread_budget_ms / 1e3,
    )


def _intake_policy(config: Config) -> IntakePolicy:
    limits = config.limits
    return IntakePolicy(
        default_deadline_s=config.default_deadline_s,
        priority_levels=config.batching.priority_levels,
        default_priority=config.batching.default_priority,
        limits=Limits(
            max_tensors=limits.max_tensors,
            max_rank=limits.max_rank,
            max_elements=limits.max_elements,
            max_json_depth=limits.max_json_depth,
            simd_from_bytes=limits.simd_from_bytes,
        ),
    )


def _port_policy(config: Config) -> PortPolicy:
    limits = config.limits
    return PortPolicy(
        max_body_bytes=limits.max_body_bytes,
        max_pipeline_depth=limits.max_pipeline_depth,
        max_connections=limits.max_connections,
        header_timeout_s=limits.header_timeout_s,
        body_timeout_s=limits.body_timeout_s,
        write_timeout_s=limits.write_timeout_s,
        keep_alive_s=limits.keep_alive_s,
        connection_max_age_s=config.connection_max_age_s,
        heads=HeadLimits(limits.max_target_bytes, limits.max_head_bytes, limits.max_fields),
    )


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then answer what was accepted and return.

    Raises: OSError where the address cannot be had; RepositoryError, LoadFailed.
    """
    listener = _listen(config)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, listener))


async def _serve(config: Config, listener: socket.socket) -> None:
    async with open_replica(config) as replica:
        settings = _uvicorn_config(config, replica)
        settings.load()  # a certificate that cannot be read is known before we say we serve
        server = _Server(settings, replica.drain)
        # Heard from now on, not only when uvicorn runs; when it has obeyed, it raises the
        # signal once more, for whoever was there before it: that is this same handler.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.handle_exit)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        host, port = listener.getsockname()[:2]
        scheme = "https" if config.tls.certfile else "http"
        models = ", ".join(
            f"{name} ({', '.join(served.versions)})" for name, served in replica.flow.models.items()
        )
        listener.listen(_BACKLOG)
        print(f"serving {models} on {scheme}://{host}:{port}", flush=True)  # noqa: T201 - it is told to whoever started us
        await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's, but it leaves by the replica's drain, which others share.

    Its own limit on leaving begins later, takes whole seconds and complains on stderr.
    """

    def __init__(self, settings: uvicorn.Config, drain: Drain) -> None:
        super().__init__(settings)
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin the drain; wait for the connections until it ends, or a second SIGINT comes."""
        self._drain.begin()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._drain.left_s(), setattr, self, "force_exit", True)
        await super().shutdown(sockets)
        timer.cancel()
        if self.force_exit:
            self._drain.cut_short()


def _uvicorn_config(config: Config, replica: Replica) -> uvicorn.Config:
    """Let uvicorn keep sockets, TLS and signals, and the lane all the rest."""
    tls = config.tls
    return uvicorn.Config(
        replica.rest,
        http=replica.lanes(),  # type: ignore[arg-type]  # it calls what it is given
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        ssl_certfile=tls.certfile,
        ssl_keyfile=tls.keyfile,
        ssl_keyfile_password=tls.keyfile_password,
    )


def _listen(config: Config) -> socket.socket:
    """Bind the data port before anything is loaded: a taken port is known at once."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host, config.port))
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener
