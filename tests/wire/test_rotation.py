"""Rotation: a turn of the loop is short, and whoever waits for the next one is read in it."""

import asyncio
from collections.abc import Callable

from gateway.wire.rotation import Rotation
from tests.clock import play


class Clock:
    """Stands still unless somebody is read, which takes a while."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reading:
    """Connections that wait, each of which takes 15 ms to read; `turns`: who in which."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.rotation = Rotation(self.clock)
        self.turns: list[list[int]] = []

    def lengthen(self) -> None:
        """Let a turn be seen to be long."""
        self.rotation.look(self.clock.now)
        self.clock.now = self.rotation.look_at
        self.rotation.look(self.clock.now)

    def wait(self, *numbers: int) -> None:
        for number in numbers:
            self.rotation.wait(self._reader(number))

    async def turn(self, takes_s: float = 0.0) -> None:
        self.clock.now += takes_s
        self.turns.append([])
        await asyncio.sleep(0)

    def _reader(self, number: int) -> Callable[[], None]:
        def read() -> None:
            self.turns[-1].append(number)
            self.clock.now += 0.015
            if self.clock.now >= self.rotation.look_at:
                self.rotation.look(self.clock.now)  # as whoever reads does

        return read


def test_turns_that_end_soon_are_not_long_however_many_they_are() -> None:
    async def scene() -> None:
        one = Reading()
        for _ in range(10):
            if one.clock.now >= one.rotation.look_at:
                one.rotation.look(one.clock.now)
            await one.turn(takes_s=0.04)
            assert not one.rotation.is_long

    play(scene)


def test_a_turn_is_long_when_it_has_not_ended_a_quantum_after_somebody_looked() -> None:
    async def scene() -> None:
        one = Reading()
        one.rotation.look(one.clock.now)
        seen = [one.rotation.is_long]
        one.clock.now = one.rotation.look_at
        one.rotation.look(one.clock.now)
        seen.append(one.rotation.is_long)
        await one.turn()
        assert [*seen, one.rotation.is_long] == [False, True, False]

    play(scene)


def test_what_is_read_in_a_long_turn_may_have_come_since_the_turn_before() -> None:
    async def scene() -> None:
        one = Reading()
        began = one.clock.now
        one.lengthen()
        assert one.rotation.since == began
        one.wait(*range(6))
        ended = one.clock.now
        await one.turn()
        assert (one.rotation.is_long, one.rotation.since) == (True, ended)

    play(scene)


def test_of_those_who_wait_each_turn_reads_what_it_has_time_for_the_first_first() -> None:
    async def scene() -> None:
        one = Reading()
        one.lengthen()
        one.wait(*range(6))
        seen = []
        for _ in range(3):
            await one.turn()
            seen.append(one.rotation.is_long)
        assert one.turns == [[0, 1, 2, 3], [4, 5], []]
        assert seen == [True, False, False], "a turn is long for as long as anybody waits"

    play(scene)


def test_where_the_first_has_waited_as_in_an_overload_the_newest_is_read() -> None:
    async def scene() -> None:
        one = Reading()
        one.lengthen()
        one.wait(1, 2, 3)
        one.clock.now += 0.11
        one.wait(4, 5)
        await one.turn()
        assert one.turns == [[5, 4, 3, 2]]

    play(scene)


def test_nobody_is_deaf_when_a_reading_fails() -> None:
    async def scene() -> None:
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: faults.append(told))
        one = Reading()
        one.lengthen()
        one.rotation.wait(lambda: 1 / 0)  # type: ignore[arg-type]  # never returns
        one.wait(1)
        for _ in range(2):
            await one.turn()
        assert (one.turns, len(faults), one.rotation.is_long) == ([[], [1]], 1, False)

    play(scene)


def test_who_has_waited_for_a_second_is_read_before_all() -> None:
    async def scene() -> None:
        one = Reading()
        one.lengthen()
        one.wait(1)
        one.clock.now += 0.5
        one.wait(2)
        one.clock.now += 0.5
        one.wait(3, 4)
        await one.turn()
        assert one.turns == [[1, 4, 3, 2]]

    play(scene)
