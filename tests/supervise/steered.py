"""Hand-written doubles for routing documents: a store, an audit, an inventory, all in memory.

Each keeps the promises of what it stands for; the tests of tests/supervise/documents hold the
real stores to the same ones.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from gateway.control.messages import Assigned
from gateway.core.costs import Cost, Placement
from gateway.core.documents import Document
from gateway.core.lifecycle import Cause, Ready, State, Unavailable
from gateway.errors import CannotPrepare, NotReady
from gateway.repository.proof import Found, Proof
from gateway.repository.settings import ModelSettings
from gateway.supervise.commits import Commits
from gateway.supervise.documents.audit import Entry, missing
from gateway.supervise.documents.store import Conflict, Unreachable, Unreadable
from gateway.supervise.register import Known, Register
from gateway.supervise.sights import Sights
from gateway.supervise.traffic import Traffic
from gateway.types import Signature, TensorSpec
from tests.clock import play

T = TypeVar("T")

ONE = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "INT64", (-1,)),), 8)
OTHER = Signature((TensorSpec("z", "FP32", (-1, 2)),), (TensorSpec("y", "INT64", (-1,)),), 8)
QUARANTINED = Unavailable(Cause.QUARANTINED, "it killed")
UNLOADED = Unavailable(Cause.UNLOADED, "unloaded")


class MemoryStore:
    """A store that forgets nothing; `is_away` says that it cannot be asked."""

    def __init__(self, is_shared: bool = False) -> None:
        self.is_shared = is_shared
        self.kept: dict[str, list[Document]] = {}
        self.is_away = False
        self.says: str | None = None
        self.gate: asyncio.Event | None = None
        self.unread: dict[str, str] = {}  # models whose newest document is rotten, and why

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Keep all."""

    async def current(self) -> Mapping[str, Document]:
        self._check()
        return {model: kept[-1] for model, kept in self.kept.items()}

    async def revisions(self, model: str) -> tuple[Document, ...]:
        await asyncio.sleep(0)
        self._check()
        return tuple(reversed(self.kept.get(model, [])))

    async def write(self, document: Document) -> None:
        await (self.gate.wait() if self.gate else asyncio.sleep(0))
        self._check()
        if document.model in self.unread:
            raise Unreadable(self.unread[document.model])
        kept = self.kept.setdefault(document.model, [])
        if document.revision != len(kept) + 1:
            raise Conflict(document.model, kept[-1] if kept else None)
        kept.append(document)

    def trouble(self, model: str | None = None) -> str | None:
        return self.unread.get(model or "", self.says)

    def _check(self) -> None:
        if self.is_away:
            raise Unreachable("the store is away")


class MemoryAudit:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.is_full = self.is_away = False

    async def append(self, entry: Entry) -> None:
        if self.is_full:
            raise NotReady("no space left on device")
        self.entries.append(entry)

    async def read(self, limit: int, model: str | None = None) -> tuple[Entry, ...]:
        if self.is_away:
            raise NotReady("the audit cannot be read")
        found = [one for one in reversed(self.entries) if model in (None, one.model)]
        return tuple(found[:limit])

    async def untold(self, documents: Iterable[Document]) -> tuple[Entry, ...]:
        return missing(await self.read(len(self.entries)), documents)

    def told(self) -> list[tuple[str, str, int | None, int, str]]:
        return [(one.who, one.action, one.before, one.after, one.reason) for one in self.entries]


class FakeInventory:
    """Versions of a register, loaded at once unless they are in `refuses`.

    As with the real one, a load that fails is published as well.
    """

    def __init__(self) -> None:
        self.register = Register(needs_documents=True)
        self.loaded: list[str] = []
        self.refuses: dict[str, str] = {}
        self.published: list[dict[str, int]] = []  # revisions by model
        self.see: Callable[[Register], Coroutine[Any, Any, None]] | None = None

    def have(self, model: str, version: str, state: State, signature: Signature = ONE) -> None:
        known = self.register.know(model, version)
        found = Found(model, version, Path(version), Path(version) / "model.onnx", ModelSettings())
        digest = f"{model}-{version}"
        known.proof = Proof(found, digest, signature, Cost(0.0, 0.0), Placement(True, 8))
        known.state = state
        known.assigned = Assigned(known.proof, 1) if isinstance(state, Ready) else None
        self.register.touch(model)

    def known(self, model: str) -> Mapping[str, Known]:
        return self.register.of(model)

    def document(self, model: str) -> Document | None:
        return self.register.document(model)

    async def load(self, model: str, version: str) -> None:
        await asyncio.sleep(0)
        self.loaded.append(version)
        self.register.touch(model)
        if version in self.refuses:
            await self.adopt()  # callers hear the new reason
            raise CannotPrepare(self.refuses[version])
        proof = self.register.know(model, version).proof
        self.have(model, version, Ready(), ONE if proof is None else proof.signature)

    async def adopt(self, *documents: Document, is_back: bool = False) -> None:
        for one in documents:
            self.register.adopt(one, is_back)
        if self.see is not None:
            await self.see(self.register)
        found = {model: self.register.document(model) for model in self.register.models()}
        self.published.append({model: one.revision for model, one in found.items() if one})


class Steered:
    """A traffic among its neighbours, with version 1 and 2 of model `m` ready."""

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        serves_new_versions: bool = False,
        ready: Sequence[tuple[str, str]] = (("m", "1"), ("m", "2")),
    ) -> None:
        self.store, self.audit = store or MemoryStore(), MemoryAudit()
        self.inventory = FakeInventory()
        self.lacking: dict[str, str] = {}
        self.ticks = 0
        commits = Commits(self.store, self.audit)
        self.sights = Sights(commits, self._now, serves_new_versions=serves_new_versions)
        self.traffic = Traffic(commits, self.sights, self._now)
        self.inventory.see = self.traffic.see
        self.traffic.introduce(self.inventory, lambda: self.lacking)
        for model, version in ready:
            self.inventory.have(model, version, Ready())

    def _now(self) -> str:
        self.ticks += 1
        return f"2026-01-01T00:00:{self.ticks:02}.000+00:00"

    def current(self) -> Document:
        return self.traffic.document("m")

    async def put(self, who: str = "ann", **members: Any) -> Document:
        """Propose a document over the current one."""
        return await self.traffic.put(self.current(), proposal(**members), who)


def proposal(
    reason: str = "try 2", shares: Mapping[str, tuple[str, float]] | None = None, **members: Any
) -> dict[str, Any]:
    """The JSON of a document: version and weight by variant."""
    shared = shares or {"stable": ("1", 95), "canary": ("2", 5)}
    variants = [
        {"name": name, "version": version, "weight": weight}
        for name, (version, weight) in shared.items()
    ]
    return {"variants": variants, "reason": reason, **members}


def steered(scene: Callable[[Steered], Coroutine[Any, Any, T]], made: Steered | None = None) -> T:
    """Play a scene with an open traffic that has started."""

    async def whole() -> T:
        one = made or Steered()
        async with one.sights, one.traffic:
            await one.traffic.start()
            await one.traffic.settle()
            return await scene(one)

    return play(whole)


def kept(document: Document, **changes: Any) -> Document:
    """A document as somebody else may have written it."""
    return replace(document, **changes)
