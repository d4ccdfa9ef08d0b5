"""Things that are done strictly one at a time."""

import asyncio

import pytest

from gateway.errors import Draining, Overloaded
from gateway.supervise.orders import Orders
from tests.clock import play


class Work:
    """Writes down when it begins and ends; takes a second."""

    def __init__(self) -> None:
        self.story: list[str] = []

    def order(self, name: str, error: Exception | None = None) -> "Work.Order":
        return Work.Order(self, name, error)

    class Order:
        def __init__(self, work: "Work", name: str, error: Exception | None) -> None:
            self.work, self.name, self.error = work, name, error

        async def __call__(self) -> None:
            self.work.story.append(f"{self.name} begins")
            await asyncio.sleep(1)
            if self.error is not None:
                raise self.error
            self.work.story.append(f"{self.name} ends")


def test_an_order_begins_when_the_one_before_has_ended() -> None:
    async def scene() -> None:
        orders, work = Orders(8), Work()
        async with asyncio.TaskGroup() as group:
            working = group.create_task(orders.work())
            await asyncio.gather(*(orders.give(work.order(name)) for name in "ab"))
            working.cancel()
        assert work.story == ["a begins", "a ends", "b begins", "b ends"]

    play(scene)


def test_a_failure_is_its_caller_s_alone() -> None:
    async def scene() -> None:
        orders, work = Orders(8), Work()
        async with asyncio.TaskGroup() as group:
            working = group.create_task(orders.work())
            with pytest.raises(ValueError, match="no"):
                await orders.give(work.order("a", ValueError("no")))
            await orders.give(work.order("b"))
            working.cancel()

    play(scene)


def test_the_failure_of_an_order_whose_caller_left_disturbs_nobody() -> None:
    async def scene() -> None:
        orders, work = Orders(8), Work()
        async with asyncio.TaskGroup() as group:
            working = group.create_task(orders.work())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await orders.give(work.order("a", ValueError("no")))
            await orders.give(work.order("b"))
            working.cancel()
        assert work.story == ["a begins", "b begins", "b ends"]

    play(scene)


def test_no_more_wait_than_may() -> None:
    async def scene() -> None:
        orders, work = Orders(1), Work()
        waiting = asyncio.create_task(orders.give(work.order("a")))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="1 changes"):
            await orders.give(work.order("b"))
        orders.close()
        with pytest.raises(Draining):
            await waiting

    play(scene)


def test_closing_fails_what_runs_what_waits_and_what_comes() -> None:
    async def scene() -> None:
        orders, work = Orders(8), Work()
        async with asyncio.TaskGroup() as group:
            working = group.create_task(orders.work())
            given = [asyncio.create_task(orders.give(work.order(name))) for name in "ab"]
            await asyncio.sleep(0.5)
            orders.close()
            working.cancel()
            outcomes = await asyncio.gather(*given, return_exceptions=True)
            with pytest.raises(Draining):
                await orders.give(work.order("c"))
        assert [type(one) for one in outcomes] == [Draining, Draining]
        assert work.story == ["a begins"]

    play(scene)
