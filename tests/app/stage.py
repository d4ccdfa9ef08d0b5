"""A catalog with everything that it needs and nothing that takes time.

Job    versions that double their rows, opened at will; a flow and an intake to see what
       callers would.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from gateway.app.arms import Arms
from gateway.app.catalog import Catalog
from gateway.app.opened import Opened
from gateway.batch.batcher import Batcher
from gateway.control.messages import Assigned, Entry, Table
from gateway.core.batching import Policy
from gateway.core.costs import Cost, Placement
from gateway.flow import Flow
from gateway.observe.layout import ROW_CELLS
from gateway.observe.record import Record
from gateway.repository.proof import Found, Proof
from gateway.repository.settings import ModelSettings
from gateway.route.mirror import Mirror
from gateway.types import Arm, Call, Version
from gateway.wire.intake import Intake
from gateway.wire.intake import Policy as IntakePolicy
from gateway.wire.port import Drain
from tests.clock import play
from tests.fakes import TWICE, FakeModel, a_call

T = TypeVar("T")


def a_row() -> "memoryview[int]":
    """A telemetry row that nobody shares."""
    return memoryview(bytearray(ROW_CELLS * 8)).cast("q")


def a_record() -> Record:
    return Record(a_row())


def assigned(row: int, name: str = "m", version: str = "1", digest: str = "d") -> Assigned:
    folder = Path(name) / version
    found = Found(name, version, folder, folder / "model.onnx", ModelSettings())
    return Assigned(Proof(found, digest, TWICE.signature, Cost(0.0, 0.0), Placement(True, 8)), row)


def table(revision: int, **models: Mapping[str, str]) -> Table:
    """Serve digests by version; the last version answers by default."""
    return Table(revision, {name: Entry([*served][-1], served) for name, served in models.items()})


def no_mirror(*_: object) -> Mirror:
    """Stand where a document's shadows are opened."""
    raise AssertionError("no document here has a shadow")


async def at_once(_one: Assigned) -> None:
    """Open a version without a fault, in no time."""


class Stage:
    """A catalog, what it opened by row, and what it said of rows that are final.

    `cost_s` is what an execution takes; `opening` may raise, or take its time.
    """

    def __init__(self, cost_s: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        self.cost_s = cost_s
        self.models: dict[int, FakeModel] = {}
        self.stacks: dict[int, AsyncExitStack] = {}  # each version's executor is none
        self.opens = 0
        self.opening: Callable[[Assigned], Awaitable[None]] = at_once
        self.retired: list[int] = []
        self.rows: dict[int, memoryview[int]] = {}  # the arms' telemetry
        self.lost = a_record()
        self.flow = Flow({}, {})
        self.intake = Intake(self.flow, IntakePolicy(), a_record())
        self.drain = Drain(30.0, loop.time)
        self.arms = Arms(self.record_of, self.lost, no_mirror)
        self.catalog = Catalog(
            (self.flow, self.intake), self.open, self.arms, self.drain, self.retired.extend
        )

    async def open(self, one: Assigned) -> Opened:
        self.opens += 1
        await self.opening(one)
        found = one.proof.found
        version = Version(found.model, found.version, TWICE.signature, one.proof.digest)
        model = self.models[one.row] = FakeModel(self.cost_s)
        clock = asyncio.get_running_loop().time
        stack = self.stacks[one.row] = AsyncExitStack()
        return Opened(
            version,
            lambda record: Batcher(model.run, Policy(), record, clock),
            a_record(),
            stack,
            model.execute,
        )

    def record_of(self, row: int) -> Record:
        return Record(self.rows.setdefault(row, a_row()))

    def ask(self, row: float = 1.0, model: str = "m", version: str | None = None) -> Call:
        """Do as the intake does: a caller asks for a model."""
        call = a_call(row)
        call.arm = self.flow.find(model, version)
        self.flow.infer(call)
        return call

    def batcher_of(self, arm: Arm) -> Batcher:
        """Who answers for an arm by now."""
        return self.flow._batchers[arm]  # noqa: SLF001 - no other way to break one

    def served_by(self) -> dict[int, int]:
        """How many executions each row has had."""
        return {row: len(model.batches) for row, model in self.models.items()}


def staged(scene: Callable[[Stage], Coroutine[object, object, T]], cost_s: float = 0.0) -> T:
    """Play a scene before an open catalog."""

    async def stage() -> T:
        made = Stage(cost_s)
        async with made.catalog:
            return await scene(made)

    return play(stage)
