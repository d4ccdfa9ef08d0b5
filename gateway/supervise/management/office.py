"""Office: all that the management port asks of the supervisor.

Job    the one list of questions and orders; the supervisor answers them.
Never  known to a replica.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.control.messages import (
    Disagreed,
)
from gateway.control.reports import BreakerTold
from gateway.core.documents import Document
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


class AuditView(Protocol):
    """One change of a routing document. `before` is the revision that it replaced, if any."""

    @property
    def at(self) -> str: ...
    @property
    def who(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def before(self) -> int | None: ...
    @property
    def after(self) -> int: ...
    @property
    def reason(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ShadowView:
    """What a shadow of the document in force has shown so far.

    Shapes: `calls` by what came of them; `rows` that disagreed by output. `is_noise_floor`: it
    is the version that it is compared with, so what differs is noise.
    """

    name: str
    version: str
    sample_ratio: float
    is_noise_floor: bool
    calls: Mapping[str, int]
    rows: Mapping[str, int]
    worst: Sequence[Disagreed]


class BreakerView(Protocol):
    """One executor instance of a version in one process.

    Units: `since` and `next_try` are seconds since 1970; None: it is tried when an operator says.
    """

    @property
    def replica(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def told(self) -> BreakerTold: ...


class BreakersView(Protocol):
    """All of them; `silent` are the slots of processes that did not answer in time."""

    @property
    def breakers(self) -> Sequence[BreakerView]: ...
    @property
    def silent(self) -> Sequence[int]: ...


class TrafficOffice(Protocol):
    """Who keeps routing documents."""

    def document(self, model: str) -> Document:
        """Return what is in force. Raises: UnknownModel, NotReady."""

    async def revisions(self, model: str) -> tuple[Document, ...]:
        """Return what is kept, newest first. Raises: UnknownModel, NotReady. Cancel: safe."""

    async def put(self, current: Document, raw: object, who: str) -> Document:
        """Have `raw` take the place of `current`; return it as it is in force.

        Raises: InvalidDocument, CannotPrepare, RevisionConflict, NotReady. Cancel: safe; it
        is done whole or not at all.
        """

    async def delete(self, current: Document, reason: str, who: str) -> Document:
        """Write what a first sight would write now. Raises, Cancel: as `put`."""

    async def roll_back(
        self, current: Document, revision: int | None, reason: str, who: str
    ) -> Document:
        """Write an old revision again, by default the one before. Raises, Cancel: as `put`."""

    async def audited(self, limit: int, model: str | None) -> Sequence[AuditView]:
        """Return the last changes, newest first. Raises: NotReady. Cancel: safe."""

    def trouble(self, model: str | None = None) -> str | None:
        """Say why what is in force, of a model or at all, may be old; None where it is not."""


class Office(Protocol):
    """The supervisor, as the management port knows it."""

    @property
    def traffic(self) -> TrafficOffice: ...

    def shadows(self, model: str) -> Sequence[ShadowView]:
        """Return the shadows of a model's document. Raises: UnknownModel, NotReady."""

    async def breakers(self) -> BreakersView:
        """Return how the executors of all replicas are. Cancel: safe."""

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
