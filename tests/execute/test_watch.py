"""Watch: who is killed for what runs in it, and when."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from math import inf

import pytest

from gateway.core.costs import Cost
from gateway.core.stalls import Look, Policy
from gateway.core.suspects import Loss
from gateway.execute.watch import Watch
from tests.clock import play
from tests.fakes import a_call, now

GRACE_S = Policy().grace_s
STUCK = Look("S", 0.0)


def starving() -> Iterator[Look]:
    """Get on a little between any two looks."""
    cpu_s = 0.0
    while True:
        cpu_s += 0.01
        yield Look("R", cpu_s)


class Stand:
    """A process that is watched: how it looks, and what it was killed for, and when."""

    def __init__(self, look: Callable[[], Look | None] = lambda: STUCK, **policy: float) -> None:
        self.kills: list[tuple[Loss, float]] = []
        self.looks: list[float] = []
        self._seen = look
        cost = Cost(0.01, 0.0)
        self.watch = Watch(cost, Policy(**policy), 1, self.look, self.kill, now)

    def look(self) -> Look | None:
        self.looks.append(round(now(), 6))
        return self._seen()

    def kill(self, why: Loss) -> None:
        self.kills.append((why, round(now(), 6)))

    def begin(self, *, rows: int = 1, deadline: float = inf, is_patient: bool = False) -> None:
        self.watch.begin([a_call(1, deadline=deadline)], rows, 0.0, is_patient)


def watched(scene: Callable[[Stand], Coroutine[object, object, None]], stand: Stand) -> Stand:
    async def whole() -> None:
        await scene(stand)
        await asyncio.sleep(100.0)

    play(whole)
    return stand


def test_a_batch_is_killed_a_little_after_the_last_of_its_deadlines() -> None:
    async def scene(stand: Stand) -> None:
        calls = [a_call(1, deadline=deadline) for deadline in (1.0, 5.0, 3.0)]
        stand.watch.begin(calls, 3, 0.0, is_patient=False)

    assert watched(scene, Stand(suspect_after_s=9.0)).kills == [("late", 5.0 + GRACE_S)]


@pytest.mark.parametrize(("rows", "expected"), [(1, 1.0), (100, 20.0)])
def test_a_batch_that_may_yet_end_by_itself_is_not_killed_though_nobody_waits(
    rows: int, expected: float
) -> None:
    """Under overload many a batch is a little too late."""

    async def scene(stand: Stand) -> None:
        stand.begin(rows=rows, deadline=0.01)

    assert watched(scene, Stand(suspect_after_s=60.0)).kills == [("late", expected)]


def test_a_batch_that_does_not_go_on_is_killed_long_before_its_deadline() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(deadline=60.0)

    assert watched(scene, Stand()).kills == [("stalled", 1.0)]


@pytest.mark.parametrize(("rows", "expected"), [(1, 1.0), (10, 2.0), (100, 20.0)])
def test_a_larger_batch_has_longer(rows: int, expected: float) -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(rows=rows)

    assert watched(scene, Stand()).kills == [("stalled", expected)]


def test_an_operator_may_say_how_long() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(rows=100)

    assert watched(scene, Stand(suspect_after_s=0.25)).kills == [("stalled", 0.25)]


def test_a_patient_batch_has_until_its_deadline() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(deadline=50.0, is_patient=True)

    stand = watched(scene, Stand())
    assert stand.kills == [("late", 50.0 + GRACE_S)]
    assert stand.looks == []


def test_a_patient_batch_without_a_deadline_is_never_killed() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(is_patient=True)

    assert watched(scene, Stand()).kills == []


def test_a_starved_process_is_looked_at_again_until_the_deadline() -> None:
    looks = starving()

    async def scene(stand: Stand) -> None:
        stand.begin(deadline=3.5)

    stand = watched(scene, Stand(lambda: next(looks)))
    assert stand.looks == [1.0, 2.0, 3.0]
    assert stand.kills == [("late", 3.5 + GRACE_S)]


def test_a_process_that_loops_is_killed_when_it_has_computed_that_long() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin()

    stand = watched(scene, Stand(lambda: Look("R", 0.6 * now())))
    assert stand.looks == [1.0, 2.0]
    assert stand.kills == [("stalled", 2.0)]


def test_a_process_of_which_nothing_can_be_seen_has_stalled() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin()

    assert watched(scene, Stand(lambda: None)).kills == [("stalled", 1.0)]


def test_what_has_ended_is_watched_no_more() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(deadline=2.0)
        await asyncio.sleep(0.5)
        stand.watch.end(is_well=True)

    assert watched(scene, Stand()).kills == []


def test_the_timer_of_an_earlier_batch_serves_the_next_which_has_its_own_time() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(deadline=60.0)
        await asyncio.sleep(0.9)
        stand.watch.end(is_well=False)
        stand.begin(deadline=60.0)

    stand = watched(scene, Stand())
    assert stand.kills == [("stalled", 1.9)]


def test_a_batch_that_is_due_sooner_than_the_one_before_is_killed_in_time() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(rows=100, deadline=60.0)
        stand.watch.end(is_well=True)
        stand.begin(deadline=1.2)

    stand = watched(scene, Stand(suspect_after_s=30.0))
    assert stand.kills == [("late", round(1.2 + GRACE_S, 6))]


@pytest.mark.parametrize(("is_well", "expected"), [(True, 15.0), (False, 4.0)])
def test_one_that_took_long_and_went_well_gives_the_others_longer(
    is_well: bool, expected: float
) -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(is_patient=True)
        await asyncio.sleep(3.0)
        stand.watch.end(is_well=is_well)
        stand.begin()

    assert watched(scene, Stand()).kills == [("stalled", expected)]


def test_who_has_closed_kills_nobody() -> None:
    async def scene(stand: Stand) -> None:
        stand.begin(deadline=2.0)
        stand.watch.close()

    assert watched(scene, Stand()).kills == []
