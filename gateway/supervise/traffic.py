"""Traffic: routing documents, from a proposal to every replica.

Job    judge, prepare and commit each change of a document; follow those that others make.
Life   `async with`; `start` puts in force what is stored; leaving ends what is under way.
Never  answers a change that is not kept; gives up half-way because a caller left.

Theory of operation. A change has three steps, and a death between any two leaves the old
document or the new one:

    prepare   every replica has loaded what is to get calls, else nothing has changed
    persist   the store takes it if nobody was faster (compare-and-set), durably
    publish   every replica answers by it

What is persisted is published, also if the caller has gone by then: that part is a task of
ours. After a death in between the next start publishes it. The store is the only judge of
who was first; what we hold in memory only spares us the question.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol, Self

from gateway.core.documents import Document
from gateway.core.lifecycle import is_quarantined, is_ready
from gateway.core.pinning import first
from gateway.core.proposals import read_proposal
from gateway.core.ranges import apportion
from gateway.core.versions import version_key
from gateway.errors import (
    CannotPrepare,
    GatewayError,
    InvalidDocument,
    NotReady,
    UnknownModel,
)
from gateway.supervise.commits import Adopting, Commits
from gateway.supervise.documents.audit import Action, Entry
from gateway.supervise.documents.store import Unreachable
from gateway.supervise.register import Known
from gateway.supervise.sights import Sights, stock_of
from gateway.types import Signature

_log = logging.getLogger(__name__)
_MOST_TOLD = 3  # of the faults, in the one sentence


class Inventory(Adopting, Protocol):
    """Who knows versions, and has documents put in force."""

    def known(self, model: str) -> Mapping[str, Known]:
        """Return a model's versions."""

    def document(self, model: str) -> Document | None:
        """Return by what a model's calls are shared."""

    async def load(self, model: str, version: str) -> None:
        """Have every replica load a version. Raises: a GatewayError."""


class Traffic:
    """Every change is whole or has not happened.

    Mutable state: what is kept and cannot be put in force here (`behind`): the revision and
    why, by model.
    """

    def __init__(self, commits: Commits, sights: Sights, now: Callable[[], str]) -> None:
        """`now` gives the time of day, as documents carry it."""
        self._commits = commits
        self._sights = sights
        self._now = now
        self.see = sights.see
        self.behind: dict[str, tuple[int, str]] = {}

    def introduce(self, inventory: Inventory, lacking: Callable[[], Mapping[str, str]]) -> None:
        """Say who knows versions, and which digests some replica lacks, before anything starts."""
        self._inventory = inventory
        self._lacking = lacking
        self._commits.introduce(inventory)
        self._sights.introduce(inventory, self.hear)

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.__aexit__(None, None, None)

    async def start(self) -> None:
        """Put in force what is stored, before anything is served.

        Where no document is known and the store cannot be asked, models have none until it
        can. Raises: NotReady, where what is stored cannot be read.
        """
        try:
            documents = (await self._commits.store.current()).values()
        except Unreachable as error:
            _log.error("no model is ready before its routing document is known: %s", error)
            return
        await self._commits.complete(documents)
        await self._inventory.adopt(*documents)

    def document(self, model: str) -> Document:
        """Return what is in force. Raises: UnknownModel; NotReady where there is nothing."""
        if not self._inventory.known(model):
            raise UnknownModel(f"Request for unknown model: '{model}' is not found")
        document = self._inventory.document(model)
        if document is None:
            raise NotReady(f"model '{model}' has no routing document yet")
        return document

    async def revisions(self, model: str) -> tuple[Document, ...]:
        """Return what is kept, newest first. Raises: UnknownModel, NotReady."""
        self.document(model)
        return await self._commits.store.revisions(model)

    async def audited(self, limit: int, model: str | None) -> tuple[Entry, ...]:
        """Return the last changes, newest first. Raises: NotReady. Cancel: safe."""
        return await self._commits.audit.read(limit, model)

    def trouble(self, model: str | None = None) -> str | None:
        """Say why what is in force, of a model or at all, may be old; None where it is not."""
        told = [self._commits.store.trouble()]
        if model in self.behind:
            revision, why = self.behind[model]
            told.append(f"revision {revision} stays out: {why}")
        return "; ".join(filter(None, told)) or None

    async def put(self, current: Document, raw: object, who: str) -> Document:
        """Have `raw` take the place of `current`; return it as it is in force.

        Raises: InvalidDocument, CannotPrepare, RevisionConflict, NotReady. Cancel: safe; it
        is done whole or not at all.
        """
        known = self._inventory.known(current.model)
        found = read_proposal(raw, current.model, _signatures(known))
        old = _old_reason(raw, current)
        if not isinstance(found, Document) or old:
            raise _invalid((*(found if isinstance(found, tuple) else ()), *old))
        pieces = current.pieces if found.sticky == current.sticky else ()
        found = replace(found, pieces=apportion(pieces, found.variants))
        return await self._change(found, current, who, "put")

    async def delete(self, current: Document, reason: str, who: str) -> Document:
        """Write anew what first sight would write now. Raises, Cancel: as `put`."""
        ready = stock_of(self._inventory.known(current.model)).ready
        if not ready:
            raise CannotPrepare(f"model '{current.model}' has no version at ready state")
        found = first(current.model, max(ready, key=version_key), reason)
        return await self._change(found, current, who, "delete")

    async def roll_back(
        self, current: Document, revision: int | None, reason: str, who: str
    ) -> Document:
        """Write an old revision again, by default the one before. Raises, Cancel: as `put`."""
        wanted = current.revision - 1 if revision is None else revision
        kept = await self._commits.store.revisions(current.model)
        old = next((one for one in kept if one.revision == wanted), None)
        if old is None:
            oldest = kept[-1].revision if kept else 0
            what = f"expected one that is kept, {oldest} to {current.revision}, got {wanted}"
            raise _invalid((("$.revision", what),))
        known = self._inventory.known(current.model)
        if gone := [one for one in old.versions() if one not in known]:
            what = f"revision {wanted} names versions that are not there any more: "
            raise _invalid((("$.revision", what + ", ".join(gone)),))
        return await self._change(replace(old, reason=reason), current, who, "rollback")

    def hear(self, model: str) -> None:
        """Hear that somebody else has changed a model's document."""
        self._tasks.create_task(self._follow(model))

    async def _change(
        self, proposal: Document, current: Document, who: str, action: Action
    ) -> Document:
        document = replace(
            proposal, revision=current.revision + 1, changed_by=who, changed_at=self._now()
        )
        await self._prepare(document, current)
        refused = await asyncio.shield(self._tasks.create_task(self._commit(document, action)))
        if refused is not None:
            raise refused
        return document

    async def _commit(self, document: Document, action: Action) -> GatewayError | None:
        """Commit whole, whoever waits for it; return why it was refused, if it was."""
        try:
            await self._commits.commit(document, action)
        except GatewayError as error:  # raised here it would end everybody's tasks
            return error
        self.behind.pop(document.model, None)
        return None

    async def _prepare(self, document: Document, current: Document | None) -> None:
        """Have every replica hold what is to get calls. Raises: a GatewayError.

        What gets none, and stood there before, need not be there: so a canary that broke can
        be turned off.
        """
        before = () if current is None else current.versions()
        needed = _needed(document)
        for version in document.versions():
            if version in needed or version not in before:
                await self._ready(document.model, version)

    async def _ready(self, model: str, version: str) -> None:
        known = self._inventory.known(model).get(version)
        if known is not None and is_quarantined(known.state):
            raise CannotPrepare(
                f"version {version} of model '{model}' is quarantined: load it first, if you must"
            )
        proof = None if known is None or not is_ready(known.state) else known.proof
        if proof is None or proof.digest in self._lacking():
            await self._inventory.load(model, version)

    async def _follow(self, model: str) -> None:
        """Put in force what somebody else has written, or say why not."""
        try:
            kept = await self._commits.store.revisions(model)
        except GatewayError as error:
            _log.error("the document of %r that somebody wrote cannot be read: %s", model, error)
            return
        current = self._inventory.document(model)
        if not kept or (current is not None and kept[0].revision <= current.revision):
            return
        try:
            if self._inventory.known(model):
                await self._prepare(kept[0], current)
        except GatewayError as error:
            self.behind[model] = kept[0].revision, str(error)
            _log.error("revision %d of %r stays out: %s", kept[0].revision, model, error)
            return
        self.behind.pop(model, None)
        await self._inventory.adopt(kept[0])
        before = None if current is None else current.revision
        await self._commits.record(kept[0], "adopted", before)


def _old_reason(raw: object, current: Document) -> tuple[tuple[str, str], ...]:
    """Return the fault of a change that says why the one before was made."""
    if not isinstance(raw, dict) or raw.get("reason") != current.reason:
        return ()
    return (("$.reason", f"expected a new one, got that of revision {current.revision}"),)


def _needed(document: Document) -> set[str]:
    """Return the versions that get calls."""
    asked = {rule.variant for rule in document.rules} | {document.fallback}
    needed = {one.version for one in document.variants if one.weight_bp or one.name in asked}
    return needed | {one.version for one in document.shadows}


def _signatures(known: Mapping[str, Known]) -> dict[str, Signature | None]:
    return {
        version: None if one.proof is None else one.proof.signature
        for version, one in known.items()
    }


def _invalid(faults: tuple[tuple[str, str], ...]) -> InvalidDocument:
    shown = "; ".join(f"{path}: {what}" for path, what in faults[:_MOST_TOLD])
    more = len(faults) - _MOST_TOLD
    return InvalidDocument(shown + (f"; and {more} more" if more > 0 else ""), faults)
