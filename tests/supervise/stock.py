"""Hand-written doubles of the inventory's three neighbours, and a repository to play with.

Job    a prover that hashes, a fleet that remembers, a ledger that counts: each keeps the
       promises of what it stands for, and asserts those that it relies on.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from gateway.config.model import parse_model
from gateway.control.messages import Assigned, Table
from gateway.core.costs import Cost, Placement
from gateway.core.documents import Document, Variant
from gateway.core.ranges import apportion
from gateway.repository.proof import Found, Proof
from gateway.supervise.changes import Sight, see_nothing
from gateway.supervise.inventory import Inventory, Policy
from gateway.supervise.ledger import DIRECT, LedgerFull
from gateway.supervise.prover import Unproven
from gateway.types import Signature
from tests.clock import play

T = TypeVar("T")


class FakeProver:
    """Proves whatever does not say `bad`; a digest is what the file says and is set to."""

    def __init__(self) -> None:
        self.proved: list[tuple[str, str]] = []
        self.gate: asyncio.Event | None = None

    async def prove(self, found: Found) -> Proof:
        self.proved.append((found.model, found.version))
        await (self.gate.wait() if self.gate else asyncio.sleep(0))
        text = found.onnx.read_text() if found.onnx.is_file() else "bad: no file"
        if text.startswith("bad"):
            raise Unproven(text)
        rows = found.settings.batching.max_batch_size
        signature = Signature((), (), rows)
        placement = Placement("heavy" not in text, max(rows, 1))
        return Proof(found, digest_of(text, rows), signature, Cost(1e-6, 1e-6), placement)


def digest_of(text: str, rows: int = 0) -> str:
    return sha256(f"{text} {rows}".encode()).hexdigest()[:8]


class FakeLedger:
    """A row is free when it was retired and every replica, here the fleet, has folded it."""

    def __init__(self, most: int = 1000) -> None:
        self.rows: dict[int, tuple[str, str, str]] = {}
        self.arms: dict[int, tuple[str, int]] = {}  # arm and revision, of rows ever given out
        self.most = most
        self._next = 0
        self._unfolded: set[int] = set()
        self._folded: set[int] = set()

    def assign(
        self,
        model: str,
        version: str,
        digest: str,
        arm: str = DIRECT,
        revision: int = 0,
        is_shadow: bool = False,
    ) -> int:
        assert not is_shadow or arm != DIRECT
        if len(self.rows) + len(self._unfolded) >= self.most:
            raise LedgerFull("all telemetry rows are taken")
        self._next += 1
        self.rows[self._next] = model, version, digest
        self.arms[self._next] = arm, revision
        return self._next

    def retire(self, row: int) -> None:
        del self.rows[row]  # a row is taken back once
        if row not in self._folded:
            self._unfolded.add(row)

    def fold(self, row: int) -> None:
        self._folded.add(row)
        self._unfolded.discard(row)

    def leaked(self) -> set[int]:
        """Return rows that nobody owns and nobody will ever give out again."""
        return self._unfolded


class FakeFleet:
    """Replicas that load what is not in `refuses`, and remember every table."""

    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger = ledger
        self.held: dict[int, Assigned] = {}  # what replicas hold, by row
        self._named: set[int] = set()  # rows that were in a table
        self._forgotten: set[int] = set()
        self.tables: list[Table] = [Table(0)]
        self.refuses: dict[str, str] = {}
        self.lacks: dict[str, str] = {}
        self.gate: asyncio.Event | None = None
        self.publish_gate: asyncio.Event | None = None

    async def prepare(self, versions: tuple[Assigned, ...]) -> Mapping[str, str]:
        for one in versions:
            assert self._ledger.rows[one.row][2] == one.proof.digest
            assert one.row not in self.held
            self.held[one.row] = one
        await (self.gate.wait() if self.gate else asyncio.sleep(0))
        digests = {one.proof.digest for one in versions}
        refused = {digest: why for digest, why in self.refuses.items() if digest in digests}
        self.forget([one.row for one in versions if one.proof.digest in refused])
        return refused

    def forget(self, rows: Sequence[int]) -> None:
        for row in rows:
            assert row not in self._forgotten, "its next owner's row could be hit"
            self._forgotten.add(row)
            assert row not in self._named
            self.held.pop(row, None)
            self._ledger.fold(row)

    def lacking(self) -> Mapping[str, str]:
        return self.lacks

    async def mend(self) -> Mapping[str, str]:
        await asyncio.sleep(0)
        self.lacks = {one: why for one, why in self.lacks.items() if one in self.refuses}
        return self.lacks

    async def publish(self, table: Table) -> None:
        assert table.revision >= self.tables[-1].revision
        for row in arm_rows(self.table) - arm_rows(table):
            self._ledger.fold(row)
        self.tables.append(table)
        for name, entry in table.models.items():
            for version, digest in entry.served.items():
                (row,) = self.rows_of(name, version, digest)  # prepared, and nothing like it
                self._named.add(row)
        self._see_off(table)
        await (self.publish_gate.wait() if self.publish_gate else asyncio.sleep(0))

    def rows_of(self, model: str, version: str, digest: str) -> list[int]:
        """Return the rows that replicas hold of a version and the ledger knows."""
        return [row for row in self.held if self._ledger.rows.get(row) == (model, version, digest)]

    def _see_off(self, table: Table) -> None:
        for row in self._named & self.held.keys():
            found, digest = self.held[row].proof.found, self.held[row].proof.digest
            entry = table.models.get(found.model)
            if entry is None or entry.served.get(found.version) != digest:
                del self.held[row]
                self._ledger.fold(row)

    @property
    def table(self) -> Table:
        return self.tables[-1]


def arm_rows(table: Table) -> set[int]:
    """Return the rows of variants and shadows."""
    return {row for entry in table.models.values() for row in entry.rows.values()}


def bare(table: Table) -> Table:
    """Return a table as the register makes it: without rows."""
    return replace(
        table, models={name: replace(one, rows={}) for name, one in table.models.items()}
    )


@dataclass
class Stock:
    """An inventory over a folder, with its neighbours."""

    root: Path
    policy: Policy = field(default_factory=Policy)
    most_rows: int = 1000
    sight: Sight = see_nothing

    def __post_init__(self) -> None:
        self.prover = FakeProver()
        self.ledger = FakeLedger(self.most_rows)
        self.fleet = FakeFleet(self.ledger)
        self.inventory = Inventory(
            self.root, parse_model, self.policy, self.prover, self.fleet, self.ledger, self.sight
        )
        self.inventory.off_loop = at_once

    def put(self, model: str, version: str, text: str, toml: str | None = None) -> None:
        folder = self.root / model / version
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "model.onnx"
        file.unlink(missing_ok=True)  # a new inode: a stamp cannot miss it
        file.write_text(text)
        if toml is not None:
            (folder / "model.toml").write_text(toml)

    def take(self, model: str, version: str) -> None:
        folder = self.root / model / version
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    def states(self) -> dict[str, str]:
        """Return the states by "model/version"."""
        return {f"{one.model}/{one.version}": one.state for one in self.inventory.views()}

    def reason(self, model: str, version: str) -> str:
        (found,) = (
            row["reason"]
            for row in self.inventory.index(ready=False)
            if (row["name"], row["version"]) == (model, version)
        )
        return found

    def served(self) -> dict[str, str]:
        """Return the digests that callers reach, by "model/version", as the fleet was told."""
        return {
            f"{name}/{version}": digest
            for name, entry in self.fleet.table.models.items()
            for version, digest in entry.served.items()
        }

    def default(self, model: str) -> str | None:
        return self.fleet.table.models[model].default

    def check(self) -> None:
        """Assert what is true whenever no order is under way."""
        table = self.inventory.table()
        views = self.inventory.views()
        assert bare(self.fleet.table) == table
        ready = {(v.model, v.version): v.digest for v in views if v.state == "READY"}
        assert ready == {
            (name, version): digest
            for name, entry in table.models.items()
            for version, digest in entry.served.items()
        }
        assert {(v.model, v.version) for v in views} == {
            (name, version)
            for name, entry in table.models.items()
            for version in (*entry.served, *entry.unready)
        }
        assigned = self.inventory.assigned()
        rows = {one.row: one.proof.digest for one in assigned}
        assert len(rows) == len(assigned) == len(ready)
        owned = {row: key[2] for row, key in self.ledger.rows.items()}
        arms = {row for row in owned if self.ledger.arms[row][0] != DIRECT}
        assert {row: digest for row, digest in owned.items() if row not in arms} == rows
        assert arms == arm_rows(self.fleet.table)
        assert self.fleet.held.keys() == rows.keys()
        assert not self.ledger.leaked()


def shared(model: str, revision: int, shares: Mapping[str, tuple[str, int]]) -> Document:
    """A document: version and weight by variant, in hundredths of a per cent."""
    variants = tuple(Variant(name, version, weight) for name, (version, weight) in shares.items())
    return Document(model, revision, variants, pieces=apportion((), variants))


async def at_once(blocking: Callable[..., T], *arguments: Any) -> T:
    """Stand in for a thread: one could not wake a loop whose clock jumps."""
    await asyncio.sleep(0)
    return blocking(*arguments)


def during(stock: Stock, scene: Callable[[], Coroutine[Any, Any, T]], *, start: bool = True) -> T:
    """Play a scene while the inventory is open, started unless told otherwise."""

    async def whole() -> T:
        async with stock.inventory:
            if start:
                await stock.inventory.start()
            return await scene()

    return play(whole)


async def settle() -> None:
    """Let everybody come to rest."""
    for _ in range(20):
        await asyncio.sleep(0)
