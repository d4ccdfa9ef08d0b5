"""Documents that are written unasked: at the first sight, after an operator, for new versions."""

import asyncio

import pytest

from gateway.core.documents import Document
from gateway.core.lifecycle import Ready, Unloading
from gateway.errors import NotReady
from tests.supervise.steered import QUARANTINED, UNLOADED, MemoryStore, Steered, kept, steered


def pinned(one: Steered, model: str = "m") -> tuple[int, str] | None:
    """The revision in force and the version of its first variant."""
    document = one.inventory.document(model)
    return None if document is None else (document.revision, document.variants[0].version)


def test_every_model_that_has_a_version_at_ready_state_gets_a_document() -> None:
    made = Steered()
    made.inventory.have("n", "7", Ready())
    made.inventory.have("o", "1", QUARANTINED)

    async def scene(one: Steered) -> None:
        assert (pinned(one), pinned(one, "n"), pinned(one, "o")) == ((1, "2"), (1, "7"), None)
        assert one.inventory.published[0] == {"m": 1, "n": 1}

    steered(scene, made)


def test_a_version_that_appears_later_gets_nothing() -> None:
    async def scene(one: Steered) -> None:
        one.inventory.have("m", "3", Ready())
        await one.inventory.adopt()
        assert pinned(one) == (1, "2")

    steered(scene)


def test_where_new_versions_are_to_serve_one_that_appears_later_gets_everything() -> None:
    async def scene(one: Steered) -> None:
        one.inventory.have("m", "3", Ready())
        await one.inventory.adopt()
        assert pinned(one) == (2, "3")
        assert one.audit.told()[-1][1:4] == ("first_sight", 1, 2)
        await one.traffic.roll_back(one.current(), None, "it is bad", "ann")
        await one.inventory.adopt()
        assert pinned(one) == (3, "2")  # and stays so: it was named before

    steered(scene, Steered(serves_new_versions=True))


def test_a_restart_promotes_no_version_that_was_rolled_back() -> None:
    before = Steered(serves_new_versions=True)

    async def scene(one: Steered) -> None:
        one.inventory.have("m", "3", Ready())
        await one.inventory.adopt()
        await one.traffic.roll_back(one.current(), None, "it is bad", "ann")

    steered(scene, before)
    again = Steered(before.store, serves_new_versions=True)
    again.inventory.have("m", "3", Ready())

    async def after(one: Steered) -> None:
        assert pinned(one) == (3, "2")

    steered(after, again)


def test_a_restart_promotes_no_version_that_was_rejected_however_long_ago() -> None:
    before = Steered(serves_new_versions=True)

    async def scene(one: Steered) -> None:
        one.inventory.have("m", "3", Ready())
        await one.inventory.adopt()
        await one.traffic.roll_back(one.current(), None, "it is bad", "ann")
        await one.traffic.delete(one.current(), "anew", "ann")
        await one.put(reason="without 3")

    steered(scene, before)
    store = MemoryStore()
    store.kept["m"] = before.store.kept["m"]
    again = Steered(Forgetful(store), serves_new_versions=True)
    again.inventory.have("m", "3", Ready())

    async def after(one: Steered) -> None:
        assert pinned(one) == (5, "1")
        one.inventory.have("m", "4", Ready())
        await one.inventory.adopt()
        assert pinned(one) == (6, "4")

    steered(after, again)


class Forgetful(MemoryStore):
    """Keeps the newest revision alone, as one of many changes does those of last year."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.kept = store.kept

    async def revisions(self, model: str) -> tuple[Document, ...]:
        return (await super().revisions(model))[:1]


def test_an_operator_who_takes_the_pinned_version_out_is_followed() -> None:
    async def scene(one: Steered) -> None:
        for state in (Unloading(), UNLOADED):
            one.inventory.have("m", "2", state)
            await one.inventory.adopt()
            assert pinned(one) == (2, "1")
        assert one.audit.told()[-1] == (
            "the gateway",
            "first_sight",
            1,
            2,
            "version 2 was taken out",
        )

    steered(scene)


def test_what_a_person_wrote_stays_though_its_version_is_taken_out() -> None:
    async def scene(one: Steered) -> None:
        await one.put()
        one.inventory.have("m", "1", UNLOADED)
        await one.inventory.adopt()
        assert pinned(one) == (2, "1")

    steered(scene)


def test_without_a_store_there_is_no_document_until_it_can_be_asked() -> None:
    async def scene(one: Steered) -> None:
        one.store.is_away = True
        one.inventory.have("n", "1", Ready())
        await one.inventory.adopt()
        assert pinned(one, "n") is None
        (view,) = (view for view in one.inventory.register.views() if view.model == "n")
        assert (view.state, view.is_default) == ("READY", False)
        await asyncio.sleep(10.0)
        assert pinned(one, "n") is None
        one.store.is_away = False
        await asyncio.sleep(2.0)
        assert pinned(one, "n") == (1, "1")

    steered(scene)


def test_a_model_whose_document_is_rotten_has_none_and_others_have_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = Steered()
    made.store.unread["n"] = "n/0000000001.json is torn"
    made.inventory.have("n", "1", Ready())

    async def scene(one: Steered) -> None:
        await asyncio.sleep(10.0)
        one.inventory.register.touch("n")
        await one.inventory.adopt()
        assert (pinned(one), pinned(one, "n")) == ((1, "2"), None)
        with pytest.raises(NotReady, match="torn"):
            one.traffic.document("n")
        assert (one.traffic.trouble("m"), one.traffic.trouble("n")) == (
            None,
            "n/0000000001.json is torn",
        )
        (view,) = (view for view in one.inventory.register.views() if view.model == "n")
        assert (view.is_default, view.reason) == (
            False,
            "no routing document: n/0000000001.json is torn",
        )

    steered(scene, made)
    assert [one for one in caplog.messages if "torn" in one] == [
        "'n' has no routing document: n/0000000001.json is torn"
    ]


def test_a_store_that_is_away_holds_up_no_other_model() -> None:
    class Half(MemoryStore):
        """Takes everything but what is about `a` and `b`."""

        async def write(self, document: Document) -> None:
            self.is_away = document.model in ("a", "b")
            await super().write(document)
            self.is_away = False

    made = Steered(Half())
    for model in ("a", "b", "n"):
        made.inventory.have(model, "1", Ready())

    async def scene(one: Steered) -> None:
        await asyncio.sleep(3.0)
        found = [pinned(one, model) for model in ("a", "b", "m", "n")]
        assert found == [None, None, (1, "2"), (1, "1")]

    steered(scene, made)


class Slow(MemoryStore):
    """Takes a second to be away, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def write(self, document: Document) -> None:
        self.asked += 1
        await asyncio.sleep(1.0)
        await super().write(document)


def test_a_store_that_is_away_is_asked_once_for_all_that_is_to_be_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Slow()
    made = Steered(store)

    async def scene(one: Steered) -> None:
        store.is_away, store.asked = True, 0
        began = asyncio.get_running_loop().time()
        for number in range(6):
            one.inventory.have(f"n{number}", "1", Ready())
        for _ in range(3):
            await one.inventory.adopt()
        assert asyncio.get_running_loop().time() - began == 1.0
        assert store.asked == 1
        states = {view.model: view.state for view in one.inventory.register.views()}
        assert set(states.values()) == {"READY"}
        await asyncio.sleep(60.0)
        assert store.asked > 10
        store.is_away = False
        await asyncio.sleep(20.0)
        assert [pinned(one, f"n{number}") for number in range(6)] == [(1, "1")] * 6

    steered(scene, made)
    assert len([one for one in caplog.messages if "cannot be written" in one]) == 1


def test_an_error_that_nobody_foresaw_ends_no_retrying(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(MemoryStore):
        faults = 0

        async def write(self, document: Document) -> None:
            if self.faults:
                self.faults -= 1
                raise RuntimeError("unheard of")
            await super().write(document)

    store = Odd()

    async def scene(one: Steered) -> None:
        store.is_away = True
        one.inventory.have("n", "1", Ready())
        await one.inventory.adopt()
        store.is_away, store.faults = False, 2
        await asyncio.sleep(10.0)
        assert pinned(one, "n") == (1, "1")

    steered(scene, Steered(store))
    assert caplog.text.count("RuntimeError: unheard of") == 2


def test_what_becomes_ready_while_the_store_is_waited_for_is_seen_before_the_table_is_made() -> (
    None
):
    class Late(MemoryStore):
        """While it writes `a`, `b` becomes ready."""

        async def write(self, document: Document) -> None:
            if document.model == "a":
                made.inventory.have("b", "1", Ready())
            await super().write(document)

    made = Steered(Late())
    made.inventory.have("a", "1", Ready())

    async def scene(one: Steered) -> None:
        assert one.inventory.published[0] == {"a": 1, "b": 1, "m": 1}

    steered(scene, made)


def test_a_publish_that_was_given_up_leaves_nothing_unseen() -> None:
    async def scene(one: Steered) -> None:
        one.store.gate = asyncio.Event()
        one.inventory.have("n", "1", Ready())
        adopting = asyncio.create_task(one.inventory.adopt())
        await asyncio.sleep(1.0)
        adopting.cancel()
        await asyncio.gather(adopting, return_exceptions=True)
        one.store.gate.set()
        await one.inventory.adopt()
        assert pinned(one, "n") == (1, "1")

    steered(scene)


def test_a_model_that_changes_whenever_it_is_looked_at_holds_up_no_publish() -> None:
    class Restless(MemoryStore):
        async def write(self, document: Document) -> None:
            await super().write(document)
            made.inventory.have("m", str(10 + document.revision), Ready())

    made = Steered(Restless(), serves_new_versions=True)

    async def scene(one: Steered) -> None:
        assert one.inventory.published[0] == {"m": 3}
        await one.inventory.adopt()

    steered(scene, made)


def test_what_somebody_else_saw_first_is_followed() -> None:
    async def scene(one: Steered) -> None:
        theirs = kept(one.current(), model="n", changed_by="elsewhere")
        one.store.kept["n"] = [theirs]
        one.inventory.have("n", "1", Ready())
        one.inventory.have("n", "2", Ready())
        await one.inventory.adopt()
        await asyncio.sleep(0.1)
        assert one.inventory.document("n") == theirs

    steered(scene)
