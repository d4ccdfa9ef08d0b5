"""Changes of routing documents: judged, prepared, kept, published, recorded; whole or not."""

import asyncio
from dataclasses import replace

import pytest

from gateway.core.documents import percent
from gateway.core.lifecycle import Ready
from gateway.errors import (
    CannotPrepare,
    InvalidDocument,
    NotReady,
    RevisionConflict,
    UnknownModel,
)
from tests.supervise.steered import (
    OTHER,
    QUARANTINED,
    UNLOADED,
    Steered,
    kept,
    proposal,
    steered,
)

FIRST_SIGHT = ("the gateway", "first_sight", None, 1, "first sight: version 2 is the highest")


def weights(one: Steered) -> dict[str, tuple[str, float]]:
    document = one.current()
    return {each.name: (each.version, percent(each.weight_bp)) for each in document.variants}


# what is in force


def test_a_model_that_is_seen_for_the_first_time_is_pinned_to_its_highest_version() -> None:
    async def scene(one: Steered) -> None:
        assert one.current().revision == 1
        assert weights(one) == {"stable": ("2", 100)}
        assert one.store.kept["m"] == [one.current()]
        assert one.audit.told() == [FIRST_SIGHT]

    steered(scene)


def test_a_model_that_nobody_knows_is_said_to_be_unknown() -> None:
    async def scene(one: Steered) -> None:
        with pytest.raises(UnknownModel):
            one.traffic.document("n")
        with pytest.raises(UnknownModel):
            await one.traffic.revisions("n")

    steered(scene)


def test_the_last_document_stands_after_a_restart_whatever_is_on_disk_by_then() -> None:
    before = Steered()

    async def scene(one: Steered) -> None:
        await one.put()

    steered(scene, before)
    again = Steered(before.store)
    again.inventory.have("m", "3", Ready())

    async def after(one: Steered) -> None:
        assert one.current().revision == 2
        assert weights(one) == {"stable": ("1", 95), "canary": ("2", 5)}

    steered(after, again)


def test_a_change_that_a_death_left_out_of_the_audit_is_recorded_at_the_next_start() -> None:
    before = Steered()

    async def scene(one: Steered) -> None:
        one.audit.is_full = True
        await one.put(reason="unheard")
        one.audit.is_full = False

    steered(scene, before)
    assert before.audit.told() == [FIRST_SIGHT]

    async def after(one: Steered) -> None:
        assert one.audit.told() == [FIRST_SIGHT, ("ann", "put", 1, 2, "unheard")]

    steered(after, before)


# put


def test_a_document_is_kept_published_and_recorded() -> None:
    async def scene(one: Steered) -> None:
        changed = await one.put(who="ann", reason="try 2")
        assert one.current() == changed == one.store.kept["m"][-1]
        assert (changed.revision, changed.changed_by, changed.reason) == (2, "ann", "try 2")
        assert changed.changed_at.startswith("2026-01-01T")
        assert one.inventory.published[-1] == {"m": 2}
        assert one.audit.told() == [FIRST_SIGHT, ("ann", "put", 1, 2, "try 2")]

    steered(scene)


def test_every_fault_is_named_and_nothing_has_changed() -> None:
    async def scene(one: Steered) -> None:
        before = one.current()
        raw = proposal("", {"stable": ("9", 50), "canary": ("2", 5)}, fallback="nobody")
        with pytest.raises(InvalidDocument) as refused:
            await one.traffic.put(before, raw, "ann")
        paths = {path for path, _ in refused.value.faults}
        assert paths == {"$.variants", "$.variants[0].version", "$.fallback", "$.reason"}
        assert str(refused.value).endswith("and 1 more")
        assert one.current() == before == one.store.kept["m"][-1]
        assert one.inventory.loaded == []

    steered(scene)


def test_a_fallback_that_takes_other_inputs_is_a_fault() -> None:
    async def scene(one: Steered) -> None:
        one.inventory.have("m", "3", Ready(), OTHER)
        shares = {"stable": ("1", 95.0), "canary": ("3", 5.0)}
        with pytest.raises(InvalidDocument) as refused:
            await one.put(shares=shares)
        assert [path for path, _ in refused.value.faults] == ["$.fallback"]
        await one.put(shares=shares, fallback=None)

    steered(scene)


def test_of_two_writers_with_one_revision_exactly_one_wins() -> None:
    async def scene(one: Steered) -> None:
        current = one.current()
        racing = [one.traffic.put(current, proposal(who), who) for who in ("ann", "bob", "cid")]
        ended = await asyncio.gather(*racing, return_exceptions=True)
        lost = [each for each in ended if isinstance(each, RevisionConflict)]
        assert len(lost) == 2
        assert {each.current for each in lost} == {2}
        assert one.current().revision == 2
        assert len(one.store.kept["m"]) == 2
        await one.put()  # those who lost harm nobody who comes later

    steered(scene)


def test_what_is_to_get_calls_is_loaded_first() -> None:
    async def scene(one: Steered) -> None:
        one.inventory.have("m", "3", UNLOADED)
        await one.put(shares={"stable": ("1", 100), "canary": ("3", 0)})
        assert one.inventory.loaded == ["3"]

    steered(scene)


def test_what_some_replica_lacks_is_loaded_again_first() -> None:
    async def scene(one: Steered) -> None:
        one.lacking = {"m-2": "replica 1 cannot load it"}
        await one.put()
        assert one.inventory.loaded == ["2"]

    steered(scene)


def test_a_shadow_that_cannot_be_loaded_changes_nothing() -> None:
    async def scene(one: Steered) -> None:
        one.inventory.have("m", "3", UNLOADED)
        one.inventory.refuses["3"] = "opset 99"
        shadows = [{"name": "next", "version": "3", "sample_ratio": 1}]
        with pytest.raises(CannotPrepare, match="opset 99"):
            await one.put(shadows=shadows)
        assert one.current().revision == 1
        assert len(one.store.kept["m"]) == 1

    steered(scene)


def test_a_quarantined_version_gets_no_calls_by_a_document() -> None:
    async def scene(one: Steered) -> None:
        one.inventory.have("m", "2", QUARANTINED)
        with pytest.raises(CannotPrepare, match="quarantined"):
            await one.put()
        assert one.inventory.loaded == []

    steered(scene)


def test_a_canary_that_broke_can_be_turned_off_though_it_cannot_be_loaded() -> None:
    async def scene(one: Steered) -> None:
        await one.put()
        one.inventory.have("m", "2", QUARANTINED)
        await one.put(reason="off", shares={"stable": ("1", 100), "canary": ("2", 0)})
        assert weights(one) == {"stable": ("1", 100), "canary": ("2", 0)}
        assert one.inventory.loaded == []

    steered(scene)


def test_a_store_that_cannot_be_asked_refuses_the_change_and_nothing_has_changed() -> None:
    async def scene(one: Steered) -> None:
        one.store.is_away = True
        with pytest.raises(NotReady, match="away"):
            await one.put()
        assert one.current().revision == 1
        one.store.is_away = False
        await one.put()

    steered(scene)


def test_an_audit_that_cannot_be_written_refuses_no_change() -> None:
    async def scene(one: Steered) -> None:
        one.audit.is_full = True
        assert (await one.put()).revision == 2

    steered(scene)


def test_a_caller_who_leaves_after_the_change_was_judged_does_not_stop_it_half_way() -> None:
    async def scene(one: Steered) -> None:
        one.store.gate = asyncio.Event()
        putting = asyncio.create_task(one.put())
        for _ in range(10):
            await asyncio.sleep(0)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        one.store.gate.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert one.current().revision == 2
        assert one.audit.told()[-1] == ("ann", "put", 1, 2, "try 2")

    steered(scene)


def test_a_ramp_keeps_every_bucket_that_the_canary_had() -> None:
    async def scene(one: Steered) -> None:
        sticky = {"by": "header:x-user-id", "salt": "s"}
        held = set[int]()
        for weight in (5, 10, 50):
            shares = {"stable": ("1", 100.0 - weight), "canary": ("2", float(weight))}
            reason = f"to {weight} %"
            pieces = (await one.put(reason=reason, shares=shares, sticky=sticky)).pieces
            now = {
                bucket
                for piece in pieces
                if piece.variant == "canary"
                for bucket in range(piece.start >> 20, piece.stop >> 20)
            }
            assert held <= now
            held = now

    steered(scene)


def test_a_change_that_gives_the_reason_of_the_one_before_is_refused_with_all_other_faults() -> (
    None
):
    async def scene(one: Steered) -> None:
        await one.put(reason="try 2")
        with pytest.raises(InvalidDocument) as refused:
            await one.put(reason="try 2")
        assert [path for path, _ in refused.value.faults] == ["$.reason"]
        with pytest.raises(InvalidDocument) as refused:
            await one.put(reason="try 2", fallback="nobody")
        assert [path for path, _ in refused.value.faults] == ["$.fallback", "$.reason"]
        assert one.current().revision == 2

    steered(scene)


# delete, rollback


def test_a_deleted_document_is_what_a_first_sight_would_write_now() -> None:
    async def scene(one: Steered) -> None:
        await one.put()
        one.inventory.have("m", "3", Ready())
        changed = await one.traffic.delete(one.current(), "anew", "ann")
        assert (changed.revision, changed.changed_by, changed.reason) == (3, "ann", "anew")
        assert weights(one) == {"stable": ("3", 100)}
        assert one.audit.told()[-1] == ("ann", "delete", 2, 3, "anew")

    steered(scene)


def test_nothing_is_deleted_where_no_version_could_answer() -> None:
    async def scene(one: Steered) -> None:
        for version in ("1", "2"):
            one.inventory.have("m", version, QUARANTINED)
        with pytest.raises(CannotPrepare):
            await one.traffic.delete(one.current(), "anew", "ann")

    steered(scene)


def test_a_rollback_writes_the_revision_before_again() -> None:
    async def scene(one: Steered) -> None:
        await one.put()
        changed = await one.traffic.roll_back(one.current(), None, "back", "ann")
        assert weights(one) == {"stable": ("2", 100)}
        assert (changed.revision, changed.reason, changed.changed_by) == (3, "back", "ann")
        assert changed.pieces == one.store.kept["m"][0].pieces
        assert one.audit.told()[-1] == ("ann", "rollback", 2, 3, "back")

    steered(scene)


def test_a_rollback_goes_to_any_revision_that_is_kept() -> None:
    async def scene(one: Steered) -> None:
        for weight in (10, 20, 30):
            shares = {"stable": ("1", 100.0 - weight), "canary": ("2", float(weight))}
            await one.put(reason=f"to {weight} %", shares=shares)
        await one.traffic.roll_back(one.current(), 2, "back", "ann")
        assert weights(one) == {"stable": ("1", 90), "canary": ("2", 10)}

    steered(scene)


def test_a_rollback_gives_a_reason_of_its_own() -> None:
    async def scene(one: Steered) -> None:
        await one.put(reason="try 2")
        with pytest.raises(InvalidDocument) as refused:
            await one.traffic.roll_back(one.current(), None, "try 2", "ann")
        assert [path for path, _ in refused.value.faults] == ["$.reason"]
        assert one.current().revision == 2

    steered(scene)


def test_a_rollback_to_a_fallback_that_takes_other_inputs_by_now_is_refused() -> None:
    async def scene(one: Steered) -> None:
        await one.put(reason="try 2")
        await one.put(reason="off", shares={"stable": ("1", 100.0)})
        one.inventory.have("m", "2", Ready(), OTHER)  # its files have changed
        with pytest.raises(InvalidDocument) as refused:
            await one.traffic.roll_back(one.current(), 2, "on again", "ann")
        assert [path for path, _ in refused.value.faults] == ["$.fallback"]
        assert one.current().revision == 3

    steered(scene)


def test_a_rollback_brings_all_of_a_document_back() -> None:
    async def scene(one: Steered) -> None:
        rule = {"if": {"any": [{"header": "x-tier", "equals": "beta"}]}, "variant": "canary"}
        shadow = {"name": "next", "version": "2", "sample_ratio": 0.5}
        old = await one.put(
            rules=[rule], shadows=[shadow], sticky={"by": "parameter:user", "salt": "s"}
        )
        await one.put(reason="off", shares={"stable": ("1", 100.0)})
        back = await one.traffic.roll_back(one.current(), 2, "on again", "ann")
        stamps = {"revision": 4, "reason": "on again", "changed_at": back.changed_at}
        assert back == kept(old, **stamps)

    steered(scene)


@pytest.mark.parametrize("revision", [0, 3, 99, None])
def test_a_rollback_to_what_is_not_kept_names_what_is(revision: int | None) -> None:
    async def scene(one: Steered) -> None:
        if revision is not None:
            await one.put()
        with pytest.raises(InvalidDocument) as refused:
            await one.traffic.roll_back(one.current(), revision, "back", "ann")
        ((path, what),) = refused.value.faults
        assert path == "$.revision"
        assert what.startswith("expected one that is kept, 1 to ")

    steered(scene)


def test_a_rollback_to_versions_that_are_gone_is_refused() -> None:
    async def scene(one: Steered) -> None:
        await one.put(shares={"stable": ("1", 100)})
        one.inventory.register.forget(one.inventory.register.know("m", "2"))
        with pytest.raises(InvalidDocument, match="not there any more: 2"):
            await one.traffic.roll_back(one.current(), 1, "back", "ann")

    steered(scene)


# what others write


def test_what_somebody_else_wrote_is_followed() -> None:
    async def scene(one: Steered) -> None:
        newer = kept(one.current(), revision=2, changed_by="elsewhere", reason="there")
        one.store.kept["m"].append(newer)
        one.traffic.hear("m")
        for _ in range(10):
            await asyncio.sleep(0)
        assert one.current() == newer
        assert one.audit.told()[-1] == ("elsewhere", "adopted", 1, 2, "there")

    steered(scene)


def test_what_somebody_else_wrote_and_cannot_be_loaded_here_stays_out_and_is_said() -> None:
    async def scene(one: Steered) -> None:
        one.inventory.have("m", "3", UNLOADED)
        one.inventory.refuses["3"] = "opset 99"
        variant = one.current().variants[0]
        newer = kept(one.current(), revision=2, variants=(replace(variant, version="3"),))
        one.store.kept["m"].append(newer)
        one.traffic.hear("m")
        for _ in range(10):
            await asyncio.sleep(0)
        assert one.current().revision == 1
        assert one.traffic.behind["m"] == (2, "opset 99")
        assert one.traffic.trouble("m") == "revision 2 stays out: opset 99"
        assert one.traffic.trouble("n") is one.traffic.trouble() is None
        one.store.says = "Redis is away"
        told = one.traffic.trouble("m")
        assert told == "Redis is away; revision 2 stays out: opset 99"
        one.inventory.refuses.clear()
        one.traffic.hear("m")
        for _ in range(10):
            await asyncio.sleep(0)
        assert (one.current().revision, one.traffic.trouble("m")) == (2, "Redis is away")

    steered(scene)


def test_news_that_are_none_change_nothing() -> None:
    async def scene(one: Steered) -> None:
        published = len(one.inventory.published)
        one.traffic.hear("m")
        one.traffic.hear("n")
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(one.inventory.published) == published

    steered(scene)


def test_a_store_in_trouble_says_so() -> None:
    async def scene(one: Steered) -> None:
        assert one.traffic.trouble() is None
        one.store.says = "Redis is away"
        assert one.traffic.trouble() == "Redis is away"

    steered(scene)
