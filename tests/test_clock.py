"""The jumping clock itself: tests that stand on it are only as true as it is."""

import asyncio
import time

import pytest

from tests.clock import Stuck, play


def test_an_hour_of_waiting_is_an_hour_by_the_loop_and_nothing_by_the_wall() -> None:
    async def scene() -> float:
        loop = asyncio.get_running_loop()
        before_s = loop.time()
        await asyncio.sleep(3600.0)
        return loop.time() - before_s

    started_s = time.monotonic()
    assert play(scene) == pytest.approx(3600.0)
    assert time.monotonic() - started_s < 3600.0


def test_timers_fire_in_the_order_of_their_time() -> None:
    async def scene() -> list[str]:
        heard: list[str] = []
        loop = asyncio.get_running_loop()
        loop.call_later(2.0, heard.append, "second")
        loop.call_later(1.0, heard.append, "first")
        await asyncio.sleep(3.0)
        return heard

    assert play(scene) == ["first", "second"]


def test_a_scene_that_nothing_will_wake_is_stuck_instead_of_hanging() -> None:
    async def scene() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        play(scene)


def test_each_scene_starts_at_zero() -> None:
    async def scene() -> float:
        now_s = asyncio.get_running_loop().time()
        await asyncio.sleep(5.0)
        return now_s

    assert [play(scene), play(scene)] == [0.0, 0.0]
