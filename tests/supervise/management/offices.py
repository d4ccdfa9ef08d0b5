"""A supervisor's office that keeps no processes: what the management port is tested against."""

import asyncio
from dataclasses import dataclass, field, replace

from gateway.errors import CannotPrepare, Rejected, UnknownModel, UnknownVersion
from gateway.types import Signature, TensorSpec


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
