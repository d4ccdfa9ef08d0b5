import asyncio
import threading
from pathlib import Path

import pytest

from gateway.supervise.documents.hand import Hand
from gateway.supervise.documents.store import Unreachable
from tests.server import WATCHDOG_S
from tests.supervise.documents.papers import during

PLACE = Path("state/routes")


def test_work_is_done_in_order_one_thing_at_a_time() -> None:
    done: list[int] = []
    threads: set[int] = set()

    def work(number: int) -> int:
        threads.add(threading.get_ident())
        done.append(number)
        return number

    async def scene() -> None:
        async with Hand(PLACE) as hand:
            works = [hand.work(lambda at=at: work(at)) for at in range(50)]  # type: ignore[misc]  # mypy takes no defaults of a lambda
            assert await asyncio.gather(*works) == list(range(50))

    during(scene)
    assert done == list(range(50))
    assert threads.isdisjoint({threading.get_ident()})
    assert len(threads) == 1


def test_leaving_waits_for_what_is_under_way_also_where_nobody_does_any_more() -> None:
    begun, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def slow() -> None:
        begun.set()
        assert may_end.wait(WATCHDOG_S)
        done.append("slow")

    async def scene() -> None:
        async with Hand(PLACE) as hand:
            working = asyncio.create_task(hand.work(slow))
            await asyncio.to_thread(begun.wait, WATCHDOG_S)
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
            asyncio.get_running_loop().call_later(0.05, may_end.set)
        assert done == ["slow"]

    during(scene)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), "state/routes: No space left on device"),
        (OSError(5, "Input/output error", "x/1.json"), "x/1.json: Input/output error"),
        (OSError("odd"), "state/routes: odd"),
    ],
)
def test_a_disk_that_fails_is_a_store_that_cannot_be_asked(error: OSError, expected: str) -> None:
    def fail() -> None:
        raise error

    async def scene() -> None:
        async with Hand(PLACE) as hand:
            with pytest.raises(Unreachable) as caught:
                await hand.work(fail)
            assert str(caught.value) == expected

    during(scene)
