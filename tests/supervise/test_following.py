"""What others write, and what was written while we were away: in force as soon as it can be."""

import asyncio

import pytest

from gateway.core.documents import WHOLE_BP, Document, Variant
from gateway.core.lifecycle import Cause, Ready, Unavailable
from gateway.core.pinning import AUTOMATIC
from gateway.errors import NotReady, RevisionConflict
from tests.supervise.steered import UNLOADED, MemoryStore, Steered, steered

BROKEN = Unavailable(Cause.FAILED, "opset 99")


def written(revision: int, version: str, by: str = "elsewhere", model: str = "m") -> Document:
    """A document that gives everything to one version."""
    variants = (Variant("stable", version, WHOLE_BP),)
    return Document(
        model, revision, variants, fallback="stable", reason=f"to {version}", changed_by=by
    )


def restarted(*documents: Document, is_shared: bool = True) -> Steered:
    """A host that starts with these documents, of one model, in its store."""
    store = MemoryStore(is_shared)
    store.kept[documents[0].model] = list(documents)
    return Steered(store)


async def left_behind(one: Steered) -> None:
    """Have somebody else give all calls to version 3, which is not to be had here."""
    one.store.is_shared = True
    one.inventory.refuses["3"] = "there is no version 3"
    one.store.kept["m"].append(written(2, "3"))
    one.traffic.hear("m")
    await asyncio.sleep(0.1)
    assert (one.current().revision, one.inventory.loaded) == (1, ["3"])


def arrive(one: Steered, version: str) -> None:
    """Have a version there and ready, as after a load or a refresh."""
    one.inventory.refuses.pop(version, None)
    one.inventory.have("m", version, Ready())


# behind


def test_a_host_that_was_behind_is_so_no_more_once_the_version_is_loaded() -> None:
    async def scene(one: Steered) -> None:
        await left_behind(one)
        arrive(one, "3")
        await one.inventory.adopt()
        await asyncio.sleep(0.1)
        assert (one.current().revision, one.traffic.trouble("m")) == (2, None)
        assert one.audit.told()[-1] == ("elsewhere", "adopted", 1, 2, "to 3")

    steered(scene)


def test_what_is_behind_is_tried_again_at_intervals_that_grow_to_a_minute() -> None:
    async def scene(one: Steered) -> None:
        await left_behind(one)
        for seconds, tries in ((5, 2), (10, 3), (20, 4), (40, 5), (60, 6), (60, 7), (60, 8)):
            await asyncio.sleep(seconds)
            assert len(one.inventory.loaded) == tries
        one.inventory.refuses.clear()
        await asyncio.sleep(60)
        assert one.current().revision == 2

    steered(scene)


def test_a_version_that_is_ready_anew_is_worth_one_try_and_no_more() -> None:
    async def scene(one: Steered) -> None:
        await left_behind(one)
        await one.inventory.adopt()
        for _ in range(3):
            arrive(one, "4")
            await one.inventory.adopt()
            await asyncio.sleep(0.1)
            assert one.inventory.loaded == ["3", "3"]

    steered(scene)


def test_what_is_changed_here_meanwhile_is_what_counts() -> None:
    async def scene(one: Steered) -> None:
        await left_behind(one)
        one.store.is_shared = False
        changed = await one.put()  # over what stays out: nobody else has it
        assert (changed.revision, changed.newest) == (3, "3")
        assert one.traffic.trouble("m") is None
        await asyncio.sleep(100)
        assert one.inventory.loaded == ["3"]

    steered(scene)


def test_a_change_that_is_refused_says_that_this_host_is_behind() -> None:
    async def scene(one: Steered) -> None:
        await left_behind(one)
        with pytest.raises(RevisionConflict, match="this host is behind: revision 2 stays") as told:
            await one.put()
        assert told.value.current == 2

    steered(scene)


def test_nothing_is_written_unasked_over_what_stays_out() -> None:
    async def scene(one: Steered) -> None:
        await left_behind(one)
        one.inventory.have("m", "2", UNLOADED)  # else the highest of the rest would be pinned
        await one.inventory.adopt()
        assert [each.revision for each in one.store.kept["m"]] == [1, 2]

    steered(scene)


def test_an_error_that_nobody_foresaw_is_logged_and_others_are_followed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Odd(MemoryStore):
        async def revisions(self, model: str) -> tuple[Document, ...]:
            if model == "odd":
                raise RuntimeError("unheard of")
            return await super().revisions(model)

    async def scene(one: Steered) -> None:
        one.store.kept["m"].append(written(2, "1"))
        for model in ("odd", "m"):
            one.traffic.hear(model)
        await asyncio.sleep(0.1)
        assert one.current().revision == 2

    steered(scene, Steered(Odd()))
    assert "unheard of" in caplog.text


def test_news_that_cannot_be_read_are_logged_and_what_is_in_force_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(one: Steered) -> None:
        one.store.kept["m"].append(written(2, "1"))
        one.store.is_away = True
        one.traffic.hear("m")
        await asyncio.sleep(0.1)
        assert one.current().revision == 1
        one.store.is_away = False
        one.traffic.hear("m")
        await asyncio.sleep(0.1)
        assert one.current().revision == 2

    steered(scene)
    assert caplog.messages == [
        "the document of 'm' that somebody wrote cannot be read: the store is away"
    ]


# what somebody else saw first


def test_a_model_that_others_saw_first_and_cannot_be_followed_is_waived_and_the_reason_said() -> (
    None
):
    theirs = [written(1, "7", AUTOMATIC, "n")]

    async def scene(one: Steered) -> None:
        one.store.kept["n"] = theirs
        one.inventory.refuses["7"] = "there is no version 7"
        one.inventory.have("n", "1", Ready())
        await one.inventory.adopt()
        await asyncio.sleep(0.1)
        with pytest.raises(NotReady, match=r"here: revision 1 stays out: there is no version 7"):
            one.traffic.document("n")
        (view,) = (view for view in one.inventory.register.views() if view.model == "n")
        assert (view.state, view.is_default) == ("READY", False)
        assert one.inventory.loaded == ["7"]
        assert one.store.kept["n"] == theirs
        one.inventory.refuses.clear()
        await asyncio.sleep(10)
        assert one.traffic.document("n") == theirs[0]

    steered(scene, Steered(MemoryStore(is_shared=True)))


# at a start


def test_a_start_goes_back_to_the_newest_revision_that_can_be_answered_by(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = restarted(*(written(at, version) for at, version in enumerate("12344", 1)))
    made.inventory.refuses.update({"3": "it is broken", "4": "there is no version 4"})

    async def scene(one: Steered) -> None:
        assert one.current().revision == 2
        what = "revision 5 stays out: version 4 is not there"
        assert one.traffic.trouble("m") == what
        assert f"'m': {what}; 2 is in force" in caplog.messages
        assert one.inventory.loaded == ["4", "3"]  # each once, though 4 is in two revisions
        assert one.inventory.published[-1] == {"m": 2}
        arrive(one, "4")
        await one.inventory.adopt()
        await asyncio.sleep(0.1)
        assert (one.current().revision, one.traffic.trouble("m")) == (5, None)

    steered(scene, made)


def test_what_an_older_revision_needs_is_loaded_for_it() -> None:
    made = restarted(written(1, "3"), written(2, "4"))
    made.inventory.have("m", "3", Unavailable())
    made.inventory.refuses["4"] = "there is no version 4"

    async def scene(one: Steered) -> None:
        assert (one.current().revision, one.inventory.loaded) == (1, ["3"])

    steered(scene, made)


class Rotten(MemoryStore):
    """What is older cannot be read."""

    async def revisions(self, model: str) -> tuple[Document, ...]:
        raise NotReady(f"what is kept of {model} is rotten")


@pytest.mark.parametrize("kind", [MemoryStore, Rotten])
def test_where_no_revision_can_be_answered_by_the_newest_stays_and_says_why(
    kind: type[MemoryStore],
) -> None:
    store = kind(is_shared=True)
    store.kept["m"] = [written(1, "4", AUTOMATIC)]
    made = Steered(store)
    made.inventory.have("m", "4", BROKEN)

    async def scene(one: Steered) -> None:
        assert one.current().revision == 1
        told = "revision 1 is in force, and no good here: version 4 is not ready: opset 99"
        assert one.traffic.trouble("m") == told

    steered(scene, made)


def test_a_newest_revision_that_stays_is_good_once_its_version_is_ready() -> None:
    made = restarted(written(1, "4"))
    made.inventory.have("m", "4", BROKEN)
    made.inventory.refuses["4"] = "opset 99"

    async def scene(one: Steered) -> None:
        arrive(one, "4")
        await one.inventory.adopt()
        await asyncio.sleep(0.1)
        assert (one.current().revision, one.traffic.trouble("m")) == (1, None)
        assert one.audit.told() == [("elsewhere", "first_sight", None, 1, "to 4")]

    steered(scene, made)


@pytest.mark.parametrize(("is_shared", "revision"), [(True, 1), (False, 2)])
def test_a_pinned_version_that_is_gone_at_a_start_is_left_only_where_nobody_else_may_have_it(
    is_shared: bool, revision: int
) -> None:
    made = restarted(written(1, "4", AUTOMATIC), is_shared=is_shared)
    made.inventory.refuses["4"] = "there is no version 4"

    async def scene(one: Steered) -> None:
        assert one.current().revision == revision
        await asyncio.sleep(100)
        assert one.current().revision == revision
        assert (one.traffic.trouble("m") is None) == (not is_shared)

    steered(scene, made)


def test_what_nobody_wanted_loaded_yet_keeps_no_document_out() -> None:
    made = Steered(restarted(written(1, "1"), written(2, "2")).store, ready=())
    for version in "12":
        made.inventory.have("m", version, Unavailable())

    async def scene(one: Steered) -> None:
        assert (one.current().revision, one.traffic.trouble("m")) == (2, None)
        assert one.inventory.loaded == []

    steered(scene, made)


def test_what_is_heard_after_the_end_is_not_followed() -> None:
    made = Steered()

    async def scene(one: Steered) -> None:
        """Start, and leave."""

    steered(scene, made)
    made.traffic.hear("m")
