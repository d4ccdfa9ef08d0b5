"""Front: what the supervisor says and does for those who ask it over HTTP.

Job    answer the management port, and the questions that replicas pass on.
Life   as long as the supervisor.
Never  decides: the inventory, the fleet and the ledger do.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import orjson

from gateway.control.messages import Ask
from gateway.observe.counts import ZERO
from gateway.observe.statistics import statistics
from gateway.supervise.exporter import Exporter
from gateway.supervise.fleet import Fleet
from gateway.supervise.inventory import Inventory, VersionView
from gateway.supervise.ledger import Ledger
from gateway.supervise.overseer import ReplicaView
from gateway.supervise.telemetry import telemetry


class Front:
    """The management port's office, and the answers to replicas' questions."""

    def __init__(
        self,
        inventory: Inventory,
        fleet: Fleet,
        ledger: Ledger,
        why_unready: Callable[[], str | None],
    ) -> None:
        self._inventory = inventory
        self._fleet = fleet
        self._ledger = ledger
        self._why_unready = why_unready
        self._exporter = Exporter(ledger, fleet.views, lambda: fleet.reasons, inventory.views)

    def unready(self) -> str | None:
        """Return why nothing can be served, in a sentence; None where it can."""
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

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their content type."""
        return await self._exporter.expose(accept)

    async def telemetry(self) -> Mapping[str, object]:
        """Return all counters since the start of this epoch."""
        image = self._ledger.image()
        # a thousand versions take longer than the loop may be held
        return await asyncio.to_thread(telemetry, image, time.monotonic_ns(), time.time_ns())

    async def answer(self, ask: Ask) -> bytes:
        """Answer a question of the data port, as JSON. Raises: a GatewayError."""
        if ask.about == "statistics":
            return orjson.dumps(self._statistics(ask.model, ask.version))
        parameters = orjson.loads(ask.parameters)
        if ask.about == "index":
            return orjson.dumps(self._inventory.index(bool(parameters.get("ready", False))))
        assert ask.model is not None
        if ask.about == "load":
            await self._inventory.load(ask.model, None, parameters.get("parameters"))
        else:
            await self._inventory.unload(ask.model)
        return orjson.dumps({"name": ask.model, ask.about: True})

    def _statistics(self, model: str | None, version: str | None) -> object:
        served = {
            (name, one): None
            for name, entry in self._inventory.table().models.items()
            for one in entry.served
            if model in (None, name) and version in (None, one)
        }
        counted = [(*name, ZERO) for name in served]  # in the table's order, each of them
        counted += [
            (key.model, key.version, value)
            for key, value in self._ledger.counts().items()
            if (key.model, key.version) in served
        ]
        return statistics(counted)
