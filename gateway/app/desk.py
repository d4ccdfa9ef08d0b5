"""Desk: what a replica that nobody supervises answers of itself.

Job    statistics and the index, from this process alone.
Life   one per replica.
Never  loads or unloads: that takes a supervisor, which proves a version first.
"""

from collections.abc import Callable, Iterable

import orjson

from gateway.control.messages import Assigned
from gateway.core.versions import version_key
from gateway.errors import Forbidden
from gateway.flow import Flow, Served
from gateway.observe.counts import read
from gateway.observe.memory import Memory
from gateway.observe.statistics import statistics
from gateway.wire.desk import About


class LocalDesk:
    """Every question is answered from the local table and the local counts, or refused."""

    def __init__(
        self, flow: Flow, served: Callable[[], Iterable[Assigned]], memory: Memory
    ) -> None:
        """`served` are the versions of the flow's table, with their rows of `memory`."""
        self._flow = flow
        self._served = served
        self._memory = memory

    async def ask(
        self, about: About, model: str | None, version: str | None, parameters: bytes
    ) -> bytes:
        """Return the answer, JSON. Raises: Forbidden."""
        if about == "statistics":
            return orjson.dumps(self._statistics(model, version))
        if about == "index":
            return orjson.dumps(self._index(orjson.loads(parameters).get("ready", False)))
        raise Forbidden(
            "explicit model load / unload is not allowed if polling is enabled: this process "
            "has no supervisor, which would prove a version first"
        )

    def _statistics(self, model: str | None, version: str | None) -> object:
        return statistics(
            (found.model, found.version, read(self._memory.row(assigned.row)))
            for assigned in self._served()
            for found in (assigned.proof.found,)
            if model in (None, found.model) and version in (None, found.version)
        )

    def _index(self, ready: bool) -> list[dict[str, str]]:
        return [
            row
            for model, served in self._flow.models.items()
            for row in _rows(model, served)
            if not ready or row["state"] == "READY"
        ]


def _rows(model: str, served: Served) -> list[dict[str, str]]:
    states = dict.fromkeys(served.versions, ("READY", ""))
    states |= {version: ("UNAVAILABLE", why) for version, why in served.unready.items()}
    return [
        {"name": model, "version": version, "state": state, "reason": reason}
        for version, (state, reason) in sorted(states.items(), key=lambda row: version_key(row[0]))
    ]
