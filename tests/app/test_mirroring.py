"""Mirroring: a shadow is asked from what nobody else in the replica has a use for."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack

import pytest

from gateway.app.mirroring import open_mirror
from gateway.app.opened import Opened
from gateway.batch.batcher import Batcher, Busy
from gateway.control.messages import Disagreed
from gateway.core.batching import Policy
from gateway.core.documents import WHOLE_BP, Document, Shadow, Variant
from gateway.observe.counts import read
from gateway.observe.layout import SHADOW_NAMES
from gateway.observe.record import Record
from gateway.route.mirror import Mirror
from gateway.types import Version
from tests.fakes import TWICE, FakeModel, a_call, a_record, a_row, now

SHADOW = Shadow("next", "3", 1.0)
DOCUMENT = Document("twice", 7, (Variant("stable", "1", WHOLE_BP),), (SHADOW,))
LONG_S = 10.0
MOST_LOOKS = 3000


class Scene:
    """A shadow of a replica in which versions may be busy, and what is counted of it."""

    def __init__(self) -> None:
        self.busy: Busy = set()
        self.row = a_row()
        self.worst: list[Disagreed] = []
        self.opened = self.open_version()
        self.mirror: Mirror = open_mirror(
            self.worst.append, self.busy, DOCUMENT, SHADOW, self.opened, Record(self.row)
        )

    def open_version(self, cost_s: float = 0.0) -> Opened:
        model = FakeModel(cost_s)
        return Opened(
            Version("twice", "3", TWICE.signature),
            lambda record: Batcher(model.run, Policy(max_rows=1), record, now, self.busy),
            a_record(),
            AsyncExitStack(),
            model.execute,
        )

    def tell(self, row: float, answer: float) -> None:
        call = a_call(row)
        call.answer(FakeModel().execute([a_call(answer / 2)]), 0, 1)
        self.mirror.offer(call)

    def counted(self) -> dict[str, int]:
        counted = zip(SHADOW_NAMES, read(self.row).shadowed, strict=True)
        return {name: calls for name, calls in counted if calls}

    async def until_counted(self, calls: int) -> None:
        for _ in range(MOST_LOOKS):
            if sum(self.counted().values()) >= calls:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("a shadow hangs")


def run(scene: Callable[[Scene], Coroutine[object, object, None]]) -> None:
    async def play() -> None:
        made = Scene()
        async with made.mirror:
            await scene(made)

    asyncio.run(play())


def test_what_a_shadow_says_is_counted_in_its_row_and_the_worst_is_told() -> None:
    async def scene(scene: Scene) -> None:
        scene.tell(1, 2)
        scene.tell(2, 5)
        await scene.until_counted(2)
        assert scene.counted() == {"agreed": 1, "disagreed": 1}
        (worst,) = scene.worst
        assert (worst.model, worst.revision, worst.shadow) == ("twice", 7, "next")
        assert worst.output == "y"
        assert (worst.told, worst.said) == ((5.0,), (4.0,))

    run(scene)


@pytest.mark.parametrize("calls", [1, 20])
def test_a_shadow_gives_way_to_whatever_runs_or_waits_in_the_replica(calls: int) -> None:
    """Whatever it is: here what asks for a version by its number, beside all arms."""

    async def scene(scene: Scene) -> None:
        other = scene.open_version(cost_s=LONG_S)
        asked = [a_call(row) for row in range(calls)]
        for call in asked:
            other.batcher.offer(call)
        scene.tell(1, 2)
        for _ in range(20):  # as often as it looks in this time, and more
            await asyncio.sleep(0.005)
        assert scene.counted() == {}
        assert scene.mirror.statistics().waiting == 1
        await other.close(0.0)
        await scene.until_counted(1)
        assert scene.counted() == {"agreed": 1}

    run(scene)
