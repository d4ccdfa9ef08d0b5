import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.control.messages import Entry, Forget, Retire, Table
from gateway.supervise.fleet import Fleet
from gateway.supervise.overseer import Policy
from tests.clock import play
from tests.supervise.fakes import FakeReplica, Notes, Stable, assigned, is_withdrawn

TABLE = Table(1, {"m": Entry("1", {"1": "aa"})})
SETTLED_S = 20.0  # beyond every backoff


class Scene:
    def __init__(self, slots: int, **policy: float) -> None:
        self.stable = Stable()
        self.notes = Notes()
        quiet = {"heartbeat_timeout_s": 1e9} | policy
        self.fleet = Fleet(
            [None] * slots,  # type: ignore[list-item]  # handed on, never looked at
            Policy(**quiet),
            self.notes,
            self.stable.spawn,
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Scene"]:
        async with self.fleet:
            await self.fleet.start()
            yield self

    def taken(self) -> list[int]:
        """Every slot that somebody alive accepts from, as often as it is."""
        return sorted(slot for one in self.stable.alive for slot in one.accepting)


def test_every_slot_gets_a_replica_that_is_prepared_before_it_accepts() -> None:
    async def scene() -> None:
        scene = Scene(2)
        await scene.fleet.prepare((assigned("aa", 1),))
        await scene.fleet.publish(TABLE)
        async with scene.opened():
            assert scene.taken() == [0, 1]
            for one in scene.stable.all:
                assert [found.proof.digest for found in one.prepared] == ["aa"]
                assert one.tables == [TABLE]
            assert [view.state for view in scene.fleet.views()] == ["serving", "serving"]
            assert scene.fleet.is_served()

    play(scene)


def test_a_dead_replicas_slot_is_covered_until_its_successor_stands() -> None:
    async def scene() -> None:
        async with Scene(3).opened() as scene:
            scene.stable.births[3] = {"is_deaf": True}
            scene.stable.all[0].die(-9)
            await asyncio.sleep(SETTLED_S)
            assert scene.taken() == [0, 1, 2]
            assert len(scene.stable.alive) == 3  # the deaf successor does not stand yet
            scene.stable.all[3].die(-9)
            await asyncio.sleep(SETTLED_S)
            assert scene.taken() == [0, 1, 2]
            assert scene.stable.all[4].accepting == {0}
        assert scene.notes.ends[:2] == [(0, -9), (3, -9)]
        assert [view.restarts for view in scene.fleet.views()] == []

    play(scene)


def test_a_cover_that_dies_is_replaced_by_the_next() -> None:
    async def scene() -> None:
        async with Scene(3).opened() as scene:
            scene.stable.births |= {3: {"is_deaf": True}, 4: {"is_deaf": True}}
            scene.stable.all[0].die(-9)
            await asyncio.sleep(SETTLED_S)
            [cover] = [one for one in scene.stable.alive if 0 in one.accepting]
            cover.die(-11)
            await asyncio.sleep(SETTLED_S)
            assert scene.taken() == [0, 1, 2]

    play(scene)


def test_a_replica_is_replaced_only_after_its_successor_stands_and_sees_its_callers_off() -> None:
    async def scene() -> None:
        async with Scene(2).opened() as scene:
            await scene.fleet.replace()
            await asyncio.sleep(1)
            old, new = scene.stable.all[:2], scene.stable.all[2:]
            for one in old:
                assert any(isinstance(message, Retire) for message in one.told)
                assert not one.is_alive
            assert [one.accepting for one in new] == [{0}, {1}]
            assert scene.fleet.is_served()
        assert scene.notes.ends[:2] == [(0, 0), (1, 0)]

    play(scene)


def test_a_successor_that_cannot_stand_leaves_the_old_one_where_it_is() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            scene.stable.cannot_start = 1
            await scene.fleet.replace()
            assert scene.stable.all[0].accepting == {0}
            assert len(scene.stable.all) == 1

    play(scene)


def test_a_replica_that_dies_while_it_is_replaced_is_not_replaced_twice() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            replacing = asyncio.create_task(scene.fleet.replace())
            await asyncio.sleep(0)
            scene.stable.all[0].die(-9)
            await replacing
            await asyncio.sleep(SETTLED_S)
            assert scene.taken() == [0]
            assert len(scene.stable.all) == 2

    play(scene)


def test_a_retired_replica_that_will_not_go_is_killed() -> None:
    async def scene() -> None:
        async with Scene(1, drain_timeout_s=5).opened() as scene:
            scene.stable.all[0].lingers = True
            await scene.fleet.replace()
            await asyncio.sleep(6)
            assert scene.stable.all[0].is_alive
            await asyncio.sleep(2)
            assert scene.stable.all[0].kill_reason == "it did not retire within 5 s"

    play(scene)


def test_what_one_replica_refuses_is_forgotten_by_all() -> None:
    async def scene() -> None:
        async with Scene(2).opened() as scene:
            scene.stable.all[1].refuses = {"bb": "no memory"}
            refused = await scene.fleet.prepare((assigned("aa", 1), assigned("bb", 2)))
            assert refused == {"bb": "no memory"}
            for one in scene.stable.all:
                assert [found.row for found in one.prepared] == [1]
            scene.stable.all[0].die(-9)
            await asyncio.sleep(SETTLED_S)
            assert [found.row for found in scene.stable.all[2].prepared] == [1]

    play(scene)


def test_a_replica_that_comes_up_during_a_load_is_prepared_for_it_as_well() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            scene.stable.all[0].die(-9)
            await asyncio.sleep(0.001)
            loading = asyncio.create_task(scene.fleet.prepare((assigned("aa", 1),)))
            await asyncio.sleep(SETTLED_S)
            assert await loading == {}
            await scene.fleet.publish(TABLE)
            assert {found.row for found in scene.stable.all[1].prepared} == {1}
            assert scene.stable.all[1].tables[-1] == TABLE

    play(scene)


def test_a_new_replica_that_cannot_load_what_is_served_serves_the_rest_and_tries_again() -> None:
    async def scene() -> None:
        async with Scene(2).opened() as scene:
            await scene.fleet.prepare((assigned("aa", 1), assigned("bb", 2)))
            await scene.fleet.publish(Table(1, {"m": Entry("bb", {"aa": "aa", "bb": "bb"})}))
            scene.stable.births[2] = {"refuses": {"aa": "the file is gone"}}
            scene.stable.all[0].die(-9)
            await asyncio.sleep(0.5)
            lame = scene.stable.all[2]
            assert scene.taken() == [0, 1]
            assert scene.fleet.lacking() == {"aa": "replica 0 cannot load it: the file is gone"}
            assert scene.fleet.is_served("aa")  # by the other
            assert [one.proof.digest for one in lame.prepared] == ["bb"]
            told = len(lame.tables)
            lame.refuses = {}
            await asyncio.sleep(SETTLED_S)
            assert [one.proof.digest for one in lame.prepared] == ["bb", "aa"]
            assert len(lame.tables) == told + 1  # or its callers would not reach what it has now
            assert scene.fleet.lacking() == {}
        assert scene.notes.ends[0] == (0, -9)

    play(scene)


def test_who_lacks_something_tries_again_when_it_is_told_to() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            await scene.fleet.prepare((assigned("aa", 1),))
            await scene.fleet.publish(TABLE)
            scene.stable.births[1] = {"refuses": {"aa": "the file is gone"}}
            scene.stable.all[0].die(-9)
            await asyncio.sleep(50)  # its own next attempt is half a minute away
            lame = scene.stable.all[1]
            told = len(lame.tables)
            assert await scene.fleet.mend() == {"aa": "replica 0 cannot load it: the file is gone"}
            assert [scene.fleet.is_served(one) for one in ("aa", None)] == [False, True]
            lame.refuses = {}
            assert await scene.fleet.mend() == {}
            assert scene.fleet.is_served("aa")
            assert [one.row for one in lame.prepared] == [1]
            assert len(lame.tables) == told + 2

    play(scene)


def test_nobody_is_replaced_by_one_that_has_less() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            await scene.fleet.prepare((assigned("aa", 1),))
            await scene.fleet.publish(TABLE)
            scene.stable.births[1] = {"refuses": {"aa": "the file is gone"}}
            await scene.fleet.replace()
            assert scene.stable.all[0].accepting == {0}
            assert (
                scene.stable.all[1].kill_reason == "it cannot load all that its predecessor serves"
            )
            await scene.fleet.replace()
            assert scene.stable.all[2].accepting == {0}

    play(scene)


def test_one_that_lacks_something_is_replaced_by_one_that_lacks_the_same() -> None:
    async def scene() -> None:
        scene = Scene(1)
        gone: dict[str, object] = {"refuses": {"aa": "the file is gone"}}
        scene.stable.births |= {0: gone, 1: gone}
        await scene.fleet.prepare((assigned("aa", 1),))
        await scene.fleet.publish(TABLE)
        async with scene.opened():
            await scene.fleet.replace()
            assert scene.stable.all[1].accepting == {0}

    play(scene)


def test_a_version_that_kills_a_replica_when_it_is_loaded_is_refused() -> None:
    async def scene() -> None:
        async with Scene(2).opened() as scene:
            scene.stable.all[1].dies_of = "bb"
            refused = await scene.fleet.prepare((assigned("aa", 1), assigned("bb", 2)))
            assert refused == {"bb": "a replica died while it was loaded"}
            await asyncio.sleep(SETTLED_S)
            assert scene.taken() == [0, 1]
            for one in scene.stable.alive:
                assert [found.row for found in one.prepared] == [1]
            assert len(scene.stable.all) == 3  # the successor was not told of it

    play(scene)


def test_a_replica_that_leaves_in_order_during_a_load_refuses_nothing() -> None:
    async def scene() -> None:
        async with Scene(2).opened() as scene:
            scene.stable.all[0].is_deaf = True
            loading = asyncio.create_task(scene.fleet.prepare((assigned("aa", 1),)))
            await asyncio.sleep(1)
            scene.stable.all[0].die(0)
            assert await loading == {}

    play(scene)


def test_what_is_unloaded_while_a_replica_starts_does_not_stay_in_it() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            await scene.fleet.prepare((assigned("aa", 1), assigned("bb", 2)))
            await scene.fleet.publish(Table(1, {"m": Entry("bb", {"aa": "aa", "bb": "bb"})}))
            scene.stable.births[1] = {"hangs_in": "bb"}
            scene.stable.all[0].die(-9)
            await asyncio.sleep(1)
            successor = scene.stable.all[1]
            assert [one.row for one in successor.prepared] == [1]
            await scene.fleet.publish(Table(2, {"m": Entry("bb", {"bb": "bb"})}))
            assert successor.told[-1] == Forget((1,))
            assert successor.prepared == []

    play(scene)


def arms(revision: int, **rows: int) -> Table:
    """A table in which version 1 has a row for each of its variants."""
    return Table(revision, {"m": Entry("1", {"1": "1"}, rows=rows)})


def test_an_arms_row_that_left_is_forgotten_by_who_has_not_published_and_by_nobody_else() -> None:
    """Who has published is told by the next table; who has not would keep the row for ever."""

    async def scene() -> None:
        async with Scene(1).opened() as scene:
            await scene.fleet.prepare((assigned("1", 1),))
            await scene.fleet.publish(arms(1, stable=2, canary=3))
            scene.stable.births[1] = {"hangs_in": "1"}
            scene.stable.births[2] = {}
            scene.stable.all[0].die(-9)
            await asyncio.sleep(1)
            starting = scene.stable.all[1]
            await scene.fleet.publish(arms(2, stable=4, canary=3))
            assert [one for one in starting.told if isinstance(one, Forget)] == [Forget((2,))]
            starting.woken.set_result(None)
            await asyncio.sleep(SETTLED_S)
            assert starting.tables == [arms(2, stable=4, canary=3)]
            await scene.fleet.publish(arms(3, stable=4))
            assert [one for one in starting.told if isinstance(one, Forget)] == [Forget((2,))]

    play(scene)


def test_what_was_forgotten_meanwhile_is_not_loaded_by_a_replica_that_starts() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            await scene.fleet.prepare((assigned("aa", 1), assigned("bb", 2)))
            scene.stable.births[1] = {"hangs_in": "aa"}
            scene.stable.all[0].die(-9)
            await asyncio.sleep(1)
            successor = scene.stable.all[1]
            scene.fleet.forget([2])
            successor.woken.set_result(None)
            await asyncio.sleep(SETTLED_S)
            assert successor.accepting == {0}
            assert Forget((2,)) in successor.told
            assert [one.row for one in successor.prepared] == [1]

    play(scene)


def test_a_replica_that_cannot_accept_does_not_stand() -> None:
    async def scene() -> None:
        scene = Scene(1)
        scene.stable.births[0] = {"cannot_accept": True}
        async with scene.opened():
            assert scene.stable.all[0].kill_reason == "it cannot accept connections"
            await asyncio.sleep(SETTLED_S)
            assert scene.stable.all[1].accepting == {0}

    play(scene)


def test_a_replica_that_starts_after_the_withdrawal_is_withdrawn_too() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            scene.fleet.withdraw()
            scene.stable.all[0].die(-9)
            await asyncio.sleep(SETTLED_S)
            assert is_withdrawn(scene.stable.all[1])

    play(scene)


def test_replacements_do_not_pile_up() -> None:
    """Whoever was replaced may have callers to see off; the next waits for it to be gone."""

    async def scene() -> None:
        async with Scene(2, drain_timeout_s=30).opened() as scene:
            for one in scene.stable.all:
                one.lingers = True
            await scene.fleet.replace()
            again = asyncio.create_task(scene.fleet.replace())
            await asyncio.sleep(1)
            assert len(scene.stable.alive) == 4
            scene.stable.all[0].die(0)
            await asyncio.sleep(1)
            assert len(scene.stable.all) == 5
            scene.stable.all[1].die(0)
            await again
            assert len(scene.stable.all) == 6

    play(scene)


def test_nobody_is_started_when_the_slots_are_about_to_be_closed() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            scene.fleet.start_no_more()
            scene.stable.all[0].die(-9)
            await asyncio.sleep(SETTLED_S)
            await scene.fleet.replace()
            assert len(scene.stable.all) == 1

    play(scene)


def test_a_silent_replica_is_killed_and_one_that_never_spoke_has_its_start_time() -> None:
    async def scene() -> None:
        # the fakes' clock stands at 1 ns: to real nanoseconds they are silent for ages
        async with Scene(1, heartbeat_timeout_s=2.0).opened() as scene:
            await asyncio.sleep(0.3)
            reason = scene.stable.all[0].kill_reason
            assert reason is not None
            assert "did not turn" in reason

    play(scene)


def test_a_version_that_takes_for_ever_to_load_is_refused_and_costs_no_caller() -> None:
    """Those that hang in it serve until their successors stand."""

    async def scene() -> None:
        async with Scene(2, prepare_timeout_s=10).opened() as scene:
            old = list(scene.stable.all)
            for one in old:
                one.hangs_in = "aa"
            refused = await scene.fleet.prepare((assigned("aa", 1),))
            assert refused == {"aa": "it was not loaded within 10 s"}
            await asyncio.sleep(SETTLED_S)
            assert [one.kill_reason for one in old] == [None, None]
            assert [one.was_told_to_end for one in old] == [True, True]
            assert scene.taken() == [0, 1]

    play(scene)


def test_a_replica_that_hangs_in_a_model_while_it_starts_is_killed_for_it() -> None:
    async def scene() -> None:
        scene = Scene(1, prepare_timeout_s=10)
        await scene.fleet.prepare((assigned("aa", 1),))
        scene.stable.births[0] = {"hangs_in": "aa"}
        async with scene.opened():
            assert scene.stable.all[0].kill_reason == "it was not loaded within 10 s"
            assert scene.stable.all[0].was_silent

    play(scene)


def test_a_drain_ends_everybody_in_order_and_nobody_is_started_again() -> None:
    async def scene() -> None:
        async with Scene(2).opened() as scene:
            scene.fleet.withdraw()
            assert all(is_withdrawn(one) for one in scene.stable.all)
            await scene.fleet.drain(5)
            await asyncio.sleep(SETTLED_S)
            assert scene.stable.alive == []
            assert len(scene.stable.all) == 2
            assert [code for _, code in scene.notes.ends] == [0, 0]
            assert not scene.fleet.is_served()

    play(scene)


def test_a_second_drain_hurries_the_first() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            scene.stable.all[0].lingers = True
            loop = asyncio.get_running_loop()
            draining = asyncio.create_task(scene.fleet.drain(100))
            await asyncio.sleep(1)
            await scene.fleet.drain(0)
            assert loop.time() < 5
            await draining
            assert scene.stable.alive == []

    play(scene)


def test_leaving_kills_what_is_left() -> None:
    async def scene() -> list[FakeReplica]:
        async with Scene(2).opened() as scene:
            pass
        return scene.stable.all

    assert [one.kill_reason for one in play(scene)] == ["the supervisor ended"] * 2
