"""Changes: what is served, before and after.

Job    bring versions in, take versions out, publish; take out at once what is condemned.
Life   as long as the inventory, which makes one change at a time; `keep_up` is a task of
       its own.
Never  publishes a table that is older than one before; takes back a row that is still in it.

What is condemned does not wait for its turn: the register changes at once, and what it
concerns in the change under way fails. `keep_up` publishes after that. It and the change
under way may publish at the same time; both always publish the newest table there is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.control.messages import Table
from gateway.core.lifecycle import Quarantined, Unload, Unloaded
from gateway.supervise.armrows import ArmRows
from gateway.supervise.attempts import Attempt, Attempts, Fleet, Ledger, Prover
from gateway.supervise.register import Known, Register

_log = logging.getLogger(__name__)
Sight = Callable[[Register], Awaitable[None]]


async def see_nothing(_register: Register) -> None:
    """Adopt no document."""


class Changes:
    """Mutable state: the versions under way, rows that the next table leaves for good, and
    whether the fleet's table is older than the register's.
    """

    def __init__(
        self, register: Register, prover: Prover, fleet: Fleet, ledger: Ledger, sight: Sight
    ) -> None:
        """`sight` sees what is about to be published, and may adopt documents for it."""
        self._register = register
        self._prover, self._fleet, self._ledger = prover, fleet, ledger
        self._sight = sight
        self._arm_rows = ArmRows(ledger)
        self._attempts: Attempts | None = None
        self._leaving: list[int] = []
        self.published = Table(0)  # what every replica has
        self._is_behind = asyncio.Event()

    async def bring_in(
        self, attempts: Sequence[Attempt], is_whole: bool
    ) -> tuple[tuple[str, str], ...]:
        """Load versions, all of them or each by itself; return (version, reason) of failures.

        Callers know nothing of it before the next `publish`.
        """
        self._attempts = Attempts(attempts, is_whole)
        try:
            replaced = await self._attempts.make(
                self._register, self._prover, self._fleet, self._ledger
            )
            self._leaving += replaced  # after the wait: `publish` may have begun a new list
        finally:
            failed = self._attempts.reasons()
            self._attempts = None
        for one in attempts:
            if one.reason is not None:
                _log.warning(
                    "%s version %s is refused: %s", one.known.model, one.known.version, one.reason
                )
        return failed

    async def take_out(self, versions: Sequence[Known], event: Unloaded) -> None:
        """Have callers no longer reach `versions`, and publish; return when none of them does."""
        for known in versions:
            self._drop(known)
            self._register.step(known, Unload())
        await self.publish()
        for known in versions:
            self._register.step(known, event)

    async def publish(self, is_urgent: bool = False) -> None:
        """Have callers answered by the newest table; then take back the rows that left.

        The sight may wait for a store; what `is_urgent` does not.
        """
        if not is_urgent:
            await self._sight(self._register)
        table = self._register.table()
        if table.revision == self.published.revision:
            return
        given = self._arm_rows.given(table)  # and no wait before the fleet has it
        rows, self._leaving = [*self._leaving, *self._arm_rows.left()], []
        try:
            await self._fleet.publish(given)
            if table.revision > self.published.revision:
                self.published = given
        finally:
            for row in rows:
                self._ledger.retire(row)

    def condemn(self, digest: str, event: Quarantined) -> bool:
        """Take out whatever has `digest`, at once; say whether anything had.

        But not what runs in processes of its own: it killed those, if anybody.
        """
        found = self._attempts is not None and self._attempts.condemn(digest, event.reason)
        for known in self._register:
            proof = None if known.assigned is None else known.assigned.proof
            if proof is not None and proof.digest == digest and proof.executor != "process":
                found = True
                self._drop(known)
                self._register.step(known, event)
                _log.error("%s version %s is out: %s", known.model, known.version, event.reason)
                self._is_behind.set()
        return found

    async def keep_up(self) -> None:
        """Publish whenever something was condemned, for ever."""
        while True:
            await self._is_behind.wait()
            self._is_behind.clear()
            await self.publish(is_urgent=True)

    def _drop(self, known: Known) -> None:
        if known.assigned is not None:
            self._leaving.append(known.assigned.row)
            known.assigned = None
