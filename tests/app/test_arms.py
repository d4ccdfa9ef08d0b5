"""Arms: who answers by a table, what counts for whom, and what has left."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from gateway.app.arms import Arms, Leaving
from gateway.app.opened import Opened
from gateway.batch.batcher import Batcher
from gateway.control.messages import Entry, Table
from gateway.core.batching import Policy
from gateway.core.documents import Document, Matches, Rule, Shadow, Variant
from gateway.flow import Absent, Plan, Route
from gateway.observe.record import Record
from gateway.route.asking import Disagreement
from gateway.route.mirror import Mirror
from gateway.route.mirror import Policy as Calm
from gateway.types import Arm, Version
from tests.app.stage import a_record
from tests.clock import play
from tests.fakes import TWICE, FakeModel

STABLE, CANARY = Variant("stable", "1", 9000), Variant("canary", "2", 1000)
SPLIT = Document("m", 7, (STABLE, CANARY), fallback="stable")
ROWS = {"stable": 11, "canary": 12}


def opened(version: str, model: str = "m") -> Opened:
    """A version that doubles its rows, on the running loop."""
    fake, clock = FakeModel(), asyncio.get_running_loop().time
    return Opened(
        Version(model, version, TWICE.signature),
        lambda record: Batcher(fake.run, Policy(), record, clock),
        a_record(),
        AsyncExitStack(),
        fake.execute,
    )


def unheard(_worst: Disagreement) -> None:
    """Hear of a disagreement, and forget it."""


def entry(
    document: Document | None = SPLIT,
    rows: Mapping[str, int] = ROWS,
    default: str | None = None,
    unready: Mapping[str, str] | None = None,
) -> Entry:
    return Entry(default, {}, unready or {}, document, rows)


class Planner:
    """Two versions of one model, both held; the last plan; and who was asked for which row."""

    def __init__(self) -> None:
        self.one, self.two = opened("1"), opened("2")
        self.held: dict[str, Opened | str] = {"1": self.one, "2": self.two}
        self.lost = a_record()
        self.records: dict[int, Record] = {}
        self.arms = Arms(self.record_of, self.lost, self.open_mirror)
        self.mirrors: list[tuple[str, Opened, Record]] = []  # as opened
        self.current = Plan()
        self.tallies: Mapping[Arm, Record] = {}
        self.left: tuple[Leaving, ...] = ()

    def record_of(self, row: int) -> Record:
        assert row not in self.records, "a row was asked for twice"
        self.records[row] = a_record()
        return self.records[row]

    def open_mirror(
        self,
        _document: Document,
        shadow: Shadow,
        opened: Opened,
        record: Record,
    ) -> Mirror:
        self.mirrors.append((shadow.name, opened, record))
        return Mirror(shadow, opened.version, opened.execute, record, unheard, Calm(), bool)

    def plan(self, said: Entry, **others: Entry) -> Plan:
        """Plan for `m`, and for other models of which nothing is held."""
        models = {"m": said, **others}
        held: dict[str, Mapping[str, Opened | str]] = {name: {} for name in others}
        self.current, self.tallies, self.left = self.arms.plan(
            Table(1, models), held | {"m": dict(self.held)}
        )
        return self.current

    @property
    def route(self) -> Route:
        return self.current.routes["m"]

    @property
    def pair(self) -> tuple[Arm, Arm]:
        """The arms of the split: stable, canary."""
        stable, canary = self.route.arms
        assert isinstance(stable, Arm)
        assert isinstance(canary, Arm)
        return stable, canary

    def gone(self) -> list[tuple[int, bool, Opened | None, Batcher | None]]:
        """What left with the last plan."""
        return [(one.row, one.is_final, one.opened, one.batcher) for one in self.left]

    def pinned(self, variant: str) -> Arm:
        arm = self.current.models["m"].pinned[variant]
        assert isinstance(arm, Arm)
        return arm


def planned(scene: Callable[[Planner], None]) -> None:
    """Play a scene; batchers need a running loop, and nothing else here does."""

    async def stage() -> None:
        scene(Planner())

    played: Callable[[], Coroutine[object, object, None]] = stage
    play(played)


# versions


def test_without_a_document_each_version_answers_under_its_own_name() -> None:
    def scene(planner: Planner) -> None:
        plan = planner.plan(entry(None, {}, default="1"))
        served = plan.models["m"]
        assert served.default is served.versions["1"]
        assert [arm.version for arm in served.versions.values()] == [
            planner.one.version,
            planner.two.version,
        ]
        assert {arm.variant for arm in served.versions.values()} == {None}
        assert [plan.batchers[arm] for arm in served.versions.values()] == [
            planner.one.batcher,
            planner.two.batcher,
        ]
        assert planner.tallies[served.versions["2"]] is planner.two.record
        assert (plan.routes, served.pinned, planner.left) == ({}, {}, ())

    planned(scene)


def test_a_version_keeps_its_own_arm_whatever_else_a_table_says() -> None:
    def scene(planner: Planner) -> None:
        before = dict(planner.plan(entry(None, {}, default="1")).models["m"].versions)
        again = planner.plan(entry()).models["m"].versions
        assert all(again[version] is arm for version, arm in before.items())

    planned(scene)


def test_who_asks_for_a_version_is_given_its_own_arm_and_no_variant() -> None:
    def scene(planner: Planner) -> None:
        direct = planner.plan(entry()).models["m"].versions["2"]
        assert (direct.variant, direct.revision, direct.fallback) == (None, 0, None)
        assert planner.current.batchers[direct] is planner.two.batcher

    planned(scene)


def test_what_is_not_held_is_not_ready_and_says_why() -> None:
    def scene(planner: Planner) -> None:
        planner.held["2"] = "a bad checksum"
        served = planner.plan(entry(None, {}, "2", {"3": "quarantined"})).models["m"]
        assert served.default is None
        assert list(served.versions) == ["1"]
        assert served.unready == {"2": "a bad checksum", "3": "quarantined"}

    planned(scene)


# variants


def test_each_variant_has_a_batcher_and_a_record_of_its_own() -> None:
    def scene(planner: Planner) -> None:
        plan = planner.plan(entry())
        stable, canary = planner.pair
        assert [(arm.variant, arm.revision) for arm in (stable, canary)] == [
            ("stable", 7),
            ("canary", 7),
        ]
        batchers = {plan.batchers[arm] for arm in (stable, canary)}
        assert len(batchers) == 2
        assert batchers.isdisjoint({planner.one.batcher, planner.two.batcher})
        assert planner.tallies[stable] is planner.records[11]
        assert planner.tallies[canary] is planner.records[12]

    planned(scene)


def test_two_variants_of_one_version_share_nothing_but_the_version() -> None:
    def scene(planner: Planner) -> None:
        twins = replace(SPLIT, variants=(STABLE, replace(CANARY, version="1")))
        plan = planner.plan(entry(twins))
        stable, canary = planner.pair
        assert stable.version is canary.version
        assert plan.batchers[stable] is not plan.batchers[canary]

    planned(scene)


def test_a_pinned_variant_is_answered_beside_the_split() -> None:
    """What an operator asks for is no evidence: it counts for the version alone."""

    def scene(planner: Planner) -> None:
        plan = planner.plan(entry())
        arm = planner.pinned("canary")
        assert (arm.version, arm.variant, arm.revision) == (planner.two.version, "canary", 7)
        assert arm.fallback is None
        assert plan.batchers[arm] is planner.two.batcher
        assert planner.tallies[arm] is planner.two.record

    planned(scene)


def test_a_canary_falls_back_to_the_pinned_stable_and_stable_to_nobody() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        stable, canary = planner.pair
        assert canary.fallback is planner.pinned("stable")
        assert stable.fallback is None

    planned(scene)


def test_without_a_fallback_nobody_has_one() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry(replace(SPLIT, fallback=None)))
        assert [arm.fallback for arm in planner.pair] == [None, None]

    planned(scene)


def test_who_gets_everything_needs_no_decision() -> None:
    def scene(planner: Planner) -> None:
        everything = (replace(STABLE, weight_bp=0), replace(CANARY, weight_bp=10_000))
        plan = planner.plan(entry(replace(SPLIT, variants=everything)))
        default = plan.models["m"].default
        assert plan.routes == {}
        assert default is not None
        assert (default.variant, default.version) == ("canary", planner.two.version)
        assert default.fallback is planner.pinned("stable")
        assert planner.tallies[default] is planner.records[12]

    planned(scene)


def test_a_variant_without_weight_stays_warm() -> None:
    def scene(planner: Planner) -> None:
        weights = (replace(STABLE, weight_bp=10_000), replace(CANARY, weight_bp=0))
        plan = planner.plan(entry(replace(SPLIT, variants=weights)))
        found = [arm for arm in plan.batchers if arm.variant == "canary"]
        assert planner.records[12] in [planner.tallies[arm] for arm in found]

    planned(scene)


def test_a_rule_needs_a_decision_though_one_variant_has_all_the_weight() -> None:
    def scene(planner: Planner) -> None:
        weights = (replace(STABLE, weight_bp=10_000), replace(CANARY, weight_bp=0))
        rule = Rule("canary", (Matches("header", "x-team", "fraud"),), needs_all=True)
        planner.plan(entry(replace(SPLIT, variants=weights, rules=(rule,))))
        assert [arm.variant for arm in planner.pair] == ["stable", "canary"]

    planned(scene)


@pytest.mark.parametrize(("fallback", "expected"), [("canary", "canary"), (None, "stable")])
def test_the_fallback_or_else_the_heaviest_stands_for_the_model(
    fallback: str | None, expected: str
) -> None:
    def scene(planner: Planner) -> None:
        default = planner.plan(entry(replace(SPLIT, fallback=fallback))).models["m"].default
        assert default is not None
        assert default.variant == expected

    planned(scene)


# what cannot be asked


def test_a_variant_that_is_not_held_is_absent_and_another_answers_for_it() -> None:
    def scene(planner: Planner) -> None:
        planner.held["2"] = "a bad checksum"
        planner.plan(entry())
        _, canary = planner.route.arms
        assert isinstance(canary, Absent)
        assert (canary.model, canary.variant, canary.reason) == ("m", "canary", "a bad checksum")
        assert canary.fallback is planner.pinned("stable")
        assert canary.tally is planner.records[12]

    planned(scene)


def test_who_pins_an_absent_variant_is_answered_by_nobody_else() -> None:
    def scene(planner: Planner) -> None:
        planner.held["2"] = "a bad checksum"
        pinned = planner.plan(entry()).models["m"].pinned["canary"]
        assert isinstance(pinned, Absent)
        assert (pinned.reason, pinned.fallback) == ("a bad checksum", None)

    planned(scene)


@pytest.mark.parametrize(
    ("unready", "reason"),
    [({"2": "it killed a replica"}, "it killed a replica"), ({}, "version 2 is not loaded")],
)
def test_why_a_variant_is_absent_is_what_the_table_says_of_its_version(
    unready: Mapping[str, str], reason: str
) -> None:
    def scene(planner: Planner) -> None:
        del planner.held["2"]
        planner.plan(entry(unready=unready))
        _, canary = planner.route.arms
        assert isinstance(canary, Absent)
        assert canary.reason == reason

    planned(scene)


def test_where_the_fallback_is_absent_nobody_answers_in_its_stead() -> None:
    def scene(planner: Planner) -> None:
        planner.held["1"] = "a bad checksum"
        planner.plan(entry())
        stable, canary = planner.route.arms
        assert isinstance(stable, Absent)
        assert isinstance(canary, Arm)
        assert (stable.fallback, canary.fallback) == (None, None)

    planned(scene)


THREE = (Variant("stable", "1", 0), Variant("canary", "2", 3000), Variant("next", "3", 7000))


@pytest.mark.parametrize(
    ("weights", "fallback", "held", "expected"),
    [
        ((9000, 600, 400), "stable", "123", "stable"),
        ((0, 3000, 7000), "stable", "123", "next"),
        ((0, 3000, 7000), "stable", "23", "next"),  # the fallback is not missed
        ((0, 3000, 7000), "stable", "12", "canary"),  # next's calls go to stable, canary's stay
        ((9000, 600, 400), "stable", "23", "canary"),
        ((0, 0, 10_000), "stable", "12", "stable"),  # it answers in next's stead
        ((0, 0, 10_000), None, "12", None),  # nobody answers: a spare one is no metadata
        ((0, 0, 10_000), "stable", "2", None),
        ((9000, 600, 400), "stable", "", None),
    ],
)
def test_where_the_usual_variant_is_not_held_the_heaviest_that_is_stands_for_the_model(
    weights: tuple[int, int, int], fallback: str | None, held: str, expected: str | None
) -> None:
    variants = tuple(
        replace(one, weight_bp=weight) for one, weight in zip(THREE, weights, strict=True)
    )

    def scene(planner: Planner) -> None:
        planner.held = {one: opened(one) if one in held else "unloaded" for one in "123"}
        document = replace(SPLIT, variants=variants, fallback=fallback)
        default = planner.plan(entry(document, {**ROWS, "next": 13})).models["m"].default
        assert (None if default is None else default.variant) == expected

    planned(scene)


def test_who_gets_everything_and_is_absent_is_still_decided() -> None:
    """So that its calls are counted, and answered by the fallback."""

    def scene(planner: Planner) -> None:
        everything = (replace(STABLE, weight_bp=0), replace(CANARY, weight_bp=10_000))
        planner.held["2"] = "a bad checksum"
        planner.plan(entry(replace(SPLIT, variants=everything)))
        assert planner.route.split.only == 1
        assert isinstance(planner.route.arms[1], Absent)

    planned(scene)


def test_a_variant_without_a_row_shares_its_versions_own() -> None:
    def scene(planner: Planner) -> None:
        plan = planner.plan(entry(rows={"stable": 11}))
        stable, canary = planner.pair
        assert canary.variant == "canary"
        assert plan.batchers[canary] is planner.two.batcher
        assert planner.tallies[canary] is planner.two.record
        assert plan.batchers[stable] is not planner.one.batcher

    planned(scene)


def test_an_absent_variant_without_a_row_is_counted_by_the_replica() -> None:
    def scene(planner: Planner) -> None:
        planner.held["2"] = "a bad checksum"
        planner.plan(entry(rows={"stable": 11}))
        _, canary = planner.route.arms
        assert isinstance(canary, Absent)
        assert canary.tally is planner.lost

    planned(scene)


# from one table to the next


def test_a_row_keeps_its_arm_while_tables_name_it() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        before = planner.pair, planner.pinned("canary")
        batchers = [planner.current.batchers[arm] for arm in planner.pair]
        planner.held["3"] = opened("3")  # so that the model is planned anew
        planner.plan(entry(), other=Entry(None))
        assert (planner.pair, planner.pinned("canary")) == before
        assert [planner.current.batchers[arm] for arm in planner.pair] == batchers
        assert planner.left == ()

    planned(scene)


def test_a_model_of_which_nothing_changed_is_not_planned_again() -> None:
    def scene(planner: Planner) -> None:
        route = planner.plan(entry()).routes["m"]
        assert planner.plan(entry(), other=Entry(None)).routes["m"] is route

    planned(scene)


def test_a_new_revision_has_new_arms_and_the_old_ones_leave_with_their_rows() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        old = [planner.current.batchers[arm] for arm in planner.pair]
        rows = {"stable": 21, "canary": 22}
        planner.plan(entry(replace(SPLIT, revision=8), rows))
        new = [planner.current.batchers[arm] for arm in planner.pair]
        assert {arm.revision for arm in planner.pair} == {8}
        assert set(old).isdisjoint(new)
        assert set(old).isdisjoint(planner.current.batchers.values())
        assert [planner.tallies[arm] for arm in planner.pair] == [
            planner.records[21],
            planner.records[22],
        ]
        assert planner.gone() == [(11, True, planner.one, old[0]), (12, True, planner.two, old[1])]

    planned(scene)


def test_what_has_left_is_said_once() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        planner.plan(entry(None, {}, "1"))
        assert [one.row for one in planner.left] == [11, 12]
        planner.plan(entry(None, {}, "1"))
        assert planner.left == ()

    planned(scene)


def test_a_version_that_was_unloaded_leaves_its_arms_and_their_row_goes_on() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        batcher = planner.current.batchers[planner.pair[1]]
        planner.held["2"] = "unloaded"
        planner.plan(entry())
        assert isinstance(planner.route.arms[1], Absent)
        assert planner.gone() == [(12, False, planner.two, batcher)]

    planned(scene)


def test_a_version_that_comes_back_has_new_arms_that_count_in_the_same_rows() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        first = planner.pair[1]
        planner.held["2"] = "unloaded"
        planner.plan(entry())
        planner.held["2"] = anew = opened("2")
        planner.plan(entry())
        canary = planner.pair[1]
        assert canary is not first
        assert canary.version is planner.pinned("canary").version is anew.version
        assert planner.tallies[canary] is planner.records[12]
        assert planner.left == ()

    planned(scene)


def test_a_version_loaded_anew_takes_over_its_arms_in_one_step() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        old = planner.current.batchers[planner.pair[1]]
        planner.held["2"] = opened("2")
        planner.plan(entry())
        assert planner.current.batchers[planner.pair[1]] is not old
        assert planner.gone() == [(12, False, planner.two, old)]

    planned(scene)


def test_the_row_of_a_variant_that_is_absent_leaves_with_nothing_to_close() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        planner.held["2"] = "unloaded"
        planner.plan(entry())
        planner.plan(entry(None, {}, "1"))
        assert planner.gone()[1:] == [(12, True, None, None)]

    planned(scene)


def test_a_fallback_that_went_away_is_not_asked_by_those_that_stay() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        canary = planner.pair[1]
        batcher = planner.current.batchers[canary]
        planner.held["1"] = "unloaded"
        planner.plan(entry())
        after = planner.route.arms[1]
        assert isinstance(after, Arm)
        assert (after.variant, after.fallback) == ("canary", None)
        assert planner.current.batchers[after] is batcher  # its calls are nobody else's
        assert canary not in planner.current.batchers

    planned(scene)


def test_the_rows_of_a_model_that_left_leave_too() -> None:
    async def scene() -> list[int | None]:
        planner = Planner()
        planner.plan(entry())
        _, _, left = planner.arms.plan(Table(2, {}), {})
        return [one.row for one in left]

    assert play(scene) == [11, 12]


def test_all_arms_leave_in_the_end() -> None:
    def scene(planner: Planner) -> None:
        planner.plan(entry())
        batchers = [planner.current.batchers[arm] for arm in planner.pair]
        planner.left = planner.arms.leave()
        assert planner.gone() == [
            (11, True, planner.one, batchers[0]),
            (12, True, planner.two, batchers[1]),
        ]
        assert planner.arms.leave() == ()

    planned(scene)


# shadows

SHADOWED = replace(SPLIT, shadows=(Shadow("next", "3", 1.0),))
SHADOW_ROWS = {**ROWS, "next": 13}


def test_a_shadow_hears_of_what_the_split_gives_to_the_usual_arm_and_of_nothing_else() -> None:
    def scene(planner: Planner) -> None:
        planner.held["3"] = three = opened("3")
        plan = planner.plan(entry(SHADOWED, SHADOW_ROWS))
        ((name, of, record),) = planner.mirrors
        assert (name, of) == ("next", three)
        assert record is planner.records[13]
        assert set(plan.mirrors) == {planner.pair[0]}
        assert {len(mirrors) for mirrors in plan.mirrors.values()} == {1}

    planned(scene)


def test_where_the_usual_arm_is_absent_a_shadow_hears_of_the_heaviest_that_is_held() -> None:
    def scene(planner: Planner) -> None:
        planner.held |= {"1": "unloaded", "3": opened("3")}
        plan = planner.plan(entry(SHADOWED, SHADOW_ROWS))
        assert set(plan.mirrors) == {planner.route.arms[1]}
        planner.held["2"] = "unloaded"
        assert planner.plan(entry(SHADOWED, SHADOW_ROWS)).mirrors == {}

    planned(scene)


def test_a_shadow_whose_version_is_not_held_or_that_nothing_counts_hears_nothing() -> None:
    def scene(planner: Planner) -> None:
        assert planner.plan(entry(SHADOWED, SHADOW_ROWS)).mirrors == {}
        planner.held["3"] = opened("3")
        assert planner.plan(entry(SHADOWED, ROWS)).mirrors == {}
        assert planner.mirrors == []

    planned(scene)


def test_a_shadow_keeps_its_mirror_while_tables_name_its_row() -> None:
    def scene(planner: Planner) -> None:
        planner.held["3"] = opened("3")
        (before,) = planner.plan(entry(SHADOWED, SHADOW_ROWS)).mirrors[planner.pair[0]]
        planner.held["4"] = opened("4")
        (after,) = planner.plan(entry(SHADOWED, SHADOW_ROWS)).mirrors[planner.pair[0]]
        assert after is before
        planner.plan(entry())
        assert [(one.row, one.is_final, one.mirror) for one in planner.left] == [(13, True, before)]

    planned(scene)


def test_a_shadow_of_a_version_that_was_unloaded_leaves_and_its_row_goes_on() -> None:
    def scene(planner: Planner) -> None:
        planner.held["3"] = opened("3")
        (mirror,) = planner.plan(entry(SHADOWED, SHADOW_ROWS)).mirrors[planner.pair[0]]
        planner.held["3"] = "unloaded"
        assert planner.plan(entry(SHADOWED, SHADOW_ROWS)).mirrors == {}
        assert [(one.row, one.is_final, one.mirror) for one in planner.left] == [
            (13, False, mirror)
        ]

    planned(scene)
