"""Breakers: all replicas are asked at once, and nobody waits long for one that is silent."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar, cast

from gateway.control.messages import (
    Hello,
)
from gateway.control.reports import BreakerTold, Report, Reported
from gateway.supervise.breakers import Breakers, BreakersView
from gateway.supervise.replica import Phase, Replica
from tests.clock import play
from tests.fakes import now
from tests.supervise.fakes import FakeReplica

T = TypeVar("T")


def told(model: str, version: str = "1", executor: str = "thread") -> BreakerTold:
    return BreakerTold(model, version, executor, "CLOSED", 1.0, 0, 0.0, 0.0, 2.0)


class Scene:
    """Two replicas that serve, and one that is starting."""

    def __init__(self) -> None:
        self.breakers = Breakers()
        self.replicas = [
            FakeReplica(Hello(slot, 3, "{}"), lambda *_: None, slot) for slot in (1, 0, 2)
        ]
        for one in self.replicas:
            one.phase = Phase.STARTING if one.slot == 2 else Phase.SERVING
            self.breakers.began(cast("Replica", one))

    def say(self, at: int, *some: BreakerTold, ticket: int = 1) -> None:
        self.breakers.hear(cast("Replica", self.replicas[at]), Reported(ticket, some))


def asked(
    scene: Callable[[Scene], Coroutine[object, object, None]],
) -> tuple[BreakersView, float, Scene]:
    """Return what came of a question during which the scene plays, when it came, and the scene."""

    async def run() -> tuple[BreakersView, float, Scene]:
        made = Scene()
        asking = asyncio.create_task(made.breakers.ask())
        await asyncio.sleep(0)
        await scene(made)
        return await asking, now(), made

    return play(run)


def test_all_that_serve_are_asked_and_their_answers_are_in_order() -> None:
    async def scene(made: Scene) -> None:
        assert [one.told for one in made.replicas] == [[Report(1)], [Report(1)], []]
        made.say(0, told("n"), told("m", executor="inline"))
        made.say(1, told("m"), told("m", executor="inline"))

    view, at_s, _ = asked(scene)
    found = [(one.told.model, one.told.executor, one.replica) for one in view.breakers]
    assert found == [("m", "inline", 0), ("m", "inline", 1), ("m", "thread", 0), ("n", "thread", 1)]
    assert (view.silent, at_s) == ((), 0.0)


def test_one_that_is_silent_is_named_after_a_second() -> None:
    async def scene(made: Scene) -> None:
        made.say(1, told("m"))

    view, at_s, _ = asked(scene)
    assert ([one.told for one in view.breakers], view.silent, at_s) == ([told("m")], (1,), 1.0)


def test_one_that_ends_is_waited_for_no_more() -> None:
    async def scene(made: Scene) -> None:
        made.say(1, told("m"))
        made.breakers.ended(cast("Replica", made.replicas[0]))

    view, at_s, _ = asked(scene)
    assert (len(view.breakers), view.silent, at_s) == (1, (), 0.0)


def test_an_answer_that_comes_too_late_belongs_to_no_other_question() -> None:
    async def scene(made: Scene) -> None:
        await asyncio.sleep(1.5)
        made.say(0, told("late"))
        again = asyncio.create_task(made.breakers.ask())
        await asyncio.sleep(0)
        made.say(0, told("late"))
        made.say(0, told("m"), ticket=2)
        made.say(0, told("twice"), ticket=2)
        made.say(1, told("m"), ticket=2)
        view = await again
        assert {one.told.model for one in view.breakers} == {"m"}

    view, _, _ = asked(scene)
    assert (view.breakers, view.silent) == ((), (0, 1))


def test_with_no_replica_there_is_nothing_to_wait_for() -> None:
    async def run() -> tuple[BreakersView, float]:
        return await Breakers().ask(), now()

    assert play(run) == (BreakersView((), ()), 0.0)
