"""Catalog: the versions that this replica holds, and which of them callers may ask for.

Job    prepare versions unseen, publish a table of them in one step, see off what left it.
Life   `async with`; leaving closes every version, within the drain.
Never  leaves a call unanswered: a version that left the table answers what it accepted.

Theory of operation. A version is known by its telemetry row, because its digest may be
held twice: once leaving, once loaded anew. A table names digests; of two rows with one
digest the one prepared last is meant. A row that cannot be loaded is held as well, with
its reason: a table that names it (a supervisor says what should be, not what is) has its
callers told why.

A row leaves when a table no longer names it, or names a newer one with its digest, or it
is forgotten before it was ever named. It is given up at once and closed in a task of its
own; when that has ended nothing writes to the row any more, and `on_retired` hears it.
The rows of a routing document's arms (arms.py) leave in the same way.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from gateway.app.arms import Arms, Held, Leaving
from gateway.app.opened import Opened
from gateway.control.messages import (
    Assigned,
    Entry,
    Table,
)
from gateway.control.reports import BreakerTold
from gateway.flow import Flow
from gateway.repository.proof import Found
from gateway.types import Version
from gateway.wire.intake import Intake
from gateway.wire.port import Drain

_log = logging.getLogger(__name__)

Open = Callable[[Assigned], Awaitable[Opened]]  # raises what is wrong with the version
Key = tuple[str, str, str]  # model, version, digest


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """`opened` is None where the version cannot be served; `reason` says why."""

    assigned: Assigned
    opened: Opened | None
    reason: str = ""

    @property
    def key(self) -> Key:
        proof = self.assigned.proof
        return proof.found.model, proof.found.version, proof.digest


class Catalog:
    """What is held, by telemetry row.

    Mutable state: `_held`, the rows that the table names (`_named`) and where their
    versions came from (`_found`), the tasks that close what left (`_leaving`), how many of
    these write to an arm's row (`_ending`), and which of the rows go with them (`_final`).
    """

    def __init__(
        self,
        rooms: tuple[Flow, Intake],
        open_one: Open,
        arms: Arms,
        drain: Drain,
        on_retired: Callable[[tuple[int, ...]], None],
    ) -> None:
        """`on_retired` hears of rows that are not written any more; it must not raise."""
        self._flow, self._intake = rooms
        self._open = open_one
        self._arms = arms
        self._drain = drain
        self._on_retired = on_retired
        self._held: dict[int, _Held] = {}
        self._named: frozenset[int] = frozenset()
        self._found: dict[Version, Found] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._ending: Counter[int] = Counter()
        self._final: set[int] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close everything at once, within what is left of the drain."""
        self._drain.begin()
        self._see_off_arms(self._arms.leave())
        self._see_off(self._held.values())
        self._held = {}
        async with self._drain.limit():
            await asyncio.gather(*self._leaving, return_exceptions=True)

    def served(self) -> tuple[Assigned, ...]:
        """Return what callers are answered by now."""
        held = (self._held[row] for row in sorted(self._named))
        return tuple(one.assigned for one in held if one.opened is not None)

    def found(self, version: Version) -> Found:
        """Return where a version came from. Raises: KeyError where no caller can ask for it."""
        return self._found[version]

    def breakers(self) -> tuple[BreakerTold, ...]:
        """Return how the executors are of what callers are answered by."""
        held = (self._held[row].opened for row in sorted(self._named))
        return tuple(told for one in held if one is not None for told in one.breakers())

    async def prepare(self, versions: Iterable[Assigned]) -> dict[str, str]:
        """Hold each version, unseen by callers; return reasons by digest of what cannot be.

        Cancel: safe; what was not opened yet is not held.
        """
        refused: dict[str, str] = {}
        for assigned in versions:
            reason = await self._hold(assigned)
            if reason:
                refused[assigned.proof.digest] = reason
        return refused

    def publish(self, table: Table) -> None:
        """Have callers answered by `table` from now on, in one step; see off what left it."""
        newest = {held.key: held for held in self._held.values()}
        newest |= {held.key: held for held in self._held.values() if held.opened}
        meant = {
            (model, version, digest): newest.get((model, version, digest))
            for model, entry in table.models.items()
            for version, digest in entry.served.items()
        }
        opened = [(held, held.opened) for held in meant.values() if held and held.opened]
        by_model = {name: _by_version(name, entry, meant) for name, entry in table.models.items()}
        plan, tallies, arms_left = self._arms.plan(table, by_model)
        self._flow.replace(plan)
        self._intake.keep(tallies)
        self._found = {one.version: held.assigned.proof.found for held, one in opened}
        named = frozenset(held.assigned.row for held in meant.values() if held)
        left = {
            row
            for row, held in self._held.items()
            if row not in named and (row in self._named or held.key in meant)
        }
        self._named = named
        self._see_off_arms(arms_left)
        self._see_off([self._held.pop(row) for row in sorted(left)])

    def forget(self, rows: Iterable[int]) -> None:
        """Drop what was prepared and is in no table; not while it is being prepared."""
        unheld = []
        for row in rows:
            if row in self._named:
                continue  # a table that came later wants it after all
            held = self._held.pop(row, None)
            if held is None:
                unheld.append(row)
            else:
                self._see_off([held])
        if unheld:
            self._on_retired(tuple(unheld))

    async def _hold(self, assigned: Assigned) -> str:
        """Open a version in its turn; return why it cannot be served, or nothing."""
        row = assigned.row
        held = self._held.get(row)
        if held is not None and held.opened is not None:
            return ""
        opened, reason = None, ""
        try:
            opened = await self._open(assigned)
        except Exception as error:  # noqa: BLE001 - no version may end the replica
            reason = _reason(error)
            found = assigned.proof.found
            _log.warning("%s version %s cannot be loaded: %s", found.model, found.version, reason)
        self._held.pop(row, None)
        self._held[row] = _Held(assigned, opened, reason)
        return reason

    def _see_off(self, left: Iterable[_Held]) -> None:
        for held in left:
            self._begin(self._close(held))

    def _see_off_arms(self, left: Iterable[Leaving]) -> None:
        for one in left:
            self._ending[one.row] += 1
            if one.is_final:
                self._final.add(one.row)
            self._begin(self._close_arm(one))

    def _begin(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(closing)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _close_arm(self, left: Leaving) -> None:
        """Close one arm, and say so if its row is final now, whatever becomes of it."""
        try:
            if left.mirror is not None:
                await left.mirror.close()
            if left.opened is not None and left.batcher is not None:
                await left.opened.close_arm(left.batcher, self._drain.left_s())
        except Exception:  # noqa: BLE001 - its end must not be everybody's
            _log.exception("an arm did not close in order")
        finally:
            self._ending[left.row] -= 1
            if not self._ending[left.row]:
                del self._ending[left.row]
                if left.row in self._final:
                    self._final.remove(left.row)
                    self._on_retired((left.row,))

    async def _close(self, held: _Held) -> None:
        """Close one version and say so, whatever becomes of it."""
        try:
            if held.opened is not None:
                await held.opened.close(self._drain.left_s())
        except Exception:  # noqa: BLE001 - its end must not be everybody's
            _log.exception("row %d did not close in order", held.assigned.row)
        finally:
            self._on_retired((held.assigned.row,))


def _by_version(model: str, entry: Entry, meant: Mapping[Key, _Held | None]) -> Held:
    """Return each version that a table serves, or why it is not held."""
    found: dict[str, Opened | str] = {}
    for version, digest in entry.served.items():
        held = meant[model, version, digest]
        if held is None:
            found[version] = "it is not loaded in this replica yet"
        else:
            found[version] = held.opened or held.reason
    return found


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
