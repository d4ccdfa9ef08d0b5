"""Pulse: the supervisor sees that the loop turns; the kernel waits a little longer."""

import asyncio
import time

import pytest

from gateway.app.pulse import Pulse
from gateway.observe.layout import CONNECTIONS, HEARTBEAT_NS
from gateway.observe.record import Record
from gateway.wire.port import Drain
from tests.app.stage import a_row
from tests.clock import play


class FakeDeadman:
    """Notes until when it was put off."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def renew(self, within_s: float) -> None:
        self.ends.append(asyncio.get_running_loop().time() + within_s)


class Beating:
    """A pulse that runs, before a drain of 30 s."""

    def __init__(self) -> None:
        self.row = a_row()
        self.deadman = FakeDeadman()
        self.drain = Drain(30.0, asyncio.get_running_loop().time)
        pulse = Pulse(Record(self.row), self.deadman, self.drain, lambda: 7)
        self.task = asyncio.create_task(pulse.keep())


def test_ten_times_a_second_the_row_shows_that_the_loop_turned() -> None:
    async def scene() -> None:
        before = time.monotonic_ns()
        beating = Beating()
        await asyncio.sleep(1.05)
        assert before <= beating.row[HEARTBEAT_NS] <= time.monotonic_ns()
        assert beating.row[CONNECTIONS] == 7
        assert len(beating.deadman.ends) == 11

    play(scene)


def test_the_deadman_waits_for_a_whole_drain_and_a_little_longer() -> None:
    async def scene() -> None:
        beating = Beating()
        await asyncio.sleep(1.0)
        assert beating.deadman.ends[0] == 40.0
        assert beating.deadman.ends[-1] == pytest.approx(1.0 + 40.0, abs=0.11)

    play(scene)


def test_a_drain_that_has_begun_is_not_put_off() -> None:
    async def scene() -> set[float]:
        beating = Beating()
        await asyncio.sleep(5.05)
        beating.drain.begin(10.0)
        beating.deadman.ends.clear()
        await asyncio.sleep(5.0)
        return {round(end, 6) for end in beating.deadman.ends}

    assert play(scene) == {5.05 + 10.0 + 2.0}


def test_a_drain_that_is_hurried_ends_sooner_for_the_deadman_too() -> None:
    async def scene() -> float:
        beating = Beating()
        beating.drain.begin(10.0)
        await asyncio.sleep(1.05)
        beating.drain.begin(1.0)
        await asyncio.sleep(0.5)
        return round(beating.deadman.ends[-1], 6)

    assert play(scene) == 1.05 + 1.0 + 2.0
