"""A supervisor's office that keeps no processes: what the management port is tested against.

Its routing documents are kept by the real traffic, over a memory instead of a disk.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.control.messages import (
    Disagreed,
)
from gateway.control.reports import BreakerTold
from gateway.core.documents import WHOLE_BP, Document, Shadow, Variant
from gateway.core.lifecycle import Ready
from gateway.core.pinning import AUTOMATIC
from gateway.core.ranges import apportion
from gateway.errors import CannotPrepare, Rejected, UnknownModel, UnknownVersion
from gateway.observe.counts import Counts
from gateway.supervise.breakers import BreakersView, BreakerView
from gateway.supervise.disagreements import Disagreements
from gateway.supervise.documents.audit import Action, Entry
from gateway.supervise.ledger import RowKey
from gateway.supervise.management.office import ShadowView
from gateway.supervise.shadowing import shadow_views
from gateway.types import Signature, TensorSpec
from tests.supervise.steered import UNLOADED, Steered


@dataclass(frozen=True)
class Version:
    model: str = "digits"
    version: str = "1"
    state: str = "READY"
    reason: str = ""
    is_default: bool = False
    digest: str | None = None
    executor: str | None = None
    max_batch_size: int | None = None
    signature: Signature | None = None


@dataclass(frozen=True)
class Replica:
    slot: int = 0
    pid: int = 4711
    state: str = "serving"
    restarts: int = 0
    started_at: float = 1_700_000_000.0


SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "INT64", (-1,)),), 64)
DIGITS = (
    Version("digits", "1", "UNAVAILABLE", "not loaded"),
    Version("digits", "2", "READY", "", True, "ab" * 32, "inline", 64, SIGNATURE),
)


ROUTES = b"/admin/v1/models/digits/routes"
SEEN_AT = "2026-01-01T00:00:00.000+00:00"


class OpenTraffic:
    """The real traffic, opened for each change: so it may be asked in any loop.

    Each model begins with what a first sight writes, and one of two versions with a second
    revision, in which the older one is a shadow.
    """

    def __init__(self, known: Sequence[Version]) -> None:
        self.steered = Steered(ready=())
        for one in known:
            state = Ready() if one.state == "READY" else UNLOADED
            self.steered.inventory.have(one.model, one.version, state, SIGNATURE)
        for model in dict.fromkeys(one.model for one in known):
            own = [one for one in known if one.model == model]
            best = next((one.version for one in own if one.is_default), own[-1].version)
            variants = (Variant("stable", best, WHOLE_BP),)
            pieces = apportion((), variants)
            reason = f"first sight: version {best} is the highest"
            seen = Document(model, 1, variants, (), (), None, "stable", reason, AUTOMATIC, SEEN_AT)
            self._begin(replace(seen, pieces=pieces), "first_sight", None)
            if others := [one.version for one in own if one.version != best]:
                shadows = (Shadow("next", others[0], 0.5),)
                ours = replace(seen, revision=2, shadows=shadows, pieces=pieces)
                self._begin(replace(ours, reason="compare", changed_by="ann"), "put", 1)

    def _begin(self, document: Document, action: Action, before: int | None) -> None:
        one = document
        self.steered.store.kept.setdefault(one.model, []).append(one)
        self.steered.inventory.register.adopt(one)
        entry = Entry(one.changed_at, one.changed_by, one.model, action, before, one.revision, "")
        self.steered.audit.entries.append(replace(entry, reason=one.reason))

    def document(self, model: str) -> Document:
        return self.steered.traffic.document(model)

    async def revisions(self, model: str) -> tuple[Document, ...]:
        return await self.steered.traffic.revisions(model)

    async def put(self, current: Document, raw: object, who: str) -> Document:
        async with self.steered.traffic as traffic:
            return await traffic.put(current, raw, who)

    async def delete(self, current: Document, reason: str, who: str) -> Document:
        async with self.steered.traffic as traffic:
            return await traffic.delete(current, reason, who)

    async def roll_back(
        self, current: Document, revision: int | None, reason: str, who: str
    ) -> Document:
        async with self.steered.traffic as traffic:
            return await traffic.roll_back(current, revision, reason, who)

    async def audited(self, limit: int, model: str | None) -> tuple[Entry, ...]:
        return await self.steered.traffic.audited(limit, model)

    def trouble(self, model: str | None = None) -> str | None:
        return self.steered.traffic.trouble(model)


NOBODY_TOLD = BreakersView((), ())


@dataclass
class FakeOffice:
    """Knows versions, and obeys at once, unless `gate` is closed or `refusal` is set."""

    known: tuple[Version, ...] = DIGITS
    processes: tuple[Replica, ...] = (Replica(),)
    why_unready: Rejected | None = None
    refusal: Exception | None = None
    gate: asyncio.Event | None = None
    obeyed: list[tuple[str, str, str | None]] = field(default_factory=list)
    begun: int = 0
    cancelled: int = 0
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    has_obeyed: asyncio.Event = field(default_factory=asyncio.Event)
    counted: dict[RowKey, Counts] = field(default_factory=dict)
    disagreements: Disagreements = field(default_factory=Disagreements)
    told: BreakersView = NOBODY_TOLD

    def __post_init__(self) -> None:
        self.traffic = OpenTraffic(self.known)

    def shadows(self, model: str) -> tuple[ShadowView, ...]:
        document = self.traffic.document(model)
        known = self.traffic.steered.inventory.known(model)
        return shadow_views(document, self.counted, known, self.disagreements)

    def unready(self) -> Rejected | None:
        return self.why_unready

    def versions(self) -> tuple[Version, ...]:
        return self.known

    def replicas(self) -> tuple[Replica, ...]:
        return self.processes

    async def load(self, model: str, version: str | None) -> None:
        await self._obey("load", model, version)

    async def unload(self, model: str, version: str | None) -> None:
        await self._obey("unload", model, version)

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        return f"# asked for {accept}\n".encode(), "text/plain; version=1.0.0"

    async def breakers(self) -> BreakersView:
        return self.told

    async def telemetry(self) -> dict[str, object]:
        return {"epoch": "e", "rows": [1, 2]}

    async def _obey(self, what: str, model: str, version: str | None) -> None:
        self.begun += 1
        self.has_begun.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.refusal is not None:
            raise self.refusal
        own = [one for one in self.known if one.model == model]
        if not own:
            raise UnknownModel(f"Request for unknown model: '{model}' is not found")
        chosen = [one for one in own if version in (None, one.version)]
        if not chosen:
            raise UnknownVersion(
                f"Request for unknown model: '{model}' version {version} is not found"
            )
        self.obeyed.append((what, model, version))
        self.has_obeyed.set()
        state = "READY" if what == "load" else "UNAVAILABLE"
        self.known = tuple(
            replace(one, state=state, reason="" if what == "load" else "unloaded")
            if one in chosen
            else one
            for one in self.known
        )


NO_PROOF = CannotPrepare("digits 3: it did not pass: opset 99 is not known")

DISAGREED = Disagreed(
    "digits", 2, "next", "y", 3.0, {"x": (0.5, 1.0, "cut", True)}, (7,), (4,), 1_700_000_000.5
)


def shadowed() -> FakeOffice:
    """An office whose shadow has been asked, and has disagreed in six rows."""
    office = FakeOffice()
    rows = (6, *[0] * 15)
    counts = Counts(shadowed=(90, 6, 3, 1), disagreements=rows)
    office.counted[RowKey("digits", "1", "aa", "next", 2)] = counts
    office.disagreements.note(DISAGREED)
    return office


OPEN = BreakerTold(
    "digits", "2", "thread", "OPEN", 1_700_000_000.5, 24, 0.75, 0.0, 1_700_000_005.25
)
ORDERED = BreakerTold("digits", "1", "thread", "FORCED_OPEN", 1_700_000_000.0, 0, 0.0, 0.0, None)

# One breaker that is open, one that an operator opened, and a replica that said nothing.
TOLD = BreakersView((BreakerView(0, 4711, OPEN), BreakerView(1, 4712, ORDERED)), (2,))
