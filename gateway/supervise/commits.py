"""Commits: a document that is decided becomes the one in force.

Job    persist, publish, record; complete what a death has left out.
Life   as long as the traffic.
Never  publishes what is not kept; fails a change, or a start, because it could not be recorded.
"""

import logging
from collections.abc import Iterable
from typing import Protocol

from gateway.core.documents import Document
from gateway.errors import NotReady, RevisionConflict
from gateway.supervise.documents.audit import Action, Entry
from gateway.supervise.documents.store import Conflict, Store

_log = logging.getLogger(__name__)


class Adopting(Protocol):
    """Who has documents put in force: the inventory."""

    async def adopt(self, *documents: Document) -> None:
        """Share calls by these documents; return when every replica does."""


class Auditing(Protocol):
    """Who remembers changes."""

    async def append(self, entry: Entry) -> None:
        """Remember a change, durably. Raises: NotReady."""

    async def read(self, limit: int, model: str | None = None) -> tuple[Entry, ...]:
        """Return the last changes, of one model or of all, newest first. Raises: NotReady."""
        ...

    async def untold(self, documents: Iterable[Document]) -> tuple[Entry, ...]:
        """Return the changes to these documents that it was not told. Raises: NotReady."""
        ...


class Commits:
    """What is committed is durable first, then in force, then in the audit."""

    def __init__(self, store: Store, audit: Auditing) -> None:
        self.store = store
        self.audit = audit

    def introduce(self, adopting: Adopting) -> None:
        """Say who has documents put in force, before anything is committed."""
        self._adopting = adopting

    async def complete(self, documents: Iterable[Document]) -> None:
        """Record what was persisted before a death, and not recorded, as far as that can be.

        A disk that is full or broken keeps nobody from serving: the next start tries again.
        """
        try:
            for entry in await self.audit.untold(documents):
                await self.audit.append(entry)
        except NotReady as error:
            _log.error("the audit may not know of every change yet: %s", error)

    async def persist(self, document: Document) -> None:
        """Keep a document as its model's newest. Raises: RevisionConflict, NotReady."""
        try:
            await self.store.write(document)
        except Conflict as conflict:
            current = 0 if conflict.current is None else conflict.current.revision
            raise RevisionConflict(
                f"model '{document.model}' has another routing document by now: expected the "
                f"revision that you read, the current one is {current}",
                current,
            ) from None

    async def commit(self, document: Document, action: Action) -> None:
        """Persist, publish and record. Raises: RevisionConflict, NotReady."""
        await self.persist(document)
        await self._adopting.adopt(document)
        await self.record(document, action, document.revision - 1 or None)

    async def record(self, document: Document, action: Action, before: int | None) -> None:
        """Write a change into the audit; what cannot be written is completed at a start."""
        one = document
        entry = Entry(
            one.changed_at, one.changed_by, one.model, action, before, one.revision, one.reason
        )
        try:
            await self.audit.append(entry)
        except NotReady as error:
            what = "the audit does not know of revision %d of %r yet: %s"
            _log.error(what, one.revision, one.model, error)
