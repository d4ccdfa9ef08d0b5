"""Flow: the life of a call on one page.

    wire      makes a Call out of a request: its tensors fit the version's signature
    find      which version answers: the one asked for, else the model's default
    infer     the version's batcher queues it, cuts it into a batch when an executor
              is free, runs it, and answers it
    wire      hears `on_done` and writes the answer

Everything here is synchronous: rooms hand over by plain calls, and nobody waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.batch.batcher import Batcher
from gateway.core.versions import canonical_version
from gateway.errors import NotReady, UnknownModel, UnknownVersion
from gateway.types import Call, Version


@dataclass(frozen=True, slots=True)
class Served:
    """One model: the version that answers by default, and all that can be asked for."""

    default: Version
    versions: Mapping[str, Version]  # by canonical version, ascending


class Flow:
    """Every call handed to `infer` is answered exactly once."""

    def __init__(self, models: Mapping[str, Served], batchers: Mapping[Version, Batcher]) -> None:
        self.models = models  # replaced whole, never changed
        self._batchers = batchers

    def find(self, model: str, version: str | None) -> Version:
        """Return the version that answers. Raises: UnknownModel, UnknownVersion."""
        served = self.models.get(model)
        if served is None:
            raise UnknownModel(f"Request for unknown model: '{model}' is not found")
        if version is None:
            return served.default
        found = served.versions.get(canonical_version(version))
        if found is None:
            raise UnknownVersion(
                f"Request for unknown model: '{model}' version {version} is not found"
            )
        return found

    def infer(self, call: Call) -> None:
        """Batch, execute and answer `call`; it is answered exactly once, at once or later."""
        batcher = self._batchers.get(call.version)
        if batcher is None:
            call.fail(NotReady(f"model '{call.version.model}' is not loaded"))
        else:
            batcher.offer(call)
