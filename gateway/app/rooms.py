"""Rooms: the composition root of a replica.

Job    make the rooms and introduce them to each other.
Life   `open_rooms` is the one place where that happens; leaving it closes them in reverse
       order. `open_replica` is the same for one process that nobody supervises.
Never  decides anything about a request.
"""

import asyncio
import random
import resource
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gateway.app.arms import Arms
from gateway.app.catalog import Catalog
from gateway.app.desk import LocalDesk
from gateway.app.exposures import Exposures
from gateway.app.isolated import open_isolated
from gateway.app.loader import Loader
from gateway.app.mirroring import open_mirror
from gateway.app.opened import Opened, open_version
from gateway.app.policies import intake_policy, port_policy, routes_of
from gateway.app.remoting import open_elsewhere
from gateway.app.returning import EVERY_S, Returning
from gateway.app.unplaced import cut_of
from gateway.batch.batcher import Busy
from gateway.config import Config, parse_model
from gateway.config.bounds import bounds_of
from gateway.control.messages import Assigned, Disagreed, Entry, Table
from gateway.execute.session import LoadFailed
from gateway.flow import Flow
from gateway.observe.memory import Memory
from gateway.observe.record import Record
from gateway.repository.discover import RepositoryError, discover
from gateway.repository.load import load
from gateway.repository.proof import Proof
from gateway.repository.prove import prove
from gateway.repository.remote import reached
from gateway.wire.desk import Desk
from gateway.wire.grammar import read_request_line
from gateway.wire.heads import HeadCache
from gateway.wire.intake import Intake
from gateway.wire.keys import Keys
from gateway.wire.lane import Lane
from gateway.wire.metadata import Metadata
from gateway.wire.meters import Meters
from gateway.wire.paths import Routes
from gateway.wire.port import Drain, Port, Pressure
from gateway.wire.port import Policy as PortPolicy
from gateway.wire.rest import Rest
from gateway.wire.stock import Stock
from gateway.wire.unpacking import Unpacker

_AGE_SPREAD_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class Replica:
    """What serves. `rest` alone serves under any ASGI server; the lane serves faster."""

    flow: Flow
    intake: Intake
    rest: Rest
    policy: PortPolicy
    routes: Routes
    drain: Drain
    catalog: Catalog
    keys: Keys
    pressure: Pressure = field(default_factory=Pressure)

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
            HeadCache(
                self.policy.heads,
                read_line=partial(read_request_line, routes=self.routes),
                keys=self.keys,
            ),
            state.connections,
            state.tasks,
            _spread,
            drain=self.drain,
            pressure=self.pressure,
        )


def _nobody_asks(_disagreed: Disagreed) -> None:
    """Hear of a disagreement that nobody keeps."""


def _spread() -> float:
    return random.uniform(1 - _AGE_SPREAD_RATIO, 1 + _AGE_SPREAD_RATIO)  # noqa: S311 - no secret


@asynccontextmanager
async def open_rooms(
    config: Config,
    memory: Memory,
    on_retired: Callable[[tuple[int, ...]], None],
    desk_of: Callable[[Flow, Catalog], Desk],
    on_worst: Callable[[Disagreed], None] = _nobody_asks,
    returns_every_s: float = EVERY_S,
) -> AsyncIterator[Replica]:
    """Make a replica that serves nothing yet; answer what it accepted when the block is left.

    `desk_of` makes what answers questions that the data port itself cannot.
    """
    drain = Drain(config.drain_timeout_s)
    record = Record(memory.row(0))
    log = config.exposure_log
    exposures = Exposures(log.path) if log.enabled else None
    flow = Flow({}, {}, exposures=exposures)
    routes = routes_of(config)
    loader = Loader()
    returning = Returning(loader.run, returns_every_s)
    busy: Busy = set()

    async def open_one(assigned: Assigned) -> Opened:
        row = Record(memory.row(assigned.row))
        return await _open_one(assigned.proof, config, row, record.moved, busy, loader, returning)

    def retired(rows: tuple[int, ...]) -> None:
        returning.changed()
        on_retired(rows)

    mirror = partial(open_mirror, on_worst, busy)
    arms = Arms(lambda row: Record(memory.row(row)), record, mirror)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(returning)
        if exposures is not None:
            await stack.enter_async_context(exposures)
        unpacker = await stack.enter_async_context(Unpacker(config.limits.max_body_bytes))
        keys = Keys(config.auth.keys, Meters(config.auth.quotas, record))
        intake = Intake(flow, intake_policy(config), record, unpack=unpacker)
        catalog = await stack.enter_async_context(
            Catalog((flow, intake), open_one, arms, drain, retired)
        )
        is_explicit = config.repository.control == "explicit"
        metadata = _metadata_of(config, flow, catalog, drain)
        stock = Stock(desk_of(flow, catalog), flow, is_explicit, config.limits.max_json_depth)
        rest = Rest(intake, metadata, stock, config.limits.max_body_bytes, routes, keys)
        yield Replica(flow, intake, rest, _policy_of(config), routes, drain, catalog, keys)


def _policy_of(config: Config) -> PortPolicy:
    return port_policy(config, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


async def _open_one(
    proof: Proof,
    config: Config,
    row: Record,
    on_move: Callable[[], None],
    busy: Busy,
    loader: Loader,
    returning: Returning,
) -> Opened:
    """Open a version where its settings want it.

    Raises: LoadFailed, in words that callers may read.
    """
    try:
        if proof.executor == "process":
            return await open_isolated(proof, config, row, busy)
        with returning.loading():
            if proof.executor == "remote":
                model = await loader.run(partial(reached, proof))
                return await open_elsewhere(proof, model, config, row, busy)
            loaded = await loader.run(partial(load, proof))
        return await open_version(loaded, config, row, on_move, busy)
    except LoadFailed as error:
        raise LoadFailed(cut_of(config.models)(str(error))) from error


def _metadata_of(config: Config, flow: Flow, catalog: Catalog, drain: Drain) -> Metadata:
    return Metadata(
        flow,
        config.server_name,
        catalog.found,
        default_wait_ms=config.batching.max_wait_ms,
        is_leaving=drain.is_leaving,
        needs_a_model=config.repository.control != "explicit",
    )


@asynccontextmanager
async def open_replica(config: Config) -> AsyncIterator[Replica]:
    """Load every model and serve it until the block is left.

    Raises: RepositoryError, LoadFailed; both name everything that is wrong.
    """
    memory = Memory.create()

    def desk_of(flow: Flow, catalog: Catalog) -> Desk:
        return LocalDesk(flow, catalog.served, memory)

    async with open_rooms(config, memory, _nobody, desk_of) as replica:
        # Who still asks after the end is refused, and counted: the rows must be there.
        weakref.finalize(replica.intake, memory.close)
        proofs = await asyncio.to_thread(_prove_all, config)
        assigned = tuple(Assigned(proof, row) for row, proof in enumerate(proofs, start=1))
        refused = await replica.catalog.prepare(assigned)
        if refused:
            raise LoadFailed("\n".join(refused.values()))
        replica.catalog.publish(_table_of(proofs))
        yield replica


def _nobody(_rows: tuple[int, ...]) -> None:
    """Hear of rows that nobody will assign again."""


def _prove_all(config: Config) -> list[Proof]:
    discovery = discover(config.models, parse_model)
    if discovery.faults:
        raise RepositoryError([(fault.path, fault.what) for fault in discovery.faults])
    if not discovery.found:
        raise RepositoryError([(str(config.models), "holds no model: expected <model>/<version>/")])
    proofs: list[Proof] = []
    faults: list[str] = []
    for found in discovery.found:
        try:
            proofs.append(prove(found, bounds_of(config), config.platform))
        except LoadFailed as error:
            faults.append(str(error))
    if faults:
        raise LoadFailed("\n".join(faults))
    return proofs


def _table_of(proofs: list[Proof]) -> Table:
    """Serve every version; the highest, which comes last, answers where none is named."""
    models: dict[str, dict[str, str]] = {}
    for proof in proofs:
        models.setdefault(proof.found.model, {})[proof.found.version] = proof.digest
    return Table(1, {name: Entry(list(served)[-1], served) for name, served in models.items()})
