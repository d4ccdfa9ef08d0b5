"""Allotting: parts follow what replicas are asked for, and together are never more than ours."""

import asyncio
from collections.abc import Mapping
from typing import cast

import pytest

from gateway.control.messages import Shares, ToReplica
from gateway.core.quotas import WHOLE
from gateway.observe.memory import Memory
from gateway.observe.record import Record
from gateway.supervise.allotting import Allotting
from gateway.supervise.replica import Replica
from tests.clock import play
from tests.fakes import now

RATE = 100


class One:
    """A replica's memory, where it counts what it is asked for, and what it was told."""

    def __init__(self) -> None:
        self.memory = Memory.create()
        self.record = Record(self.memory.row(0))
        self.told: list[ToReplica] = []

    def send(self, message: ToReplica) -> None:
        self.told.append(message)

    @property
    def parts(self) -> Mapping[str, tuple[int | None, int]]:
        """What it was told last."""
        told = [one for one in self.told if isinstance(one, Shares)]
        return told[-1].parts if told else {}

    def part(self, name: str = "a") -> int:
        return self.parts[name][1]

    def ask(self, times: int, name: str = "a") -> None:
        place = self.parts[name][0]
        assert place is not None
        for _ in range(times):
            self.record.asked(place)


class Elsewhere:
    """Other hosts, as a test says they are."""

    def __init__(self, part: int = WHOLE) -> None:
        self.mine = part
        self.heard: list[Mapping[str, int]] = []

    def report(self, demands: Mapping[str, int]) -> None:
        self.heard.append(dict(demands))

    def part(self, name: str) -> int:
        return self.mine


class Scene:
    def __init__(self, *told: str) -> None:
        self.seconds = 0.0
        self.allotting = Allotting(lambda: self.seconds)
        self.hosts = Elsewhere()
        self.allotting.introduce(self.hosts)
        self.allotting.adopt(told or [f"a:{RATE}:10"])

    def born(self) -> One:
        one = One()
        self.allotting.began(cast("Replica", one))
        return one

    def end(self, one: One) -> None:
        self.allotting.ended(cast("Replica", one))
        one.memory.close()

    def pass_seconds(self, count: int, asked: Mapping[One, int]) -> None:
        """Let seconds go by in each of which replicas are asked so often."""
        for _ in range(count):
            self.seconds += 1
            for one, times in asked.items():
                one.ask(times)
            self.allotting.look()


def test_the_only_replica_gives_out_the_whole() -> None:
    scene = Scene()
    one = scene.born()
    assert one.parts == {"a": (0, WHOLE)}
    scene.pass_seconds(5, {one: 3 * RATE})
    assert one.part() == WHOLE
    assert len(one.told) == 1  # nothing has changed, and nothing is said


def test_replicas_that_nobody_asks_have_equal_parts() -> None:
    scene = Scene()
    both = scene.born(), scene.born()
    assert [one.part() for one in both] == [WHOLE // 2] * 2


def test_parts_follow_the_load_and_come_back() -> None:
    scene = Scene()
    one, other = scene.born(), scene.born()
    scene.pass_seconds(10, {one: 90, other: 10})
    assert one.part() > 900_000 - 3000
    assert one.part() + other.part() == WHOLE
    scene.pass_seconds(10, {one: 10, other: 90})
    assert other.part() > 900_000 - 3000
    scene.pass_seconds(25, {})
    assert [one.part(), other.part()] == [WHOLE // 2] * 2


@pytest.mark.parametrize("asked", [(10, 0, 0), (1000, 1000, 1000), (1000, 10, 0), (95, 0, 0)])
def test_parts_are_together_no_more_than_this_hosts(asked: tuple[int, ...]) -> None:
    scene = Scene()
    scene.hosts.mine = 400_000
    three = [scene.born() for _ in range(3)]
    scene.pass_seconds(8, dict(zip(three, asked, strict=True)))
    parts = [one.part() for one in three]
    assert 400_000 - 3 <= sum(parts) <= 400_000
    assert min(parts) > 0


def test_other_hosts_hear_what_this_one_is_asked_for() -> None:
    scene = Scene("a:100:1", "b:10:1")
    one, other = scene.born(), scene.born()
    for _ in range(12):
        one.ask(5, "b")
        scene.pass_seconds(1, {one: 20, other: 30})
    assert scene.hosts.heard[-1]["a"] == pytest.approx(WHOLE // 2, rel=1e-3)
    assert scene.hosts.heard[-1]["b"] == pytest.approx(WHOLE // 2, rel=1e-3)


def test_another_part_of_this_host_is_passed_on() -> None:
    scene = Scene()
    one = scene.born()
    scene.hosts.mine = WHOLE // 4
    scene.pass_seconds(1, {})
    assert one.part() == WHOLE // 4


def test_a_new_replica_is_told_before_anything_else_and_the_others_give_way() -> None:
    scene = Scene()
    one = scene.born()
    scene.pass_seconds(5, {one: 50})
    other = scene.born()
    assert isinstance(other.told[0], Shares)
    assert other.part() > 0
    assert one.part() + other.part() == WHOLE


def test_the_part_of_one_that_ended_goes_to_the_others() -> None:
    scene = Scene()
    one, other = scene.born(), scene.born()
    scene.end(one)
    assert other.part() == WHOLE
    scene.end(one)  # a second word means nothing


def test_what_one_counted_that_ended_is_counted_still() -> None:
    scene = Scene()
    one, other = scene.born(), scene.born()
    one.ask(7)
    one.record.over(0)
    other.ask(3)
    assert scene.allotting.counts() == {"a": (10, 1)}
    scene.end(one)
    assert scene.allotting.counts() == {"a": (10, 1)}
    other.ask(1)
    assert scene.allotting.counts() == {"a": (11, 1)}


def test_another_quota_of_a_name_keeps_its_place_and_a_new_name_has_another() -> None:
    scene = Scene("a:100:1", "b:1:1")
    old = scene.born()
    scene.allotting.adopt(["c:5:1", "a:7:1"])
    new = scene.born()
    assert {name: place for name, (place, _) in new.parts.items()} == {"c": 2, "a": 0}
    assert old.parts.keys() == {"c", "a"}
    old.ask(2)
    new.ask(3)
    assert scene.allotting.counts() == {"a": (5, 0), "b": (0, 0), "c": (0, 0)}


def test_names_beyond_the_places_are_shared_evenly_and_not_counted() -> None:
    scene = Scene(*(f"n{number}:1:1" for number in range(1000)))
    one = scene.born()
    scene.allotting.adopt(["late:5:1"])
    assert one.parts == {"late": (None, WHOLE)}
    scene.pass_seconds(1, {})
    assert "late" not in scene.allotting.counts()


def test_without_quotas_nobody_is_told_anything() -> None:
    scene = Scene()
    scene.allotting.adopt([])
    one = scene.born()
    scene.pass_seconds(3, {})
    assert one.told == []


def test_it_looks_once_a_second_for_as_long_as_it_is_open() -> None:
    async def scene() -> tuple[int, int]:
        allotting = Allotting(now)
        hosts = Elsewhere()
        allotting.introduce(hosts)
        async with allotting:
            await asyncio.sleep(3.5)
        count = len(hosts.heard)
        await asyncio.sleep(5)
        return count, len(hosts.heard)

    assert play(scene) == (3, 3)
