"""Arms: from a table and the versions that are held to the plan that calls go by.

Job    give every version, and every variant of every routing document, the batcher and the
       record that are its own.
Life   one per catalog; a plan for each table.
Never  gives two revisions one batcher: what was accepted is answered by the arm and under
       the revision that it was given to.

Theory of operation. A variant's telemetry row is known by its number, and a number means
one variant of one revision over one loaded version. So as long as a table names a row, its
arm is the same object, and its codec, its batcher and its record go on; a row that is not
named any more belongs to an arm that has left, which is closed and then final.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.app.opened import Opened
from gateway.batch.batcher import Batcher
from gateway.control.messages import Entry, Table
from gateway.core.documents import Document, Shadow, Variant, usual
from gateway.core.fitting import can_answer_for
from gateway.core.routing import split_of
from gateway.core.versions import version_key
from gateway.flow import Absent, Plan, Route, Served
from gateway.observe.record import Record
from gateway.route.mirror import Mirror
from gateway.types import Arm, Version

OpenMirror = Callable[[Document, Shadow, Opened, Record], Mirror]
Held = Mapping[str, Opened | str]  # one model's versions: held, or the reason why not


@dataclass(frozen=True, slots=True, eq=False)
class Leaving:
    """What no plan has any more; `is_final` where its row is named no more either, else the row
    goes on: its version was unloaded, or loaded anew.
    """

    row: int
    is_final: bool
    opened: Opened | None
    batcher: Batcher | None
    mirror: Mirror | None


@dataclass(slots=True, eq=False)
class _Row:
    """What a telemetry row counts: a variant or a shadow of a revision; `opened` is None where
    its version is not held.
    """

    record: Record
    opened: Opened | None = None
    batcher: Batcher | None = None
    arm: Arm | None = None
    pinned: Arm | None = None
    mirror: Mirror | None = None

    def leave(self, number: int, is_final: bool = True) -> Leaving:
        return Leaving(number, is_final, self.opened, self.batcher, self.mirror)


@dataclass(slots=True)
class _Part:
    """One model's share of a plan."""

    entry: Entry
    held: Held
    served: Served
    route: Route | None = None
    batchers: dict[Arm, Batcher] = field(default_factory=dict)
    tallies: dict[Arm, Record] = field(default_factory=dict)
    mirrors: dict[Arm, Sequence[Mirror]] = field(default_factory=dict)


class Arms:
    """Mutable state: the last plan's parts by model, its rows, each version's own arm, and
    what has left since the last plan.
    """

    def __init__(
        self, record_of: Callable[[int], Record], lost: Record, open_mirror: OpenMirror
    ) -> None:
        """`record_of` gives the writer of a telemetry row, and is asked once a row; `lost`
        counts for what has none.
        """
        self._record_of = record_of
        self._open_mirror = open_mirror
        self._lost = lost
        self._parts: dict[str, _Part] = {}
        self._rows: dict[int, _Row] = {}
        self._direct: dict[Version, Arm] = {}
        self._left: list[Leaving] = []

    def plan(
        self, table: Table, held: Mapping[str, Held]
    ) -> tuple[Plan, Mapping[Arm, Record], tuple[Leaving, ...]]:
        """Return what answers by `table`, who counts for each arm, and the arms that left.

        Shapes: `held` has every version that the table serves, by model.
        """
        parts: dict[str, _Part] = {}
        for model, entry in table.models.items():
            part = self._parts.get(model)
            if part is None or part.entry != entry or part.held != held[model]:
                part = self._part(model, entry, held[model])
            parts[model] = part
        self._parts = parts
        named = {row for entry in table.models.values() for row in entry.rows.values()}
        for number in sorted(self._rows.keys() - named):
            self._left.append(self._rows.pop(number).leave(number))
        tallies = {arm: one for part in parts.values() for arm, one in part.tallies.items()}
        kept = {arm.version for arm in tallies}
        self._direct = {version: arm for version, arm in self._direct.items() if version in kept}
        left, self._left = tuple(self._left), []
        return _plan(parts), tallies, left

    def leave(self) -> tuple[Leaving, ...]:
        """Have no arm any more; return all that there were."""
        left = [*self._left, *(row.leave(number) for number, row in self._rows.items())]
        self._left, self._rows = [], {}
        return tuple(left)

    def _part(self, model: str, entry: Entry, held: Held) -> _Part:
        part = _Part(entry, held, Served(None, {}))
        versions: dict[str, Arm] = {}
        unready = dict(entry.unready)
        for version in sorted(held, key=version_key):
            opened = held[version]
            if isinstance(opened, str):
                unready[version] = opened
                continue
            arm = self._direct.setdefault(opened.version, Arm(opened.version))
            versions[version] = arm
            part.batchers[arm], part.tallies[arm] = opened.batcher, opened.record
        if entry.document is None:
            default = None if entry.default is None else versions.get(entry.default)
            part.served = Served(default, versions, unready)
        else:
            self._split(part, model, entry.document, Served(None, versions, unready))
        return part

    def _split(self, part: _Part, model: str, document: Document, served: Served) -> None:
        """Add a document's variants, and what decides between them."""
        rows = {one.name: self._row(part, one) for one in document.variants}
        pinned: dict[str, Arm | Absent] = {}
        for one in document.variants:
            pinned[one.name] = self._pinned(part, model, document, one, rows[one.name], served)
        fallback = pinned.get(document.fallback or "")
        arms: list[Arm | Absent] = []
        for one in document.variants:
            other = (
                fallback if isinstance(fallback, Arm) and one.name != document.fallback else None
            )
            found = pinned[one.name]
            if isinstance(found, Absent):
                arms.append(replace(found, fallback=other))
            else:
                arms.append(_armed(part, found, rows[one.name], other))
        split = split_of(document)
        only = None if split.only is None else arms[split.only]
        stands = only if isinstance(only, Arm) else _standing(document, arms)
        part.served = replace(served, default=stands, pinned=pinned)
        part.route = (
            None if isinstance(only, Arm) else Route(model, document.revision, split, tuple(arms))
        )
        self._shadow(part, document, stands)

    def _shadow(self, part: _Part, document: Document, heard: Arm | None) -> None:
        """Add a document's shadows, which hear of what one arm is asked by the split.

        Of more than one, nobody could say whose answers they were compared with.
        """
        mirrors = tuple(
            mirror
            for shadow in document.shadows
            if (mirror := self._mirror(part, document, shadow)) is not None
        )
        if mirrors and heard is not None:
            part.mirrors = {heard: mirrors}

    def _mirror(self, part: _Part, document: Document, shadow: Shadow) -> Mirror | None:
        """Return who asks a shadow; None where its version is not held, or nothing counts it."""
        held, number = part.held.get(shadow.version), part.entry.rows.get(shadow.name)
        if number is None:
            return None
        row = self._rows.get(number)
        if row is None:
            row = self._rows[number] = _Row(self._record_of(number))
        opened = held if isinstance(held, Opened) else None
        if row.opened is not opened:
            if row.opened is not None:
                self._left.append(row.leave(number, is_final=False))
            row.opened, row.mirror = opened, None
            if opened is not None:
                row.mirror = self._open_mirror(document, shadow, opened, row.record)
        return row.mirror

    def _row(self, part: _Part, variant: Variant) -> _Row:
        """Return what counts for a variant, with a batcher if its version is held."""
        held = part.held.get(variant.version)
        opened = held if isinstance(held, Opened) else None
        number = part.entry.rows.get(variant.name)
        if number is None:  # there was none to be had: it shares its version's own
            record = self._lost if opened is None else opened.record
            return _Row(record, opened, None if opened is None else opened.batcher)
        row = self._rows.get(number)
        if row is None:
            row = self._rows[number] = _Row(self._record_of(number))
        if row.opened is not opened:
            if row.opened is not None:
                self._left.append(row.leave(number, is_final=False))
            row.opened, row.arm, row.pinned = opened, None, None
            row.batcher = None if opened is None else opened.open_arm(row.record)
        return row

    def _pinned(
        self,
        part: _Part,
        model: str,
        document: Document,
        variant: Variant,
        row: _Row,
        served: Served,
    ) -> Arm | Absent:
        """Return who answers for a variant beside the split: its version's own batcher."""
        opened = row.opened
        if opened is None:
            why = served.unready.get(variant.version, f"version {variant.version} is not loaded")
            return Absent(model, variant.name, why, row.record, None)
        if row.pinned is None:
            row.pinned = Arm(opened.version, variant.name, document.revision)
        part.batchers[row.pinned], part.tallies[row.pinned] = opened.batcher, opened.record
        return row.pinned


def _armed(part: _Part, pinned: Arm, row: _Row, fallback: Arm | None) -> Arm:
    """Return who answers for a variant by the split."""
    assert row.batcher is not None
    if fallback is not None and not can_answer_for(
        fallback.version.signature, pinned.version.signature
    ):
        fallback = None  # the document was judged by files that have changed since
    if row.arm is None or row.arm.fallback is not fallback:
        row.arm = replace(pinned, fallback=fallback)
    part.batchers[row.arm], part.tallies[row.arm] = row.batcher, row.record
    return row.arm


def _standing(document: Document, arms: Sequence[Arm | Absent]) -> Arm | None:
    """Return who stands for the model: the usual variant, else the heaviest that is held.

    Who gets no calls, by weight or in another's stead, stands for nobody.
    """
    first = usual(document)
    ranked = sorted(
        zip(document.variants, arms, strict=True),
        key=lambda pair: (pair[0] is not first, -pair[0].weight_bp),
    )
    able = (one for one in ranked if one[0].weight_bp or one[0].name == document.fallback)
    return next((arm for _, arm in able if isinstance(arm, Arm)), None)


def _plan(parts: Mapping[str, _Part]) -> Plan:
    return Plan(
        {model: part.served for model, part in parts.items()},
        {arm: one for part in parts.values() for arm, one in part.batchers.items()},
        {model: part.route for model, part in parts.items() if part.route is not None},
        {arm: some for part in parts.values() for arm, some in part.mirrors.items()},
    )
