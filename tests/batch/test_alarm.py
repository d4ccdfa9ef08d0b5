"""One timer for many deadlines: it rings at the earliest, and is rarely touched."""

import asyncio
import math
from collections.abc import Callable

import pytest

from gateway.batch.alarm import Alarm
from tests.clock import Stuck, play
from tests.fakes import now


def rings(scene: Callable[[Alarm], None], for_s: float = 100.0) -> list[float]:
    """Return when an alarm rings that is used as the scene says, at the start of time."""

    async def run() -> list[float]:
        heard: list[float] = []
        alarm = Alarm(lambda: heard.append(now()), now)
        scene(alarm)
        await asyncio.sleep(for_s)
        return heard

    return play(run)


def test_it_rings_once_at_its_deadline() -> None:
    assert rings(lambda alarm: alarm.set(3.0)) == [3.0]


def test_an_earlier_deadline_takes_the_place_of_a_later_one() -> None:
    def scene(alarm: Alarm) -> None:
        alarm.set(3.0)
        alarm.set(2.0)
        assert alarm.due == 2.0

    assert rings(scene) == [2.0]


@pytest.mark.parametrize("later", [3.0, 4.0, math.inf])
def test_a_later_deadline_changes_nothing(later: float) -> None:
    def scene(alarm: Alarm) -> None:
        alarm.set(3.0)
        alarm.set(later)
        assert alarm.due == 3.0

    assert rings(scene) == [3.0]


def test_it_is_never_set_for_the_end_of_time() -> None:
    assert rings(lambda alarm: alarm.set(math.inf)) == []


@pytest.mark.parametrize("deadline", [-5.0, 0.0, 0.001])
def test_deadlines_that_have_passed_share_a_ring_soon(deadline: float) -> None:
    """A storm of hopeless deadlines may not become a storm of rings."""
    (at,) = rings(lambda alarm: alarm.set(deadline))
    assert at == pytest.approx(0.005)


def test_a_cancelled_alarm_never_rings() -> None:
    def scene(alarm: Alarm) -> None:
        alarm.set(3.0)
        alarm.cancel()
        alarm.cancel()

    assert rings(scene) == []


def test_cancelling_one_that_is_not_set_is_no_error() -> None:
    assert rings(lambda alarm: alarm.cancel()) == []


def test_whoever_hears_it_may_set_it_anew() -> None:
    async def scene() -> list[float]:
        heard: list[float] = []

        def ring() -> None:
            heard.append(now())
            assert alarm.due == math.inf
            if len(heard) < 3:
                alarm.set(now() + 2.0)

        alarm = Alarm(ring, now)
        alarm.set(1.0)
        await asyncio.sleep(100.0)
        return heard

    assert play(scene) == [1.0, 3.0, 5.0]


def test_after_a_ring_no_timer_is_left() -> None:
    async def scene() -> None:
        Alarm(lambda: None, now).set(1.0)
        await asyncio.sleep(2.0)
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        play(scene)


def test_rings_that_take_long_are_spaced_so_that_they_take_little_of_the_time() -> None:
    async def run() -> list[float]:
        heard: list[float] = []
        spent_s = 0.0

        def ring() -> None:
            nonlocal spent_s
            heard.append(now())
            spent_s += 0.05
            alarm.set(now())

        alarm = Alarm(ring, lambda: now() + spent_s)
        alarm.set(0.0)
        await asyncio.sleep(3.0)
        alarm.cancel()
        return heard

    first, *_ = heard = play(run)
    assert first == 0.005  # the shortest space
    assert len(heard) <= 4  # 50 ms each, a twentieth of the time at most
