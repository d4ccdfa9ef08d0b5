"""Ledger: whose each telemetry row is, and what is already final.

Job    hand out rows; sum what live replicas have written and what dead ones left.
Life   as long as the supervisor; an epoch is one ledger's life.
Never  lets a sum go back, counts a cell twice, or mixes two keys in one row.

Theory of operation. A row number means the same key in every replica's memory. For each
row the ledger knows its writers: the memories in which that row may still change. What
is counted under a key is

    the sum of its rows over their writers' memories  +  what was settled before

A memory stops being a writer of a row once: when its replica said that the row will not
be written again, or is dead. At that moment, and nowhere else, the row's cells move from
the left term to the right one, so the sum is the same before and after. A row that was
given up is free again when it has no writer left; it is zero by then in every memory
that lives, and a memory attached later begins with zeros.

What is settled is bounded. The keys in use and the last `most_retired` others stand by
themselves. Older ones are summed by (model, version, arm), with no digest and revision 0:
whoever sums by these three sees nothing happen. Of those, once more, the last
`most_retired` stand by themselves, and the rest is one sum without a name. Such a sum grows
when keys fall into it, not when calls are answered: take no differences of it.

All of it runs on the supervisor's loop and reads no cell of a row that nobody owns, nor of
a slot that is not in use. An image is a copy of the cells, a microsecond a row; what they
mean is worked out later, where it holds nobody.
"""

import secrets
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gateway.observe.counts import ZERO, Counts, plus, read, read_refusals, settled
from gateway.observe.layout import (
    CONNECTIONS,
    EXECUTING,
    MOST_ROWS,
    MOVED,
    SIZE_CELLS,
    SIZES,
    SIZES_USED,
)
from gateway.observe.memory import Memory

DIRECT = "direct"  # the arm of what is asked for by version, or pinned
_MOST_RETIRED = 1000
_UNTOUCHED = bytes(8 * SIZES)

Names = Container[tuple[str, str]]  # of versions: model and version


class LedgerFull(Exception):
    """Every row has an owner."""


@dataclass(frozen=True, slots=True, order=True)
class RowKey:
    """What a row counts. Without a digest: a sum of what was retired long ago."""

    model: str
    version: str
    digest: str
    arm: str = DIRECT
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """What a ledger held at one instant, for any thread."""

    epoch: str
    refusals: Counts  # of what was refused before a version was known
    connections: int  # open
    moved: int  # times that a version left an event loop for a thread
    settled: Mapping[RowKey, Counts]  # every key that was asked for, those in use too
    cells: tuple[tuple[RowKey, bytes], ...]  # to be added

    def counts(self) -> Mapping[RowKey, Counts]:
        """Return what was counted under each key, those in use with zeros too."""
        totals = dict(self.settled)
        for key, cells in self.cells:
            totals[key] = _sum(totals[key], read(memoryview(cells).cast("q")))
        return totals


@dataclass(slots=True)
class _Row:
    key: RowKey
    writers: set[Memory]  # those in which it may still change
    is_shadow: bool
    is_retired: bool = False


class Ledger:
    """No count is ever smaller than it was before, as long as its key stands by itself."""

    def __init__(self, most_rows: int = MOST_ROWS, most_retired: int = _MOST_RETIRED) -> None:
        self.epoch = secrets.token_hex(16)
        self._most_rows = most_rows
        self._rows: dict[int, _Row] = {}
        self._free: list[int] = []  # given back; those from `_fresh` on were never used
        self._fresh = 1  # row 0 is the replica's own
        self._memories: set[Memory] = set()
        self._settled = _Settled(most_retired)
        self._refusals = ZERO
        self._moved = 0

    def assign(
        self,
        model: str,
        version: str,
        digest: str,
        arm: str = DIRECT,
        revision: int = 0,
        is_shadow: bool = False,
    ) -> int:
        """Return a row that nobody owns, zero in every memory.

        Each call gives another row, for the same key too: a version that is loaded again
        writes beside the one that leaves. Raises: LedgerFull.
        """
        if self._free:
            number = self._free.pop()
        elif self._fresh < self._most_rows:
            number, self._fresh = self._fresh, self._fresh + 1
        else:
            raise LedgerFull(f"all {self._most_rows - 1} telemetry rows are taken")
        key = RowKey(model, version, digest, arm, revision)
        self._rows[number] = _Row(key, set(self._memories), is_shadow)
        self._settled.keep(key)
        return number

    def retire(self, row: int) -> None:
        """Give up a row that no replica will be told of again. Raises: KeyError.

        It is free again when every memory attached by now has folded it or is detached.
        """
        self._rows[row].is_retired = True
        self._release(row)

    def attach(self, memory: Memory) -> None:
        """Count what is written to `memory` from now on."""
        self._memories.add(memory)
        for row in self._rows.values():
            if not row.is_retired:
                row.writers.add(memory)

    def detach(self, memory: Memory) -> None:
        """Settle all that a dead replica wrote; a second word about it means nothing."""
        if memory not in self._memories:
            return
        for number in tuple(self._rows):
            self._settle(memory, number)
        self._memories.discard(memory)
        self._refusals = plus(self._refusals, read_refusals(memory.row(0)))
        self._moved += memory.row(0)[MOVED]

    def fold(self, memory: Memory, rows: Iterable[int]) -> None:
        """Settle rows that a replica will not write again, or never knew, and zero them."""
        for number in rows:
            self._settle(memory, number)

    def executing(self, memory: Memory) -> tuple[str, ...]:
        """Return the digests that may have killed a replica: it was executing them when it died.

        A shadow may run while callers' versions do, and is the newcomer: where one ran, only
        shadows are accused, and none whose digest callers were asking too, for of those nobody
        can tell which it was.
        """
        found: dict[bool, dict[str, None]] = {True: {}, False: {}}
        for number, row in self._rows.items():
            if memory in row.writers and memory.row(number)[EXECUTING] > 0:
                found[row.is_shadow][row.key.digest] = None
        shadows, others = found[True], found[False]
        return tuple(one for one in shadows if one not in others) if shadows else tuple(others)

    def image(self, names: Names | None = None) -> Image:
        """Return all that is counted now; of the keys only those of `names`, where given."""
        settled: Mapping[RowKey, Counts] = self._settled.counts()
        if names is not None:
            settled = {key: one for key, one in settled.items() if _is_of(key, names)}
        own = [memory.row(0) for memory in self._memories]
        refusals = self._refusals
        for row in own:
            refusals = plus(refusals, read_refusals(row))
        return Image(
            epoch=self.epoch,
            refusals=refusals,
            connections=sum(row[CONNECTIONS] for row in own),
            moved=self._moved + sum(row[MOVED] for row in own),
            settled=settled,
            cells=tuple(self._cells(names)),
        )

    def counts(self) -> Mapping[RowKey, Counts]:
        """Return what was counted under each key, those in use with zeros too."""
        return self.image().counts()

    def refusals(self) -> Counts:
        """Return what was refused before a version was known."""
        return self.image().refusals

    def _cells(self, names: Names | None) -> Iterator[tuple[RowKey, bytes]]:
        for number, row in self._rows.items():
            if names is not None and not _is_of(row.key, names):
                continue
            for memory in row.writers:
                cells = memory.row(number)
                head = cells[:SIZES].tobytes()
                if head != _UNTOUCHED:
                    used = memoryview(head).cast("q")[SIZES_USED]
                    yield row.key, head + cells[SIZES : SIZES + used * SIZE_CELLS].tobytes()

    def _settle(self, memory: Memory, number: int) -> None:
        row = self._rows.get(number)
        if row is None or memory not in row.writers:
            return  # settled before
        row.writers.discard(memory)
        counts = read(memory.row(number))
        if counts != ZERO:
            self._settled.add(row.key, settled(counts))
            memory.clear(number)
        self._release(number)

    def _release(self, number: int) -> None:
        row = self._rows[number]
        if row.is_retired and not row.writers:
            del self._rows[number]
            self._free.append(number)
            if all(other.key != row.key for other in self._rows.values()):
                self._settled.retire(row.key)


@dataclass(slots=True)
class _Settled:
    """Sums that change no more by themselves; their number is bounded."""

    most: int
    exact: dict[RowKey, Counts] = field(default_factory=dict)  # in use, or in `retired`
    retired: dict[RowKey, None] = field(default_factory=dict)  # the longest ago first
    older: dict[RowKey, Counts] = field(default_factory=dict)  # the longest unchanged first
    oldest: Counts = ZERO

    def keep(self, key: RowKey) -> None:
        self.retired.pop(key, None)
        self.exact.setdefault(key, ZERO)

    def add(self, key: RowKey, counts: Counts) -> None:
        self.exact[key] = _sum(self.exact[key], counts)

    def retire(self, key: RowKey) -> None:
        """Let a key that is in use no more be forgotten, in its turn."""
        self.retired[key] = None
        if len(self.retired) > self.most:
            leaving = next(iter(self.retired))
            del self.retired[leaving]
            name = _nameless(leaving)
            self.older[name] = _sum(self.older.pop(name, ZERO), self.exact.pop(leaving))
            if len(self.older) > self.most:
                self._forget_name()

    def _forget_name(self) -> None:
        """Give up the name that changed longest ago, of those under which nothing stands."""
        standing = {_nameless(key) for key in self.exact}
        name = next((name for name in self.older if name not in standing), None)
        if name is not None:  # else there are no more of them than keys that stand
            self.oldest = _sum(self.oldest, self.older.pop(name))

    def counts(self) -> dict[RowKey, Counts]:
        totals = dict(self.exact)
        for name, counts in self.older.items():
            totals[name] = _sum(totals.get(name, ZERO), counts)
        if self.oldest != ZERO:
            totals[RowKey("", "", "", "")] = self.oldest
        return totals


def _is_of(key: RowKey, names: Names) -> bool:
    return (key.model, key.version) in names


def _nameless(key: RowKey) -> RowKey:
    return RowKey(key.model, key.version, "", key.arm)


def _sum(one: Counts, other: Counts) -> Counts:
    return other if one is ZERO else plus(one, other)
