import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.control.messages import Entry, Retire, Table
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


def test_a_new_replica_that_cannot_load_what_is_served_says_so_and_serves_the_rest() -> None:
    async def scene() -> None:
        async with Scene(1).opened() as scene:
            await scene.fleet.prepare((assigned("aa", 1),))
            await scene.fleet.publish(TABLE)
            scene.stable.births[1] = {"refuses": {"aa": "the file is gone"}}
            scene.stable.all[0].die(-9)
            await asyncio.sleep(SETTLED_S)
            assert scene.notes.losses == [("aa", "the file is gone")]
            assert scene.taken() == [0]

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


def test_a_version_that_takes_for_ever_to_load_costs_its_replica_not_the_fleet() -> None:
    async def scene() -> None:
        async with Scene(2, prepare_timeout_s=10).opened() as scene:
            scene.stable.all[0].is_deaf = True
            assert await scene.fleet.prepare((assigned("aa", 1),)) == {}
            assert scene.stable.all[0].kill_reason == "it did not load its models within 20 s"
            assert scene.stable.all[1].is_alive

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
