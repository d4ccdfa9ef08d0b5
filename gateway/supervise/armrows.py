"""Armrows: the telemetry rows of variants and shadows.

Job    give each of them a row of its own for each revision and each digest, and name the
       rows that no table names any more.
Life   as long as the changes, which publish what it returns.
Never  gives a row to a table that is not published: who is told of a row by a table gives
       it back by the next one.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.control.messages import Entry, Table
from gateway.supervise.ledger import LedgerFull

_log = logging.getLogger(__name__)


class Ledger(Protocol):
    """Who owns the telemetry rows."""

    def assign(
        self, model: str, version: str, digest: str, arm: str, revision: int, is_shadow: bool
    ) -> int:
        """Return a row that is nobody's. Raises: LedgerFull."""


@dataclass(frozen=True, slots=True)
class _Key:
    """What a row counts; an absent version has no digest."""

    revision: int
    version: str
    digest: str
    is_shadow: bool


@dataclass(slots=True)
class _Model:
    bare: Entry  # as it came
    entry: Entry  # with its rows
    keys: Mapping[str, _Key]


class ArmRows:
    """Mutable state: the entries given out, by model, the rows that they left, and the models
    that lack some (`_short`).
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._models: dict[str, _Model] = {}
        self._left: list[int] = []
        self._short: set[str] = set()

    def given(self, table: Table) -> Table:
        """Return a table with the rows of its documents' variants and shadows.

        An entry that is the same object as before goes on as it was, unless it lacks rows: it
        is given some as soon as there are any.
        """
        models: dict[str, _Model] = {}
        for name, entry in table.models.items():
            known = self._models.get(name)
            is_same = known is not None and known.bare is entry and name not in self._short
            models[name] = known if is_same and known else self._model(name, entry, known)
        for name in self._models.keys() - models.keys():
            self._short.discard(name)
            self._left += self._models[name].entry.rows.values()
        self._models = models
        return replace(table, models={name: one.entry for name, one in models.items()})

    def left(self) -> list[int]:
        """Return the rows left since this was asked last; they are the caller's to retire."""
        left, self._left = self._left, []
        return left

    def _model(self, name: str, entry: Entry, known: _Model | None) -> _Model:
        keys = _keys(entry)
        before = known.entry.rows if known else {}
        kept = {
            arm: row for arm, row in before.items() if known and known.keys[arm] == keys.get(arm)
        }
        self._left += [row for arm, row in before.items() if arm not in kept]
        rows: dict[str, int] = {}
        for arm, key in keys.items():
            try:
                rows[arm] = kept[arm] if arm in kept else self._assign(name, arm, key)
            except LedgerFull:  # it is counted with its version
                continue
        self._note(name, len(keys) - len(rows))
        return _Model(entry, replace(entry, rows=rows), keys)

    def _note(self, model: str, lacking: int) -> None:
        if not lacking:
            self._short.discard(model)
        elif model not in self._short:
            self._short.add(model)
            _log.warning(
                "%r: telemetry rows are short by %d: these variants are counted with their "
                "versions, and these shadows are not asked",
                model,
                lacking,
            )

    def _assign(self, model: str, arm: str, key: _Key) -> int:
        one = key
        return self._ledger.assign(model, one.version, one.digest, arm, one.revision, one.is_shadow)


def _keys(entry: Entry) -> dict[str, _Key]:
    document = entry.document
    if document is None:
        return {}
    named = [(one.name, one.version, False) for one in document.variants]
    named += [(one.name, one.version, True) for one in document.shadows]
    return {
        name: _Key(document.revision, version, entry.served.get(version, ""), is_shadow)
        for name, version, is_shadow in named
    }
