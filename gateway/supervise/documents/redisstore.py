"""Redis store: documents that a fleet shares.

Job    compare-and-set in Redis; hear what others write; keep all that was seen on disk.
Life   `async with`: a task of its own follows Redis, and is gone when it is left.
Never  waits for Redis longer than its door does; never goes back, whatever it says.

Theory of operation. One Lua script compares and sets, so that of two writers one wins. What
is published only says when to look; looking is one HGETALL of revisions, and is done every
`every_s` besides, since a message may be lost. What is higher than ours is fetched, kept on
disk, and told. What is lower, or gone, is given back by a second script: Redis may have been
wiped, or have lost its last second; then whoever knows the highest revision restores it.

While Redis is away, what was last known is the answer, `trouble` says so, and nothing can be
written. What it holds and nobody can read is no news, and is told as well.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Self

from gateway.core.documents import Document
from gateway.repository.reasons import reason
from gateway.supervise.documents.asking import Asking, portions
from gateway.supervise.documents.comparing import Difference, compare, revision_in
from gateway.supervise.documents.filestore import FileStore
from gateway.supervise.documents.known import Changed, Known
from gateway.supervise.documents.redisdoor import Door, ended
from gateway.supervise.documents.store import MOST_REVISIONS, Conflict, Unreachable, Unreadable
from gateway.supervise.documents.texts import Read, document_of

_log = logging.getLogger(__name__)
_RETRY_FIRST_S = 0.1
_MOST_ATTEMPTS = 3


class RedisStore:
    """A `Store` in Redis, with a folder of what is last known.

    Mutable state: what is known (`_known`), why Redis is away (`_away`), and what it said
    that cannot be (`_faults`).
    """

    is_shared = True

    def __init__(
        self,
        url: str,
        last_known: FileStore,
        read: Read,
        changed: Changed,
        prefix: str = "gateway:routes",
        every_s: float = 3.0,
    ) -> None:
        self._url, self._files, self._read = url, last_known, read
        self._asking, self._every_s = Asking(prefix), every_s
        self._known = Known(last_known, changed)
        self._away: str | None = "it was not asked yet"
        self._faults: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._files)
            await self._known.load()
            self._door = await stack.enter_async_context(Door(self._url))
            await self._try_to_look()
            group = await stack.enter_async_context(asyncio.TaskGroup())
            stack.push_async_callback(ended, group.create_task(self._follow()))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def current(self) -> Mapping[str, Document]:
        """Return every model's newest document: what is last known, where Redis is away.

        Raises: Unreachable where nothing is known and Redis is away. Cancel: safe.
        """
        if self._away is None:
            await self._try_to_look()
        if self._away is not None and not self._known.newest:
            raise Unreachable(f"no document is known, and Redis is away: {self._away}")
        return dict(self._known.newest)

    async def revisions(self, model: str) -> tuple[Document, ...]:
        """Return what Redis and the disk have of a model, newest first. Cancel: safe.

        Raises: Unreadable where the newest on disk is no document.
        """
        found = {one.revision: one for one in await self._known.revisions(model)}
        if self._away is None:
            try:
                found |= {one.revision: one for one in await self._history(model)}
            except Unreachable as error:
                _log.warning("%s: the revisions of %r are those on disk", error, model)
        newest_first = sorted(found.values(), key=lambda one: -one.revision)
        return tuple(newest_first[:MOST_REVISIONS])

    async def write(self, document: Document) -> None:
        """Make `document` its model's newest; on return it is in Redis and on this disk.

        Raises: Conflict; Unreachable within seconds. Cancel: it may be done or not.
        """
        self._known.begin(document)
        try:
            if not await self._is_written(document):
                raise Conflict(document.model, self._known.newest.get(document.model))
            await self._known.adopt(document)
        finally:
            self._known.end(document)

    def trouble(self, model: str | None = None) -> str | None:
        """Say why what we know may be old, or not all of it; None where it is not."""
        away = () if self._away is None else (f"Redis is away: {self._away}",)
        return reason([*away, *self._faults, *self._known.faults()]) or None

    async def _history(self, model: str) -> tuple[Document, ...]:
        found = []
        for text in await self._door.answer(self._asking.history(model)):
            try:
                found.append(self._document(model, 1, text))
            except Unreadable as error:
                _log.warning("a revision is left out: %s", error)
        return tuple(found)

    async def _is_written(self, document: Document) -> bool:
        """Write, unless Redis has something newer, which is known then.

        What Redis has lost is given back first: else nothing could ever follow it.
        """
        model = document.model
        for _ in range(_MOST_ATTEMPTS):
            is_done, revision, text = await self._door.answer(self._asking.write(document))
            if is_done:
                return True
            theirs, ours = revision_in(revision) or 0, self._known.newest.get(model)
            if ours is None or theirs >= ours.revision:
                if theirs:
                    await self._known.adopt(self._document(model, theirs, text))
                return False
            if faults := await self._give_back((ours,)):
                raise Unreachable("; ".join(faults))
        raise Unreachable(f"Redis does not take what it lacks of {model!r}")

    async def _follow(self) -> None:
        """Look whenever somebody says that there is news, and now and then, for ever."""
        delay_s = _RETRY_FIRST_S
        while True:
            try:
                async with self._door.listening(self._asking.channel) as news:
                    while await self._try_to_look():
                        delay_s = _RETRY_FIRST_S
                        await news(self._every_s)
            except Unreachable as error:
                self._lose(str(error))
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, self._every_s)

    async def _try_to_look(self) -> bool:
        """Know what Redis knows, and have it know what we do; say whether it answered."""
        try:
            table = await self._door.answer(self._asking.table())
            difference = compare(self._known.newest, table)
            faults = await self._settle(difference)
        except Unreachable as error:
            self._lose(str(error))
            return False
        if self._away is not None:
            _log.info("Redis answers")
        self._away, self._faults = None, (*difference.faults, *faults)
        return True

    def _lose(self, why: str) -> None:
        if self._away is None:
            _log.warning("Redis is away, and what was last known is used: %s", why)
        self._away = why

    async def _settle(self, difference: Difference) -> list[str]:
        """Fetch what is higher, give back what is lower; return what went wrong."""
        faults: list[str] = []
        for some in portions(difference.fetch):
            asked = [self._asking.newest(model) for model, _ in some]
            for (model, revision), text in zip(some, await self._door.answers(asked), strict=True):
                try:
                    await self._known.adopt(self._document(model, revision, text))
                except Unreadable as error:
                    faults.append(str(error))
        for lost in portions(difference.give_back):
            faults += await self._give_back(lost)
        return faults

    async def _give_back(self, lost: Sequence[Document]) -> list[str]:
        faults, restored = [], []
        replies = await self._door.answers([self._asking.give_back(one) for one in lost])
        for one, reply in zip(lost, replies, strict=True):
            what = f"revision {one.revision} of {one.model!r}"
            if isinstance(reply, Exception):
                faults.append(f"Redis has lost {what}, and does not take it back: {reply}")
            elif reply[0]:
                restored.append(what)
        if restored:
            _log.warning("Redis had lost, and has again: %s", reason(restored))
        return faults

    def _document(self, model: str, revision: int, text: object) -> Document:
        """Return what Redis holds as its newest. Raises: Unreadable."""
        what = f"what Redis has as revision {revision} of {model!r}"
        if not isinstance(text, bytes):
            raise Unreadable(f"{what} is no document: {text or 'it is gone'}")
        try:
            document = document_of(text, self._read)
        except ValueError as error:
            raise Unreadable(f"{what} cannot be read: {error}") from error
        if document.model != model or document.revision < revision:  # it may have moved on
            raise Unreadable(f"{what} is revision {document.revision} of {document.model!r}")
        return document
