"""Traffic: routing documents, from a proposal to every replica.

Job    judge, prepare and commit each change of a document.
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
from typing import Self

from gateway.core.documents import Document, shown
from gateway.core.pinning import first, newest_of
from gateway.core.proposals import read_proposal
from gateway.core.ranges import apportion
from gateway.core.versions import version_key
from gateway.errors import (
    CannotPrepare,
    GatewayError,
    InvalidDocument,
    NotReady,
    RevisionConflict,
    UnknownModel,
)
from gateway.supervise.commits import Commits
from gateway.supervise.documents.audit import Action, Entry
from gateway.supervise.documents.store import Unreachable
from gateway.supervise.following import Following, Inventory
from gateway.supervise.preparing import Preparing
from gateway.supervise.register import Known, Register
from gateway.supervise.sights import Sights, stock_of
from gateway.types import Signature

_log = logging.getLogger(__name__)
_MOST_TOLD = 3  # of the faults, in the one sentence


class Traffic:
    """Every change is whole or has not happened."""

    def __init__(self, commits: Commits, sights: Sights, now: Callable[[], str]) -> None:
        """`now` gives the time of day, as documents carry it."""
        self._commits = commits
        self._sights = sights
        self._now = now
        self._preparing = Preparing()
        self._following = Following(commits, self._preparing)
        self.behind = self._following.behind
        self.hear = self._following.hear

    def introduce(self, inventory: Inventory, lacking: Callable[[], Mapping[str, str]]) -> None:
        """Say who knows versions, and which digests some replica lacks, before anything starts."""
        self._inventory = inventory
        self._preparing.introduce(inventory, lacking)
        self._following.introduce(inventory)
        self._commits.introduce(inventory)
        self._sights.introduce(inventory, self._following)

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        await self._following.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._following.__aexit__()
        await self._tasks.__aexit__(None, None, None)

    async def start(self) -> None:
        """Know what is stored, before any version is loaded: what it names is.

        Where no document is known and the store cannot be asked, models have none until it
        can. One whose newest cannot be read has none before that is mended.
        """
        try:
            documents = (await self._commits.store.current()).values()
        except Unreachable as error:
            _log.error("no model is ready before its routing document is known: %s", error)
            return
        await self._commits.complete(documents)
        self._following.expect(documents)
        await self._inventory.adopt(*documents)

    async def settle(self) -> None:
        """Go back where what is stored cannot be answered by, after versions are loaded and
        before anything is served.
        """
        await self._following.settle()

    async def see(self, register: Register) -> None:
        """Write what is to be written for what is about to be published."""
        self._following.look(register)
        await self._sights.see(register)

    def document(self, model: str) -> Document:
        """Return what is in force. Raises: UnknownModel; NotReady where there is nothing."""
        if not self._inventory.known(model):
            raise UnknownModel(f"Request for unknown model: '{model}' is not found")
        document = self._inventory.document(model)
        if document is None:
            why = self.trouble(model)
            what = f"model '{model}' has no routing document"
            raise NotReady(f"{what} yet" if why is None else f"{what} here: {why}")
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
        behind = None if model is None else self._following.trouble(model)
        return "; ".join(filter(None, (self._commits.store.trouble(model), behind))) or None

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
        raw = {**shown(old), "reason": reason}
        found = read_proposal(raw, current.model, _signatures(known))  # files may have changed
        stale = _old_reason(raw, current)
        if not isinstance(found, Document) or stale:
            raise _invalid((*(found if isinstance(found, tuple) else ()), *stale))
        return await self._change(replace(found, pieces=old.pieces), current, who, "rollback")

    async def _change(
        self, proposal: Document, current: Document, who: str, action: Action
    ) -> Document:
        before = await self._before(current)
        document = replace(
            proposal,
            revision=before.revision + 1,
            changed_by=who,
            changed_at=self._now(),
            newest=newest_of(proposal, before),
        )
        await self._preparing.prepare(document, current)
        refused = await asyncio.shield(self._tasks.create_task(self._commit(document, action)))
        if refused is not None:
            raise refused
        return document

    async def _before(self, current: Document) -> Document:
        """Return what a change takes the place of: what stays out here, where it is ours alone."""
        if current.model not in self.behind or self._commits.store.is_shared:
            return current
        return next(iter(await self._commits.store.revisions(current.model)), current)

    async def _commit(self, document: Document, action: Action) -> GatewayError | None:
        """Commit whole, whoever waits for it; return why it was refused, if it was."""
        try:
            await self._commits.commit(document, action)
        except RevisionConflict as error:
            behind = self._following.trouble(document.model)
            what = f"{error}; this host is behind: {behind}"
            return error if behind is None else RevisionConflict(what, error.current)
        except GatewayError as error:  # raised here it would end everybody's tasks
            return error
        self._following.forgive(document.model)
        return None


def _old_reason(raw: object, current: Document) -> tuple[tuple[str, str], ...]:
    """Return the fault of a change that says why the one before was made."""
    if not isinstance(raw, dict) or raw.get("reason") != current.reason:
        return ()
    return (("$.reason", f"expected a new one, got that of revision {current.revision}"),)


def _signatures(known: Mapping[str, Known]) -> dict[str, Signature | None]:
    return {
        version: None if one.proof is None else one.proof.signature
        for version, one in known.items()
    }


def _invalid(faults: tuple[tuple[str, str], ...]) -> InvalidDocument:
    shown = "; ".join(f"{path}: {what}" for path, what in faults[:_MOST_TOLD])
    more = len(faults) - _MOST_TOLD
    return InvalidDocument(shown + (f"; and {more} more" if more > 0 else ""), faults)
