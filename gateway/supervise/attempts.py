"""Attempts: loading versions, from their files to every replica, or not at all.

Job    prove each, give it a telemetry row, have the fleet prepare it; undo what fails.
Life   one `Attempts` a change; it ends settled, however it ends.
Never  lets a caller reach a version before every replica has it, or harms what is served.

A version is known by its digest. What is proved to be what is served already goes on as
it is: there is nothing to replace, and no two rows ever belong to the same files of one
version, so that a table, which names digests, is never ambiguous.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.control.messages import Assigned, Table
from gateway.core.lifecycle import Load, Loaded, Refused
from gateway.repository.proof import Found, Proof
from gateway.supervise.ledger import LedgerFull
from gateway.supervise.prover import Unproven
from gateway.supervise.register import Known, Register


class Prover(Protocol):
    """Who opens a version where that can do no harm."""

    async def prove(self, found: Found) -> Proof:
        """Return what a version is. Raises: Unproven."""


class Fleet(Protocol):
    """Who serves."""

    async def prepare(self, versions: tuple[Assigned, ...]) -> Mapping[str, str]:
        """Have every replica load versions; return reasons by digest of what it dropped again."""

    async def publish(self, table: Table) -> None:
        """Have callers answered by `table`; return when they are."""

    def forget(self, rows: Sequence[int]) -> None:
        """Have every replica drop rows that will be in no table, and say that it did."""

    def lacking(self) -> Mapping[str, str]:
        """Return what some replica cannot load though it is served: reasons by digest."""

    async def mend(self) -> Mapping[str, str]:
        """Have it loaded where it is lacking; return what is still lacking."""


class Ledger(Protocol):
    """Who owns the telemetry rows."""

    def assign(
        self,
        model: str,
        version: str,
        digest: str,
        arm: str = ...,
        revision: int = ...,
        is_shadow: bool = ...,
    ) -> int:
        """Return a row that is nobody's. Raises: LedgerFull."""

    def retire(self, row: int) -> None:
        """Take a row back."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One version on its way; `reason` is why it does not arrive.

    `is_same` says that it is what callers are answered by already.
    """

    known: Known
    found: Found
    private: Path | None = None
    proof: Proof | None = None
    assigned: Assigned | None = None
    is_same: bool = False
    is_forgotten: bool = False
    reason: str | None = None

    def take_place(self) -> tuple[int, ...]:
        """Be what callers are answered by from the next table on; return the row replaced."""
        if self.is_same:
            return ()
        before = self.known.assigned
        self.known.assigned, self.known.proof = self.assigned, self.proof
        self.known.private = self.private
        return () if before is None else (before.row,)


class Attempts:
    """Versions that are loaded together.

    With `is_whole` all of them arrive, or none does; without, each by itself. Mutable
    state: the attempts; `condemn` may fail one at any moment until they are settled.
    """

    def __init__(self, attempts: Sequence[Attempt], is_whole: bool) -> None:
        self._all = tuple(attempts)
        self._is_whole = is_whole

    def condemn(self, digest: str, reason: str) -> bool:
        """Fail whatever has `digest`; say whether there was any."""
        found = [
            one
            for one in self._all
            if one.proof and one.proof.digest == digest and one.reason is None
        ]
        for one in found:
            one.reason = reason
        return bool(found)

    async def make(
        self, register: Register, prover: Prover, fleet: Fleet, ledger: Ledger
    ) -> tuple[int, ...]:
        """Load them; return the rows of what they replaced. See `reasons` for what failed.

        Cancel: what was not loaded by then is refused.
        """
        for one in self._all:
            register.step(one.known, Load())
        is_through = False
        try:
            await self._prove(prover, ledger)
            await self._mend(fleet)
            await self._prepare(fleet)
            is_through = True
        finally:
            if not is_through:
                self._fail("the gateway gave it up")
            replaced = self._settle(register, fleet, ledger)
        return replaced

    def reasons(self) -> tuple[tuple[str, str], ...]:
        """Return (version, reason) of what was refused for a reason of its own."""
        return tuple((one.known.version, one.reason) for one in self._all if one.reason is not None)

    async def _prove(self, prover: Prover, ledger: Ledger) -> None:
        for one in self._all:
            try:
                one.proof = proof = await prover.prove(one.found)
                served = one.known.assigned
                one.is_same = served is not None and served.proof.digest == proof.digest
                if not one.is_same:
                    row = ledger.assign(one.found.model, one.found.version, proof.digest)
                    one.assigned = Assigned(proof, row)
            except (Unproven, LedgerFull) as error:
                one.reason = str(error)
                if self._is_whole:
                    return  # the others would be dropped anyway

    async def _mend(self, fleet: Fleet) -> None:
        """Have what is served already served by every replica: one may have lost its files."""
        same = {one.proof.digest: one for one in self._all if one.is_same and one.proof}
        if same.keys() & fleet.lacking().keys():
            lacking = await fleet.mend()
            for digest in same.keys() & lacking.keys():
                same[digest].reason = lacking[digest]

    async def _prepare(self, fleet: Fleet) -> None:
        if self._is_whole and self.reasons():
            return
        going = [one for one in self._all if one.assigned is not None and one.reason is None]
        assigned = tuple(one.assigned for one in going if one.assigned is not None)
        if not assigned:
            return
        refused = await fleet.prepare(assigned)
        for one in going:
            assert one.proof is not None
            if one.proof.digest in refused:
                one.is_forgotten = True  # the fleet has done it: twice could hit the next owner
                one.reason = refused[one.proof.digest]

    def _fail(self, reason: str) -> None:
        for one in self._all:
            one.reason = one.reason or reason

    def _settle(self, register: Register, fleet: Fleet, ledger: Ledger) -> tuple[int, ...]:
        """Let those that arrived take the place of what they replace; undo the others."""
        replaced: list[int] = []
        failed = self.reasons()
        for one in self._all:
            if one.reason is None and not (failed and self._is_whole):
                replaced += one.take_place()
                register.step(one.known, Loaded())
            else:
                reason = one.reason or f"given up because version {failed[0][0]} was refused"
                register.step(one.known, Refused(reason))
        dropped = [one for one in self._all if one.assigned not in (None, one.known.assigned)]
        # Those too that nobody prepared: a row is free when every replica has said that it is.
        fleet.forget([one.assigned.row for one in dropped if one.assigned and not one.is_forgotten])
        for one in dropped:
            if one.assigned is not None:
                ledger.retire(one.assigned.row)
        return tuple(replaced)
