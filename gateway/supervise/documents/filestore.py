"""File store: documents on this machine's disk, one file a revision.

Job    the whole store where there is no Redis; what is last known where there is one.
Life   `async with`: entering makes the folder and tidies up, leaving waits for what is
       under way.
Never  changes a file; never takes an older revision for the newest because the newest
       cannot be read.

    <folder>/<model, percent-encoded>/<revision, ten digits>.json

The newest revision is the current one: to write is to add a file, and whoever dies in the
middle has added it or not. A file that cannot be read is not of our making, but a disk's
it may be: then what is current is not known, and `Unreadable` names the file.

Several processes may share the folder. Between looking for the newest and linking the
next, others may have written so much that ours is pruned already, and its name is free
again; so the writer looks once more afterwards.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

from gateway.core.documents import Document
from gateway.repository.reasons import reason
from gateway.supervise.documents.disk import At, make_folder, nowhere, put, remove_unlinked
from gateway.supervise.documents.hand import Hand
from gateway.supervise.documents.names import file_name, folder_name, revision_of
from gateway.supervise.documents.store import MOST_REVISIONS, Conflict, Unreadable
from gateway.supervise.documents.texts import Read, document_of, text_of

_log = logging.getLogger(__name__)


class FileStore:
    """A `Store` in a folder. Mutable state: the files, and which newest ones could not be read
    when they were looked at last, by the folder of their model (`_unread`).
    """

    is_shared = False

    def __init__(self, folder: Path, read: Read, at: At = nowhere) -> None:
        self._folder, self._read, self._at = folder, read, at
        self._hand = Hand(folder)
        self._unread: Mapping[str, Unreadable] = {}

    async def __aenter__(self) -> Self:
        await self._hand.__aenter__()
        try:
            await self._hand.work(self._start)
        except BaseException:
            await self._hand.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hand.__aexit__()

    async def current(self) -> Mapping[str, Document]:
        """Return the newest documents that can be read. Raises: Unreachable. Cancel: safe."""
        found, faults = await self.readable()
        for fault in faults:
            _log.error("a model is without its routing document: %s", fault)
        return found

    async def readable(self) -> tuple[Mapping[str, Document], tuple[Unreadable, ...]]:
        """Return the newest documents that can be read, and why others cannot.

        Raises: Unreachable. Cancel: safe.
        """
        found, self._unread = await self._hand.work(self._readable)
        return found, tuple(self._unread.values())

    async def revisions(self, model: str) -> tuple[Document, ...]:
        """Return what is kept of a model, newest first, without older ones that are unreadable.

        Raises: Unreachable, Unreadable. Cancel: safe.
        """
        return await self._hand.work(partial(self._kept, model))

    async def write(self, document: Document) -> None:
        """Make `document` its model's newest; on return it is on the disk.

        Raises: Conflict, Unreachable, Unreadable. Cancel: it is done all the same.
        """
        await self._hand.work(partial(self._write, document))

    async def keep(self, document: Document) -> None:
        """Make `document` its model's newest if it is newer; it may leave revisions out.

        Raises: Unreachable. Cancel: it is done all the same.
        """
        await self._hand.work(partial(self._keep, document))

    def trouble(self, model: str | None = None) -> str | None:
        """Say what could not be read, of a model or at all; None: what lies there is known."""
        if model is not None:
            fault = self._unread.get(folder_name(model))
            return None if fault is None else str(fault)
        return reason([str(one) for one in self._unread.values()]) or None

    def _start(self) -> None:
        make_folder(self._folder)
        for folder in self._folder.iterdir():
            remove_unlinked(folder)

    def _readable(self) -> tuple[dict[str, Document], dict[str, Unreadable]]:
        newest: dict[str, Document] = {}
        faults: dict[str, Unreadable] = {}
        for folder in sorted(self._folder.iterdir()):
            for revision in revisions_in(folder)[:1]:
                try:
                    document = self._document(folder, revision)
                    newest[document.model] = document
                except Unreadable as error:
                    faults[folder.name] = error
        return newest, faults

    def _kept(self, model: str) -> tuple[Document, ...]:
        folder = self._of(model)
        newest, *older = revisions_in(folder)[:MOST_REVISIONS] or [0]
        if not newest:
            return ()
        found = [self._document(folder, newest)]
        for revision in older:
            with suppress(FileNotFoundError):  # another process has pruned it meanwhile
                try:
                    found.append(self._document(folder, revision))
                except Unreadable as error:
                    _log.warning("a revision of %r is left out: %s", model, error)
        return tuple(found)

    def _write(self, document: Document) -> None:
        if document.revision != self._newest(document.model) + 1:
            raise self._conflict(document.model)
        self._put(document)

    def _keep(self, document: Document) -> None:
        if document.revision > self._newest(document.model):
            with suppress(FileExistsError, Conflict):  # another process keeps it as well
                self._put(document)

    def _put(self, document: Document) -> None:
        folder = self._of(document.model)
        file = folder / file_name(document.revision)
        self._at("folder")
        make_folder(folder)
        try:
            put(text_of(document), file, self._at)
        except FileExistsError:
            raise self._conflict(document.model) from None
        revisions = revisions_in(folder)
        if document.revision not in revisions[:MOST_REVISIONS]:
            file.unlink(missing_ok=True)
            raise self._conflict(document.model)
        for revision in revisions[MOST_REVISIONS:]:
            self._at("prune")
            with suppress(OSError):  # what was written stands; the next write tries again
                (folder / file_name(revision)).unlink()
        self._at("end")

    def _of(self, model: str) -> Path:
        return self._folder / folder_name(model)

    def _newest(self, model: str) -> int:
        """Return the newest revision; 0 where there is none."""
        return max(revisions_in(self._of(model)), default=0)

    def _conflict(self, model: str) -> Conflict:
        newest = self._newest(model)
        return Conflict(model, self._document(self._of(model), newest) if newest else None)

    def _document(self, folder: Path, revision: int) -> Document:
        file = folder / file_name(revision)
        text = file.read_bytes()
        try:
            document = document_of(text, self._read)
            if (folder_name(document.model), document.revision) != (folder.name, revision):
                raise ValueError(f"it is revision {document.revision} of {document.model!r}")
        except ValueError as error:
            raise Unreadable(f"{file} is not the document it should be: {error}") from error
        return document


def revisions_in(folder: Path) -> list[int]:
    """Return the revisions in a model's folder, newest first; none where there is no folder."""
    try:
        names = [one.name for one in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (revision_of(name) for name in names)
    return sorted((one for one in found if one), reverse=True)
