"""Known: the newest documents that this machine has seen, while others write them elsewhere.

Job    hold them, keep them on disk, tell of the news.
Life   loaded once from the last known; then as long as its store.
Never  goes back: a lower revision is no news.

A document is on the disk before anybody is told: else a restart while the others are away
would go back. A disk that fails keeps nobody from serving: it is a fault to be told.
"""

from collections.abc import Callable, Mapping

from gateway.core.documents import Document
from gateway.supervise.documents.filestore import FileStore
from gateway.supervise.documents.store import Conflict, Unreachable, Unreadable

Changed = Callable[[str], None]  # hears a model's name; must not raise


class Known:
    """Mutable state: the newest documents, what we are writing ourselves, the disk's faults."""

    def __init__(self, files: FileStore, changed: Changed) -> None:
        self._files, self._changed = files, changed
        self._newest: dict[str, Document] = {}
        self._own: list[Document] = []
        self._unread: tuple[str, ...] = ()
        self._unkept: dict[str, str] = {}

    @property
    def newest(self) -> Mapping[str, Document]:
        """Every model's newest document that was seen."""
        return self._newest

    async def load(self) -> None:
        """Know what the disk has. Raises: Unreachable."""
        found, faults = await self._files.readable()
        self._newest.update(found)
        self._unread = tuple(map(str, faults))

    async def revisions(self, model: str) -> tuple[Document, ...]:
        """Return what the disk has of a model, newest first. Raises: Unreachable, Unreadable."""
        return await self._files.revisions(model)

    def begin(self, document: Document) -> None:
        """Expect news that is our own. Raises: Conflict where it cannot be any."""
        newest = self._newest.get(document.model)
        if newest is not None and document.revision <= newest.revision:
            raise Conflict(document.model, newest)
        self._own.append(document)

    def end(self, document: Document) -> None:
        """Expect it no longer: whatever became of it is known, or is news by now."""
        self._own = [one for one in self._own if one is not document]

    async def adopt(self, document: Document) -> None:
        """Take a document for its model's newest, unless it is not; tell if it is not our own.

        Cancel: it may be on the disk, and nobody told.
        """
        model = document.model
        if not self._is_news(document):
            return
        try:
            await self._files.keep(document)
            self._unkept.pop(model, None)
        except (Unreachable, Unreadable) as error:
            self._unkept[model] = f"revision {document.revision} of {model!r} is not kept: {error}"
        if self._is_news(document):  # still: others may have come meanwhile
            self._newest[model] = document
            if document not in self._own:
                self._changed(model)

    def faults(self) -> tuple[str, ...]:
        """Say what the disk could not read or keep."""
        return (*self._unread, *self._unkept.values())

    def _is_news(self, document: Document) -> bool:
        known = self._newest.get(document.model)
        return known is None or document.revision > known.revision
