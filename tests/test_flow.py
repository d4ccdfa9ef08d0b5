"""The life of a call on one page: who is asked, who answers, who is refused."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.batching import Policy
from gateway.core.documents import Document, Matches, Rule, Sticky, Variant
from gateway.core.routing import split_of
from gateway.errors import (
    BreakerOpen,
    ClientGone,
    DeadlineExceeded,
    Draining,
    Malformed,
    ModelFailed,
    NotReady,
    Overloaded,
    UnknownModel,
    UnknownVersion,
)
from gateway.flow import Absent, Flow, Plan, Route, Served
from gateway.types import Arm, Call, Version
from tests.clock import play
from tests.fakes import (
    TWICE,
    Answer,
    Client,
    FakeModel,
    Tallied,
    a_call,
    answer_of,
    batcher_for,
)

ONE = Arm(Version("digits", "1", TWICE.signature))
TWO = Arm(Version("digits", "2", TWICE.signature))
MODELS = {"digits": Served(TWO, {"1": ONE, "2": TWO})}


@pytest.mark.parametrize(
    ("version", "expected"), [(None, TWO), ("1", ONE), ("2", TWO), ("01", ONE), ("002", TWO)]
)
def test_a_version_is_the_one_asked_for_or_the_default(version: str | None, expected: Arm) -> None:
    assert Flow(MODELS, {}).find("digits", version) is expected


@pytest.mark.parametrize("version", [None, "1"])
def test_an_unknown_model_is_named(version: str | None) -> None:
    with pytest.raises(UnknownModel, match="unknown model: 'cancer' is not found"):
        Flow(MODELS, {}).find("cancer", version)


@pytest.mark.parametrize("version", ["3", "", "1.0", "latest"])
def test_an_unknown_version_is_named(version: str) -> None:
    with pytest.raises(UnknownVersion, match=f"'digits' version {version} is not found"):
        Flow(MODELS, {}).find("digits", version)


UNREADY = {
    "digits": Served(ONE, {"1": ONE}, {"2": "it killed a replica"}),
    "cancer": Served(None, {}, {"1": "unloaded", "2": "a bad checksum"}),
    "empty": Served(None, {}),
    "chosen": Served(None, {"1": ONE}, {"2": "quarantined"}),
}


@pytest.mark.parametrize(
    ("model", "version", "words"),
    [
        ("digits", "2", "'digits' version 2 is not at ready state: it killed a replica"),
        ("digits", "02", "'digits' version 02 is not at ready state: it killed a replica"),
        ("cancer", "1", "'cancer' version 1 is not at ready state: unloaded"),
        (
            "cancer",
            None,
            "'cancer' has no available versions: version 1: unloaded; version 2: a bad checksum",
        ),
        ("empty", None, "'empty' has no available versions"),
        (
            "chosen",
            None,
            (
                "'chosen' has no version at ready state that answers by default, "
                "only 1 when asked for: version 2: quarantined"
            ),
        ),
    ],
)
def test_what_is_known_and_not_ready_says_why(model: str, version: str | None, words: str) -> None:
    with pytest.raises(NotReady) as caught:
        Flow(UNREADY, {}).find(model, version)
    assert str(caught.value) == f"Request for unknown model: {words}"


def test_a_version_beside_one_that_is_not_ready_answers() -> None:
    flow = Flow(UNREADY, {})
    assert flow.find("digits", None) is flow.find("digits", "1") is flow.find("chosen", "1") is ONE
    with pytest.raises(UnknownVersion):
        flow.find("cancer", "3")


def test_the_table_is_replaced_whole() -> None:
    async def scene() -> tuple[list[Answer], list[list[float]], list[list[float]]]:
        client, old, new = Client(), FakeModel(), FakeModel()
        async with batcher_for(old, Policy()) as first, batcher_for(new, Policy()) as second:
            flow = Flow({"digits": Served(ONE, {"1": ONE})}, {ONE: first})
            call = client.call(1)
            call.arm = flow.find("digits", None)
            flow.infer(call)
            flow.replace(Plan({"digits": Served(TWO, {"2": TWO})}, {TWO: second}))
            with pytest.raises(UnknownVersion):
                flow.find("digits", "1")
            call = client.call(2)
            call.arm = flow.find("digits", None)
            flow.infer(call)
        return sorted(client.answers(), key=str), old.batches, new.batches

    assert play(scene) == ([[2], [4]], [[1]], [[2]])


class Huge(dict[str, Served]):
    """A table that nobody may walk once it is in force."""

    is_in_force = False

    def __iter__(self) -> Iterator[str]:
        assert not self.is_in_force, "a request looked at every model"
        return super().__iter__()

    def items(self) -> Any:
        assert not self.is_in_force, "a request looked at every model"
        return super().items()

    keys = values = __iter__  # type: ignore[assignment]  # may not be called at all


def test_a_request_looks_at_its_own_model_alone() -> None:
    table = Huge({f"model-{n}": Served(ONE, {"1": ONE}) for n in range(1000)})
    flow = Flow(table, {})
    table.is_in_force = True
    assert flow.find("model-999", None) is flow.find("model-0", "1") is ONE
    with pytest.raises(UnknownModel):
        flow.find("model-1000", None)


def test_a_call_for_a_version_that_is_not_loaded_is_refused() -> None:
    heard: list[object] = []
    call = a_call(1, on_done=heard.append)
    Flow(MODELS, {}).infer(call)
    assert heard == [call]
    assert isinstance(call.error, NotReady)
    assert str(call.error) == "model 'twice' is not loaded"


def test_a_call_is_answered_by_the_batcher_of_its_own_version() -> None:
    async def scene() -> tuple[list[Answer], list[list[float]], list[list[float]]]:
        client, one, two = Client(), FakeModel(), FakeModel()
        async with batcher_for(one, Policy()) as first, batcher_for(two, Policy()) as second:
            flow = Flow(MODELS, {ONE: first, TWO: second})
            for row, version in ((1, "1"), (2, "2"), (3, "1")):
                call = client.call(row)
                call.arm = flow.find("digits", version)
                flow.infer(call)
        return sorted(client.answers(), key=str), one.batches, two.batches

    assert play(scene) == ([[2], [4], [6]], [[1, 3]], [[2]])


# arms

DOCUMENT = Document(
    "digits", 7, (Variant("stable", "1", 5000), Variant("canary", "2", 5000)), fallback="stable"
)
STABLE = Arm(ONE.version, "stable", 7)
CANARY = Arm(TWO.version, "canary", 7, STABLE)
TO_STABLE, TO_CANARY = 0, (1 << 32) - 1


def split(second: Arm | Absent = CANARY, **more: Mapping[Arm, Any]) -> Plan:
    pinned: dict[str, Arm | Absent] = {"stable": STABLE, "canary": second}
    served = Served(None, {"1": ONE, "2": TWO}, pinned=pinned)
    route = Route("digits", 7, split_of(DOCUMENT), (STABLE, second))
    return Plan({"digits": served}, routes={"digits": route}, **more)


def forked(plan: Plan, drawn: int = TO_CANARY) -> Flow:
    flow = Flow({}, {}, lambda: drawn)
    flow.replace(plan)
    return flow


@pytest.mark.parametrize(("drawn", "expected"), [(TO_STABLE, STABLE), (TO_CANARY, CANARY)])
def test_a_route_gives_a_call_to_the_arm_of_the_variant_that_is_chosen(
    drawn: int, expected: Arm
) -> None:
    flow = forked(split(), drawn)
    assert flow.choose(flow.routes["digits"], ()) is expected


def test_chance_is_fair_without_being_told() -> None:
    flow = Flow({}, {})
    flow.replace(split())
    chosen = [flow.choose(flow.routes["digits"], ()) for _ in range(400)]
    assert 100 < chosen.count(CANARY) < 300


def routed(document: Document, second: Arm | Absent = CANARY) -> Flow:
    """A flow whose chance says canary, by a document of stable and canary."""
    route = Route("digits", 7, split_of(document), (STABLE, second))
    return forked(Plan({}, routes={"digits": route}))


BETA = Rule("canary", (Matches("header", "x-tier", "beta"),), needs_all=True)


def test_where_a_draw_alone_decides_it_decides_as_the_route_does() -> None:
    for drawn in (TO_STABLE, (1 << 31) - 1, 1 << 31, TO_CANARY):
        flow = forked(split(), drawn)
        assert flow.drawn("digits") is flow.choose(flow.routes["digits"], ())


@pytest.mark.parametrize(
    "flow",
    [
        routed(replace(DOCUMENT, rules=(BETA,))),
        routed(replace(DOCUMENT, sticky=Sticky("header", "x-user-id", "s"))),
        routed(DOCUMENT, Absent("digits", "canary", "unloaded", Tallied(), STABLE)),
        forked(Plan(MODELS)),
    ],
)
def test_nothing_is_drawn_where_more_than_a_draw_decides(flow: Flow) -> None:
    assert flow.drawn("digits") is None


def test_who_is_absent_is_counted_and_its_fallback_chosen() -> None:
    tally = Tallied()
    flow = forked(split(Absent("digits", "canary", "unloaded", tally, STABLE)))
    assert flow.choose(flow.routes["digits"], ()) is STABLE
    assert (tally.refused, tally.fallbacks) == ([("not_ready", 0.0, 0)], 1)


def test_who_is_absent_without_a_fallback_is_not_ready_and_counted_by_who_asked() -> None:
    tally = Tallied()
    flow = forked(split(Absent("digits", "canary", "unloaded", tally, None)))
    with pytest.raises(NotReady) as caught:
        flow.choose(flow.routes["digits"], ())
    words = "'digits' variant canary is not at ready state: unloaded"
    assert str(caught.value) == f"Request for unknown model: {words}"
    assert (tally.refused, tally.fallbacks) == ([], 0)


def test_a_pinned_variant_is_the_one_that_is_named() -> None:
    flow = forked(split(), TO_STABLE)
    assert flow.pinned("digits", "canary") is CANARY
    with pytest.raises(UnknownModel):
        flow.pinned("cancer", "canary")
    with pytest.raises(Malformed, match="expected stable, canary, got 'x'"):
        flow.pinned("digits", "x")
    with pytest.raises(Malformed, match="expected no variant, because it has no routing document"):
        Flow(MODELS, {}).pinned("digits", "stable")


def test_a_pinned_variant_that_is_absent_is_not_ready_though_it_has_a_fallback() -> None:
    tally = Tallied()
    flow = forked(split(Absent("digits", "canary", "unloaded", tally, STABLE)))
    with pytest.raises(NotReady, match="variant canary is not at ready state: unloaded"):
        flow.pinned("digits", "canary")
    assert tally.refused == []


def test_only_a_model_without_a_route_has_a_usual_arm() -> None:
    flow = Flow(MODELS | UNREADY, {})
    assert flow.usual == {"digits": ONE}
    flow.replace(split())
    assert flow.usual == {}


def failed(error: Exception, arm: Arm = CANARY) -> Call:
    call = a_call(1, 2, deadline=9.0, priority=1, arrived=3.0)
    call.arm = arm
    call.fail(error)
    return call


@pytest.mark.parametrize("error", [ModelFailed("broken"), BreakerOpen("it failed too often")])
def test_a_call_that_its_arm_failed_is_made_again_for_the_fallback(error: Exception) -> None:
    async def scene() -> None:
        async with batcher_for(FakeModel(), Policy()) as batcher:
            flow = forked(split(batchers={STABLE: batcher}))
            call = failed(error)
            again = flow.fall_back(call)
            assert again is not None
            assert (again.arm, again.error, again.done) == (STABLE, None, False)
            assert (again.deadline, again.priority, again.arrived) == (9.0, 1, 3.0)
            assert again.payloads is call.payloads
            assert again.on_done is call.on_done
            assert call.error is error
            flow.infer(again)
        assert answer_of(again) == [2.0, 4.0]

    play(scene)


@pytest.mark.parametrize(
    "error", [Overloaded("x"), DeadlineExceeded("x"), ClientGone("x"), Draining("x"), ValueError()]
)
def test_only_what_the_model_did_is_made_good(error: Exception) -> None:
    async def scene() -> Call | None:
        async with batcher_for(FakeModel(), Policy()) as batcher:
            return forked(split(batchers={STABLE: batcher})).fall_back(failed(error))

    assert play(scene) is None


def test_an_arm_without_a_fallback_has_none() -> None:
    assert forked(split()).fall_back(failed(ModelFailed("x"), STABLE)) is None


def test_under_another_plan_the_fallback_is_its_version_under_its_own_name() -> None:
    flow = forked(split())
    flow.replace(Plan({"digits": Served(ONE, {"1": ONE})}))
    again = flow.fall_back(failed(ModelFailed("x")))
    assert again is not None
    assert again.arm is ONE


@pytest.mark.parametrize(
    "models",
    [
        {},
        {"digits": Served(TWO, {"2": TWO})},
        {"digits": Served(None, {"1": Arm(Version("digits", "1", TWICE.signature))})},
    ],
)
def test_a_fallback_whose_version_has_left_or_was_loaded_anew_is_not_asked(
    models: Mapping[str, Served],
) -> None:
    """The rows were read for the one that it was."""
    flow = forked(Plan(models))
    assert flow.fall_back(failed(ModelFailed("x"))) is None


# exposures


class Diary:
    """Keeps who met whom."""

    def __init__(self) -> None:
        self.met: list[tuple[str, int, str, int]] = []

    def meet(self, met: tuple[str, int, str, int]) -> None:
        self.met.append(met)


def test_a_unit_that_meets_a_variant_is_written_down_and_nobody_else_is() -> None:
    diary = Diary()
    flow = Flow({}, {}, lambda: TO_CANARY, diary)
    sticky = split_of(replace(DOCUMENT, sticky=Sticky("header", "x-user-id", "salt")))
    route = Route("digits", 7, sticky, (STABLE, CANARY))
    flow.choose(route, ())
    assert diary.met == []
    arm = flow.choose(route, [(b"x-user-id", b"me")])
    unit = sticky.hashed([(b"x-user-id", b"me")], None)
    assert diary.met == [("digits", 7, arm.variant, unit)]


# mirrors


class Watcher:
    """Keeps what it was offered, and whether that was answered by then."""

    def __init__(self) -> None:
        self.offered: list[tuple[Call, bool]] = []

    def offer(self, call: Call) -> None:
        self.offered.append((call, call.done))


def test_a_mirror_hears_of_what_its_own_arms_were_asked_after_they_were() -> None:
    async def scene() -> None:
        watcher, other = Watcher(), Watcher()
        tight = batcher_for(FakeModel(), Policy(max_waiting_rows=1))
        async with tight, batcher_for(FakeModel(), Policy()) as wide:
            flow = forked(
                split(
                    batchers={CANARY: tight, STABLE: wide},
                    mirrors={CANARY: (watcher, other)},
                )
            )
            calls = [a_call(row) for row in (1, 2, 3)]
            for call, arm in zip(calls, (CANARY, STABLE, CANARY), strict=True):
                call.arm = arm
                flow.infer(call)
            assert watcher.offered == other.offered == [(calls[0], False), (calls[2], True)]
            assert isinstance(calls[2].error, Overloaded)  # for the mirror to see
        assert [answer_of(call) for call in calls[:2]] == [[2.0], [4.0]]

    play(scene)


def test_what_is_not_loaded_is_not_mirrored() -> None:
    watcher = Watcher()
    flow = forked(split(mirrors={CANARY: (watcher,)}))
    call = a_call(1)
    call.arm = CANARY
    flow.infer(call)
    assert isinstance(call.error, NotReady)
    assert watcher.offered == []
