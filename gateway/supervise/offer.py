"""Offer: what every replica holds, and which table its callers are answered by.

Job    be all that a new replica must be told.
Life   changed by the fleet in single steps, before it tells anybody.
Never  holds two rows for one name in a table: the newest is meant.
"""

from collections.abc import Collection, Sequence

from gateway.control.messages import Assigned, Table

Name = tuple[str, str, str]  # model, version and digest: equal files may have several names


class Offer:
    """Mutable state: what the table names (`_named`), what is prepared for it (`_pending`)."""

    def __init__(self) -> None:
        self.table = Table(0)
        self._named: dict[Name, Assigned] = {}
        self._pending: dict[Name, Assigned] = {}

    def versions(self) -> tuple[Assigned, ...]:
        """Return all that a new replica must load."""
        return (*self._named.values(), *self._pending.values())

    def holds(self, version: Assigned) -> bool:
        """Say whether a new replica must load this one."""
        name = _name(version)
        return version in (self._named.get(name), self._pending.get(name))

    def add(self, versions: Sequence[Assigned]) -> None:
        """Have versions prepared, unseen by callers."""
        self._pending |= {_name(one): one for one in versions}

    def forget(self, rows: Collection[int]) -> None:
        """Drop what was prepared and will not be published."""
        self._pending = {name: one for name, one in self._pending.items() if one.row not in rows}

    def publish(self, table: Table) -> tuple[int, ...]:
        """Hold what the table names, and what is prepared for another one; return the rows left."""
        before = {one.row for one in self.versions()} | _arm_rows(self.table)
        self.table = table
        named = {
            (model, version, digest)
            for model, entry in table.models.items()
            for version, digest in entry.served.items()
        }
        known = self._named | self._pending
        self._named = {name: one for name, one in known.items() if name in named}
        self._pending = {name: one for name, one in self._pending.items() if name not in named}
        return tuple(sorted(before - {one.row for one in self.versions()} - _arm_rows(table)))


def _arm_rows(table: Table) -> set[int]:
    return {row for entry in table.models.values() for row in entry.rows.values()}


def _name(version: Assigned) -> Name:
    found = version.proof.found
    return found.model, found.version, version.proof.digest
