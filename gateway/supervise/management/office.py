"""Office: all that the management port asks of the supervisor.

Job    the one list of questions and orders; the supervisor answers them.
Never  known to a replica.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.errors import Rejected
from gateway.types import Signature


class VersionView(Protocol):
    """One known version.

    `state` is READY, LOADING, UNLOADING or UNAVAILABLE; `reason` says why it is not ready.
    What is known only of a version that was proved is None before.
    """

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def is_default(self) -> bool: ...
    @property
    def digest(self) -> str | None: ...
    @property
    def executor(self) -> str | None: ...
    @property
    def max_batch_size(self) -> int | None: ...
    @property
    def signature(self) -> Signature | None: ...


class ReplicaView(Protocol):
    """One process that serves. Units: `started_at` is seconds since 1970."""

    @property
    def slot(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def restarts(self) -> int: ...
    @property
    def started_at(self) -> float: ...


class Office(Protocol):
    """The supervisor, as the management port knows it."""

    def unready(self) -> Rejected | None:
        """Return what says why nothing can be served; None where it can."""

    def versions(self) -> Sequence[VersionView]:
        """Return every known version: models by name, versions ascending."""

    def replicas(self) -> Sequence[ReplicaView]:
        """Return every live process, by slot."""

    async def load(self, model: str, version: str | None) -> None:
        """Serve a version, or what the model's version policy chooses; return when all do.

        Raises: a GatewayError. Cancel: safe; what is half loaded is dropped.
        """

    async def unload(self, model: str, version: str | None) -> None:
        """Stop serving a version, or all of a model's; return when nobody serves them.

        Raises: a GatewayError. Cancel: safe.
        """

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their content type, in the format that `accept` prefers."""

    async def telemetry(self) -> Mapping[str, object]:
        """Return all counters since the start of this epoch, ready to become JSON."""
