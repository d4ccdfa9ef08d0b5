"""Flow: the life of a call on one page.

    wire      makes a Call out of a request: its tensors fit the version's signature
    find      which version answers: the one asked for, else the model's default
    infer     the version's batcher queues it, cuts it into a batch when an executor
              is free, runs it, and answers it
    wire      hears `on_done` and writes the answer

Everything here is synchronous: rooms hand over by plain calls, and nobody waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.batch.batcher import Batcher
from gateway.core.versions import canonical_version
from gateway.errors import NotReady, UnknownModel, UnknownVersion
from gateway.types import Call, Version

_UNKNOWN = "Request for unknown model:"  # clients look for it, whatever follows


@dataclass(frozen=True, slots=True)
class Served:
    """One known model.

    `default` answers where no version is asked for; None: nothing does. `unready` are
    reasons, by canonical version, for what is known and cannot be asked.
    """

    default: Version | None
    versions: Mapping[str, Version]  # by canonical version, ascending
    unready: Mapping[str, str] = field(default_factory=dict)


class Flow:
    """Every call handed to `infer` is answered exactly once."""

    def __init__(self, models: Mapping[str, Served], batchers: Mapping[Version, Batcher]) -> None:
        self.models = models  # replaced whole, never changed
        self._batchers = batchers

    def replace(self, models: Mapping[str, Served], batchers: Mapping[Version, Batcher]) -> None:
        """Answer by another table from now on: who asks sees all of the old, or all of the new."""
        self.models = models
        self._batchers = batchers

    def find(self, model: str, version: str | None) -> Version:
        """Return the version that answers. Raises: UnknownModel, UnknownVersion, NotReady."""
        served = self.models.get(model)
        if served is None:
            raise UnknownModel(f"{_UNKNOWN} '{model}' is not found")
        if version is None:
            if served.default is None:
                raise _nothing_by_default(model, served)
            return served.default
        canonical = canonical_version(version)
        found = served.versions.get(canonical)
        if found is None:
            reason = served.unready.get(canonical)
            if reason is None:
                raise UnknownVersion(f"{_UNKNOWN} '{model}' version {version} is not found")
            raise NotReady(
                f"{_UNKNOWN} '{model}' version {version} is not at ready state: {reason}"
            )
        return found

    def infer(self, call: Call) -> None:
        """Batch, execute and answer `call`; it is answered exactly once, at once or later."""
        batcher = self._batchers.get(call.version)
        if batcher is None:
            call.fail(NotReady(f"model '{call.version.model}' is not loaded"))
        else:
            batcher.offer(call)


def _nothing_by_default(model: str, served: Served) -> NotReady:
    reason = "; ".join(f"version {version}: {why}" for version, why in served.unready.items())
    if served.versions:
        ready = ", ".join(served.versions)
        what = f"has no version at ready state that answers by default, only {ready} when asked for"
    else:
        what = "has no available versions"
    return NotReady(f"{_UNKNOWN} '{model}' {what}" + (f": {reason}" if reason else ""))
