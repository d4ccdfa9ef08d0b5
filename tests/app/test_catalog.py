"""Catalog: versions come and go, and no call is left unanswered."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

import pytest

from gateway.control.messages import Assigned, Entry, Table
from gateway.core.documents import Document, Variant
from gateway.errors import Draining, NotReady, UnknownModel, UnknownVersion
from gateway.observe.counts import read
from tests.app.stage import Stage, assigned, at_once, staged, table
from tests.fakes import a_call, answer_of
from tests.wire.harness import turns


async def serve(stage: Stage, *versions: Assigned, revision: int = 1) -> None:
    """Prepare versions and publish a table of them alone."""
    assert await stage.catalog.prepare(versions) == {}
    models: dict[str, dict[str, str]] = {}
    for one in versions:
        models.setdefault(one.proof.found.model, {})[one.proof.found.version] = one.proof.digest
    stage.catalog.publish(table(revision, **models))


def test_what_is_prepared_is_not_seen_before_it_is_published() -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.catalog.prepare([assigned(1)]) == {}
        with pytest.raises(UnknownModel):
            stage.ask()
        assert stage.catalog.served() == ()
        stage.catalog.publish(table(1, m={"1": "d"}))
        call = stage.ask()
        await turns()
        assert answer_of(call) == [2.0]
        assert stage.catalog.served() == (assigned(1),)

    staged(scene)


def test_a_table_says_which_version_answers_by_default() -> None:
    async def scene(stage: Stage) -> list[str]:
        await stage.catalog.prepare(
            [assigned(1, version="1", digest="a"), assigned(2, version="2", digest="b")]
        )
        found = []
        for default in ("1", "2"):
            stage.catalog.publish(Table(1, {"m": Entry(default, {"1": "a", "2": "b"})}))
            found.append(stage.flow.find("m", None).version.version)
        return found

    assert staged(scene) == ["1", "2"]


def test_versions_stand_in_their_order() -> None:
    async def scene(stage: Stage) -> list[str]:
        await stage.catalog.prepare(
            [assigned(row, version=str(row), digest=str(row)) for row in (10, 9, 2)]
        )
        stage.catalog.publish(table(1, m={"10": "10", "9": "9", "2": "2"}))
        return list(stage.flow.models["m"].versions)

    assert staged(scene) == ["2", "9", "10"]


def test_a_version_that_left_the_table_answers_what_it_accepted_and_is_then_final() -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1))
        calls = [stage.ask(row) for row in (1.0, 2.0, 3.0)]
        await turns()
        late = stage.ask(4.0)  # waits behind them
        stage.catalog.publish(table(2))
        with pytest.raises(UnknownModel):
            stage.ask()
        await turns()
        assert stage.retired == []
        await asyncio.sleep(10.0)
        assert [answer_of(call) for call in (*calls, late)] == [[2.0], [4.0], [6.0], [8.0]]
        assert stage.retired == [1]

    staged(scene, cost_s=1.0)


def test_a_new_digest_takes_over_without_a_gap() -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1, digest="old"))
        before = stage.ask(1.0)
        await turns()
        await stage.catalog.prepare([assigned(2, digest="new")])
        between = stage.ask(2.0)
        stage.catalog.publish(table(2, m={"1": "new"}))
        after = stage.ask(3.0)
        await asyncio.sleep(10.0)
        assert [answer_of(call) for call in (before, between, after)] == [[2.0], [4.0], [6.0]]
        assert stage.served_by() == {1: 2, 2: 1}
        assert stage.retired == [1]

    staged(scene, cost_s=1.0)


def test_a_version_loaded_anew_under_its_own_digest_takes_over_too() -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1))
        await stage.catalog.prepare([assigned(2)])
        stage.catalog.publish(table(2, m={"1": "d"}))
        stage.ask()
        await turns()
        assert stage.served_by() == {1: 0, 2: 1}
        assert stage.retired == [1]
        assert stage.catalog.served() == (assigned(2),)

    staged(scene)


def test_one_digest_in_two_places_is_two_versions() -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1, "a"), assigned(2, "b"))
        stage.ask(model="b")
        await turns()
        assert stage.served_by() == {1: 0, 2: 1}
        stage.catalog.publish(table(2, a={"1": "d"}))
        await turns()
        assert stage.retired == [2]

    staged(scene)


def test_a_table_published_again_changes_nothing() -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1))
        stage.catalog.publish(table(2, m={"1": "d"}))
        await turns()
        assert stage.retired == []
        stage.ask()

    staged(scene)


def test_what_was_prepared_stays_while_other_tables_are_published() -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1, "a"))
        await stage.catalog.prepare([assigned(2, "b")])
        stage.catalog.publish(table(2, a={"1": "d"}))
        await turns()
        stage.catalog.publish(table(3, a={"1": "d"}, b={"1": "d"}))
        stage.ask(model="b")
        assert stage.retired == []

    staged(scene)


def test_what_is_held_is_not_loaded_again() -> None:
    async def scene(stage: Stage) -> int:
        await stage.catalog.prepare([assigned(1)])
        await stage.catalog.prepare([assigned(1)])
        return stage.opens

    assert staged(scene) == 1


# what cannot be loaded


def refuses(stage: Stage) -> None:
    """Have it refuse the digests that begin with `bad`."""

    async def opening(one: Assigned) -> None:
        if one.proof.digest.startswith("bad"):
            raise RuntimeError("it is\n broken")

    stage.opening = opening


def test_what_cannot_be_loaded_is_refused_by_digest_and_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(stage: Stage) -> None:
        refuses(stage)
        refused = await stage.catalog.prepare([assigned(1, "a", digest="bad"), assigned(2, "b")])
        assert refused == {"bad": "it is broken"}
        stage.catalog.publish(table(1, b={"1": "d"}))
        stage.ask(model="b")

    staged(scene)
    (record,) = caplog.records
    assert record.message == "a version 1 cannot be loaded: it is broken"


@pytest.mark.parametrize("error", [MemoryError(), KeyError(), ValueError("")])
def test_whatever_a_load_raises_is_a_refusal_with_a_reason(error: Exception) -> None:
    async def scene(stage: Stage) -> dict[str, str]:
        async def opening(one: Assigned) -> None:
            raise error

        stage.opening = opening
        return await stage.catalog.prepare([assigned(1)])

    assert staged(scene) == {"d": type(error).__name__}


def test_a_table_that_names_what_was_refused_tells_callers_why() -> None:
    async def scene(stage: Stage) -> None:
        refuses(stage)
        await stage.catalog.prepare(
            [assigned(1, version="1"), assigned(2, version="2", digest="bad")]
        )
        stage.catalog.publish(table(1, m={"1": "d", "2": "bad"}))
        stage.ask(version="1")
        for version in ("2", None):
            with pytest.raises(NotReady, match="it is broken"):
                stage.ask(version=version)
        stage.catalog.publish(table(2, m={"1": "d"}))
        with pytest.raises(UnknownVersion):
            stage.ask(version="2")
        await turns()
        assert stage.retired == [2]  # its row is free, though it was never written

    staged(scene)


def test_a_table_that_names_what_nobody_prepared_is_no_error() -> None:
    async def scene(stage: Stage) -> None:
        stage.catalog.publish(table(1, m={"1": "d"}))
        with pytest.raises(NotReady, match="not loaded in this replica"):
            stage.ask()

    staged(scene)


def test_what_is_known_and_not_served_is_said_as_the_table_says_it() -> None:
    async def scene(stage: Stage) -> None:
        stage.catalog.publish(Table(1, {"m": Entry(None, {}, {"1": "it was quarantined"})}))
        with pytest.raises(NotReady, match="it was quarantined"):
            stage.ask(version="1")

    staged(scene)


def test_a_refused_version_may_be_tried_again() -> None:
    async def scene(stage: Stage) -> None:
        refuses(stage)
        assert await stage.catalog.prepare([assigned(1, digest="bad")])
        stage.opening = at_once
        assert await stage.catalog.prepare([assigned(1, digest="bad")]) == {}
        stage.catalog.publish(table(1, m={"1": "bad"}))
        stage.ask()

    staged(scene)


def test_a_reload_that_fails_leaves_the_version_as_it_was() -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1, digest="bad"))
        refuses(stage)
        assert await stage.catalog.prepare([assigned(2, digest="bad")])
        stage.catalog.publish(table(2, m={"1": "bad"}))
        stage.ask()
        await turns()
        assert stage.served_by() == {1: 1}
        assert stage.retired == [2]

    staged(scene)


# forgetting


def test_what_is_forgotten_is_closed_and_final() -> None:
    async def scene(stage: Stage) -> None:
        await stage.catalog.prepare([assigned(1)])
        stage.catalog.forget([1])
        await turns()
        assert stage.retired == [1]
        stage.catalog.publish(table(1, m={"1": "d"}))
        with pytest.raises(NotReady):
            stage.ask()

    staged(scene)


def test_what_was_never_held_is_final_at_once() -> None:
    async def scene(stage: Stage) -> None:
        refuses(stage)
        await stage.catalog.prepare([assigned(1, digest="bad")])
        stage.catalog.forget([1, 7])
        await turns()
        assert sorted(stage.retired) == [1, 7]

    staged(scene)


def test_what_callers_are_served_by_is_not_forgotten() -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1))
        stage.catalog.forget([1])
        await turns()
        assert stage.retired == []
        stage.ask()

    staged(scene)


# the end


def test_leaving_answers_what_was_accepted_and_refuses_the_rest() -> None:
    async def scene(stage: Stage) -> tuple[object, object]:
        async with stage.catalog:
            await serve(stage, assigned(1))
            call = stage.ask(1.0)
            await turns()
        return answer_of(call), answer_of(stage.ask())

    assert staged(scene, cost_s=3.0) == ([2.0], Draining)


def test_all_versions_have_one_end() -> None:
    """Their executions hang, and two drains of 30 s would take 60."""

    async def scene(stage: Stage) -> float:
        async with stage.catalog:
            await serve(stage, assigned(1, "a"), assigned(2, "b"))
            calls = [stage.ask(model="a"), stage.ask(model="b")]
            await turns()
        assert [answer_of(call) for call in calls] == [Draining, Draining]
        assert sorted(stage.retired) == [1, 2]
        return asyncio.get_running_loop().time()

    assert staged(scene, cost_s=1e6) == 30.0


def test_a_hurried_end_comes_sooner_for_all_that_still_runs() -> None:
    async def scene(stage: Stage) -> float:
        async with stage.catalog:
            await serve(stage, assigned(1, "a"), assigned(2, "b"))
            stage.ask(model="a")
            stage.ask(model="b")
            await turns()
            stage.catalog.publish(table(2, b={"1": "d"}))  # one is leaving already
            stage.drain.begin()
            asyncio.get_running_loop().call_later(4.0, stage.drain.cut_short)
        return asyncio.get_running_loop().time()

    assert staged(scene, cost_s=1e6) == 4.0


def test_a_version_that_does_not_close_in_order_is_final_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1))

        async def fail() -> None:
            raise RuntimeError("odd")

        stage.stacks[1].push_async_callback(fail)
        stage.catalog.publish(table(2))
        await turns()
        assert stage.retired == [1]

    with caplog.at_level(logging.ERROR):
        staged(scene)
    assert "did not close in order" in caplog.text


# arms

SPLIT = Document("m", 1, (Variant("stable", "1", 0), Variant("canary", "2", 10_000)))


def routed(revision: int, *rows: int, served: Mapping[str, str] | None = None) -> Table:
    """A table with a document that gives everything to version 2; `rows` are its variants'."""
    both = {"1": "a", "2": "b"} if served is None else served
    numbers = dict(zip(("stable", "canary"), rows, strict=True))
    entry = Entry(None, both, {}, replace(SPLIT, revision=revision), numbers)
    return Table(revision, {"m": entry})


async def split(stage: Stage) -> None:
    """Hold both versions in rows 1 and 2, and publish the split with rows 11 and 12."""
    await stage.catalog.prepare([assigned(1, digest="a"), assigned(2, version="2", digest="b")])
    stage.catalog.publish(routed(1, 11, 12))


def test_a_call_given_to_a_variant_counts_in_the_row_of_the_variant() -> None:
    async def scene(stage: Stage) -> list[int]:
        await split(stage)
        call = stage.ask()
        await turns()
        assert answer_of(call) == [2.0]
        assert (call.arm.variant, call.arm.version.version) == ("canary", "2")
        return [read(stage.rows[row]).inferences for row in (11, 12)]

    assert staged(scene) == [0, 1]


def test_an_arms_row_is_final_only_when_its_batcher_has_answered_what_it_accepted() -> None:
    async def scene(stage: Stage) -> None:
        await split(stage)
        calls = [stage.ask(1.0)]
        await turns()
        calls.append(stage.ask(2.0))  # waits behind it
        stage.catalog.publish(routed(2, 21, 22))
        after = stage.ask(3.0)
        await turns()
        assert stage.retired == [11]  # nobody had asked it
        await asyncio.sleep(1.5)
        assert stage.retired == [11]
        await asyncio.sleep(10.0)
        assert stage.retired == [11, 12]
        assert [answer_of(call) for call in (*calls, after)] == [[2.0], [4.0], [6.0]]
        assert [call.arm.revision for call in (*calls, after)] == [1, 1, 2]
        assert [read(stage.rows[row]).inferences for row in (12, 22)] == [2, 1]

    staged(scene, cost_s=1.0)


def test_an_arm_that_hangs_is_final_when_its_time_is_over() -> None:
    async def scene(stage: Stage) -> None:
        await split(stage)
        call = stage.ask()
        await turns()
        stage.catalog.publish(routed(2, 21, 22))
        await asyncio.sleep(29.0)
        assert stage.retired == [11]
        await asyncio.sleep(2.0)
        assert stage.retired == [11, 12]
        assert answer_of(call) is Draining

    staged(scene, cost_s=1e6)


def test_a_version_that_leaves_with_its_arms_closes_all_of_them_before_its_executor() -> None:
    async def scene(stage: Stage) -> None:
        await split(stage)
        pinned = stage.flow.pinned("m", "canary")
        calls = [stage.ask(1.0), stage.ask(2.0, version="2"), a_call(3.0)]
        calls[2].arm = pinned
        stage.flow.infer(calls[2])
        await turns()
        stage.stacks[2].callback(lambda: ended.extend(call.done for call in calls))
        ended: list[bool] = []
        stage.catalog.publish(table(2, m={"1": "a"}))
        await turns()
        assert ended == []
        await asyncio.sleep(10.0)
        assert ended == [True] * 3
        assert [answer_of(call) for call in calls] == [[2.0], [4.0], [6.0]]
        assert sorted(stage.retired) == [2, 11, 12]

    staged(scene, cost_s=1.0)


def test_a_variant_whose_version_was_unloaded_says_so_and_its_row_goes_on() -> None:
    async def scene(stage: Stage) -> None:
        await split(stage)
        before = stage.ask(1.0)
        await turns()
        stage.catalog.publish(routed(1, 11, 12, served={"1": "a"}))
        with pytest.raises(NotReady, match="variant canary is not at ready state: version 2 is"):
            stage.flow.choose(stage.flow.routes["m"], ())
        await asyncio.sleep(10.0)
        assert answer_of(before) == [2.0]
        assert stage.retired == [2]
        await stage.catalog.prepare([assigned(3, version="2", digest="b")])
        stage.catalog.publish(routed(1, 11, 12))
        after = stage.ask(2.0)
        await asyncio.sleep(10.0)
        assert answer_of(after) == [4.0]
        assert read(stage.rows[12]).inferences == 2

    staged(scene, cost_s=1.0)


def test_a_row_is_not_final_while_a_version_that_left_earlier_still_writes_to_it() -> None:
    async def scene(stage: Stage) -> None:
        await split(stage)
        call = stage.ask()
        await turns()
        stage.catalog.publish(routed(1, 11, 12, served={"1": "a"}))
        await turns()
        stage.catalog.publish(table(2, m={"1": "a"}))
        await turns()
        assert stage.retired == [11]
        await asyncio.sleep(10.0)
        assert answer_of(call) == [2.0]
        assert sorted(stage.retired) == [2, 11, 12]

    staged(scene, cost_s=1.0)


def test_an_arm_that_does_not_close_in_order_is_final_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(stage: Stage) -> None:
        await split(stage)
        batcher = stage.batcher_of(stage.flow.find("m", None))

        async def broken(_within_s: float) -> None:
            raise RuntimeError

        batcher.close = broken  # type: ignore[method-assign, assignment]  # as no real one does
        stage.catalog.publish(routed(2, 21, 22))
        await turns()
        assert sorted(stage.retired) == [11, 12]

    with caplog.at_level(logging.ERROR):
        staged(scene)
    assert "an arm did not close in order" in caplog.text


def test_the_end_answers_what_the_arms_accepted() -> None:
    async def scene(stage: Stage) -> list[object]:
        async with stage.catalog:
            await split(stage)
            calls = [stage.ask(1.0)]
            await turns()
            calls.append(stage.ask(2.0))
        return [answer_of(call) for call in calls]

    assert staged(scene, cost_s=1.0) == [[2.0], [4.0]]


# what the data port reads


def test_a_served_version_knows_where_it_came_from() -> None:
    async def scene(stage: Stage) -> None:
        await serve(stage, assigned(1))
        version = stage.flow.find("m", None).version
        assert stage.catalog.found(version) == assigned(1).proof.found
        stage.catalog.publish(table(2))
        with pytest.raises(KeyError):
            stage.catalog.found(version)

    staged(scene)
