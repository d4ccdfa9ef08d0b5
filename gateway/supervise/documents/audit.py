"""Audit: who changed which routing document, when and why.

Job    a line of JSON for each change, at the end of a file that only grows.
Life   `async with`: entering mends a last line that a death tore, leaving waits for what is
       under way.
Never  loses a whole line, nor changes one that stands.

A document is persisted before its line is written, and says itself who changed it, when and
why: so a line that a death left out can be written later (`missing`).

The file is opened for each line: whoever moves it away to keep it small needs to tell nobody.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self, get_args

import orjson

from gateway.core.documents import Document
from gateway.supervise.documents.disk import make_folder, sync_folder, write_whole
from gateway.supervise.documents.hand import Hand

_log = logging.getLogger(__name__)
_BLOCK_BYTES = 64 << 10
_MOST_ENTRIES = 100_000  # that a start looks at

Action = Literal["put", "delete", "rollback", "first_sight", "adopted"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `before` is the revision that it replaced, if there was one."""

    at: str  # ISO 8601, UTC
    who: str
    model: str
    action: Action
    before: int | None
    after: int
    reason: str


class Audit:
    """A file of entries. Mutable state: whether its last line may be torn."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._hand = Hand(file)
        self._reader = Hand(file)  # of its own: a long look back holds up no change
        self._is_torn = True  # whoever was here before may have died

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for hand in (self._hand, self._reader):
                await stack.enter_async_context(hand)
            await self._hand.work(self._mend)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def append(self, entry: Entry) -> None:
        """Write an entry; on return it is on the disk.

        Raises: Unreachable. Cancel: it is done all the same.
        """
        await self._hand.work(partial(self._append, entry))

    async def read(self, limit: int, model: str | None = None) -> tuple[Entry, ...]:
        """Return at most `limit` entries, of one model or of all, newest first.

        What is no entry is passed over. Raises: Unreachable. Cancel: safe.
        """
        return await self._reader.work(partial(self._read, limit, model))

    async def untold(self, documents: Iterable[Document]) -> tuple[Entry, ...]:
        """Return the entries that a death left out, oldest first: see `missing`.

        It looks back as far as it must, and no further than `_MOST_ENTRIES`: who has changed
        nothing for so long is told a second time. Raises: Unreachable. Cancel: safe.
        """
        return await self._reader.work(partial(self._untold, documents))

    def _append(self, entry: Entry) -> None:
        if self._is_torn:
            self._mend()
        is_new = not self._file.exists()
        self._is_torn = True
        descriptor = os.open(
            self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            write_whole(descriptor, line_of(entry))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self._file.parent)
        self._is_torn = False

    def _mend(self) -> None:
        """Give a last line its end, or take it away where it is no entry."""
        make_folder(self._file.parent)
        with suppress(FileNotFoundError), self._file.open("r+b", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            torn = next(lines_from_end(stream.seek, stream.read, size), b"")
            if torn and entry_of(torn) is not None:
                stream.seek(0, os.SEEK_END)
                write_whole(stream.fileno(), b"\n")
            elif torn:
                _log.warning("%s: a line that a death tore is taken away", self._file)
                stream.truncate(size - len(torn))
            os.fsync(stream.fileno())
        self._is_torn = False

    def _read(self, limit: int, model: str | None) -> tuple[Entry, ...]:
        wanted = (entry for entry in self._entries() if model in (None, entry.model))
        return tuple(islice(wanted, limit))

    def _untold(self, documents: Iterable[Document]) -> tuple[Entry, ...]:
        return missing(islice(self._entries(), _MOST_ENTRIES), documents)

    def _entries(self) -> Iterator[Entry]:
        """Yield all entries, the newest first."""
        with suppress(FileNotFoundError), self._file.open("rb", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            for line in lines_from_end(stream.seek, stream.read, size):
                if (entry := entry_of(line)) is not None:
                    yield entry


def lines_from_end(
    seek: Callable[[int], object], read: Callable[[int], bytes], size: int
) -> Iterator[bytes]:
    """Yield what stands between the line ends of a file, from its end on, a block at a time.

    The first is what follows the last line end: empty, where the last line is whole.
    """
    later: list[bytes] = []  # pieces of one line, from its end on
    while size:
        start = max(0, size - _BLOCK_BYTES)
        seek(start)
        *heads, tail = read(size - start).split(b"\n")
        size = start
        later.append(tail)
        for head in reversed(heads):
            yield b"".join(reversed(later))
            later = [head]
    yield b"".join(reversed(later))


def line_of(entry: Entry) -> bytes:
    """Return an entry as it stands in the file."""
    return orjson.dumps(shown(entry), option=orjson.OPT_APPEND_NEWLINE)


def shown(entry: Entry) -> dict[str, Any]:
    """Return the JSON of an entry."""
    return {
        "at": entry.at,
        "who": entry.who,
        "model": entry.model,
        "action": entry.action,
        "from": entry.before,
        "to": entry.after,
        "reason": entry.reason,
    }


def entry_of(line: bytes) -> Entry | None:
    """Return the entry that a line is; None where it is none."""
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    match raw:
        case {
            "at": str(at),
            "who": str(who),
            "model": str(model),
            "action": action,
            "from": int() | None as before,
            "to": int(after),
            "reason": str(reason),
        } if action in get_args(Action):
            return Entry(at, who, model, action, before, after, reason)
    return None


def missing(entries: Iterable[Entry], documents: Iterable[Document]) -> tuple[Entry, ...]:
    """Return the entries that a death between persisting and writing left out, oldest first.

    No more of `entries` is asked for than tells that each model's newest was written.
    They are of the documents that are newer than their model's last entry. A rollback that
    was left out is told as a put: its reason says what it was.
    """
    documents = tuple(documents)
    last: dict[str, int] = {}
    open_ones = {one.model: one.revision for one in sorted(documents, key=lambda o: o.revision)}
    source = iter(entries)
    while open_ones and (entry := next(source, None)) is not None:
        last[entry.model] = max(entry.after, last.get(entry.model, 0))
        if entry.after >= open_ones.get(entry.model, entry.after + 1):
            del open_ones[entry.model]
    untold = [one for one in documents if one.revision > last.get(one.model, 0)]
    untold.sort(key=lambda one: (one.changed_at, one.model, one.revision))
    return tuple(_of(document) for document in untold)


def _of(document: Document) -> Entry:
    is_first = document.revision == 1
    return Entry(
        document.changed_at,
        document.changed_by,
        document.model,
        "first_sight" if is_first else "put",
        None if is_first else document.revision - 1,
        document.revision,
        document.reason,
    )
