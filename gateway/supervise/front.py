"""Front: what the supervisor says and does for those who ask it over HTTP.

Job    answer the management port, and the questions that replicas pass on.
Life   as long as the supervisor.
Never  decides: the inventory, the fleet and the ledger do. Holds the loop for long: what
       is counted is copied there, and worked out in a thread.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Self

import orjson

from gateway.control.messages import Ask
from gateway.errors import Rejected
from gateway.observe.counts import ZERO
from gateway.observe.statistics import statistics
from gateway.supervise.accounts import Accounts
from gateway.supervise.breakers import BreakersView
from gateway.supervise.exporter import Exporter
from gateway.supervise.fleet import Fleet
from gateway.supervise.inventory import Inventory, VersionView
from gateway.supervise.ledger import Image, Ledger
from gateway.supervise.management.office import ShadowView
from gateway.supervise.overseer import ReplicaView
from gateway.supervise.shadowing import shadow_views
from gateway.supervise.sharing import Sharing
from gateway.supervise.telemetry import telemetry
from gateway.supervise.traffic import Traffic
from gateway.wire.loading import parameters_beside


class Front:
    """The management port's office, and the answers to replicas' questions."""

    def __init__(
        self,
        inventory: Inventory,
        fleet: Fleet,
        ledger: Ledger,
        traffic: Traffic,
        accounts: Accounts,
        why_unready: Callable[[], Rejected | None],
    ) -> None:
        self.traffic = traffic
        self._disagreements = accounts.disagreements
        self._breakers = accounts.breakers
        self._inventory = inventory
        self._fleet = fleet
        self._ledger = ledger
        self._why_unready = why_unready
        self._statistics = Sharing(self._count)
        self._telemetry = Sharing(self._copy)
        self._exporter = Exporter(
            ledger,
            fleet.views,
            lambda: fleet.reasons,
            inventory.views,
            inventory.documents,
            accounts.allotting.counts,
        )

    async def __aenter__(self) -> Self:
        await self._exporter.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exporter.__aexit__()

    def unready(self) -> Rejected | None:
        """Return what says why nothing can be served; None where it can."""
        return self._why_unready()

    def versions(self) -> Sequence[VersionView]:
        """Return every known version: models by name, versions ascending."""
        return self._inventory.views()

    def replicas(self) -> Sequence[ReplicaView]:
        """Return every live process, by slot."""
        return self._fleet.views()

    async def load(self, model: str, version: str | None) -> None:
        """Serve a version, or what the model's version policy chooses."""
        await self._inventory.load(model, version)

    async def unload(self, model: str, version: str | None) -> None:
        """Stop serving a version, or all of a model's."""
        await self._inventory.unload(model, version)

    def shadows(self, model: str) -> tuple[ShadowView, ...]:
        """Return the shadows of a model's document. Raises: UnknownModel, NotReady."""
        document = self.traffic.document(model)
        names = {(model, one.version) for one in document.shadows}
        counts = self._ledger.image(names).counts() if names else {}
        return shadow_views(document, counts, self._inventory.known(model), self._disagreements)

    async def breakers(self) -> BreakersView:
        """Return how the executors of all replicas are."""
        return await self._breakers.ask()

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their content type."""
        return await self._exporter.expose(accept)

    async def telemetry(self) -> Mapping[str, object]:
        """Return all counters since the start of this epoch."""
        return await self._telemetry.ask(None)

    async def _copy(self, _: None) -> Mapping[str, object]:
        image = self._ledger.image()
        # a thousand versions take longer than the loop may be held
        return await asyncio.to_thread(telemetry, image, time.monotonic_ns(), time.time_ns())

    async def answer(self, ask: Ask) -> bytes:
        """Answer a question of the data port, as JSON. Raises: a GatewayError."""
        if ask.about == "statistics":
            return await self._statistics.ask((ask.model, ask.version))
        if ask.about == "index":
            ready = bool(orjson.loads(ask.parameters).get("ready", False))
            return orjson.dumps(self._inventory.index(ready))
        assert ask.model is not None
        if ask.about == "load":
            brought = await parameters_beside(ask.parameters)
            await self._inventory.load(ask.model, None, brought)
        else:
            await self._inventory.unload(ask.model)
        return orjson.dumps({"name": ask.model, ask.about: True})

    async def _count(self, asked: tuple[str | None, str | None]) -> bytes:
        """Return the protocol's document of all, of a model, or of a version, as JSON."""
        model, version = asked
        served = {
            (name, one): None  # in the table's order
            for name, entry in self._inventory.table().models.items()
            for one in entry.served
            if model in (None, name) and version in (None, one)
        }
        return await asyncio.to_thread(_document, served, self._ledger.image(served))


def _document(served: Collection[tuple[str, str]], image: Image) -> bytes:
    """Return what is counted of each that is served, of zeros too. For any thread."""
    counted = [(*name, ZERO) for name in served]
    counted += [(key.model, key.version, one) for key, one in image.counts().items()]
    return orjson.dumps(statistics(counted))
