"""Opened: a loaded version runs where it was placed, and lets go of its model when closed."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from gateway.app.opened import Opened, open_version
from gateway.config import Config, parse_model
from gateway.config.bounds import bounds_of
from gateway.errors import Draining
from gateway.execute.session import Session
from gateway.repository.discover import discover
from gateway.repository.load import load
from gateway.repository.prove import prove
from gateway.types import Call
from tests.app.stage import a_record
from tests.wire.harness import turns
from tests.zoo import write_shelf

T = TypeVar("T")


class Scene:
    """A version that is open, and its session, held by nobody but it."""

    def __init__(self, opened: Opened, session: "weakref.ref[Session]") -> None:
        self.opened = opened
        self.session = session
        self.moves = 0
        self.answered = asyncio.Event()

    def ask(self, index: int) -> Call:
        """Ask for one row of the shelf; what is beyond its table breaks the model."""
        payload = np.array([index], dtype="<i8").tobytes()
        call = Call(self.opened.version, (payload,), 1, ((1,),), lambda _: self.answered.set())
        self.opened.batcher.offer(call)
        return call


def played(
    folder: Path,
    scene: Callable[[Scene], Coroutine[object, object, T]],
    config: Config | None = None,
) -> T:
    """Play a scene before the one version below `folder`."""
    configured = config or Config()
    (found,) = discover(folder, parse_model).found
    proof = prove(found, bounds_of(configured), configured.platform)

    async def play() -> T:
        moves: list[None] = []
        loaded = load(proof)
        session = weakref.ref(loaded.session)
        opened = await open_version(loaded, configured, a_record(), lambda: moves.append(None))
        del loaded
        made = Scene(opened, session)
        result = await scene(made)
        made.moves = len(moves)
        return result

    return asyncio.run(play())


@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_a_version_answers_where_it_was_placed(tmp_path: Path, executor: str) -> None:
    write_shelf(tmp_path, settings=f'[execution]\nexecutor = "{executor}"\n')

    async def scene(scene: Scene) -> None:
        call = scene.ask(7)
        await asyncio.wait_for(scene.answered.wait(), 30.0)
        assert call.outputs is not None
        assert call.outputs.arrays[0][call.start] == 70
        await scene.opened.close(5.0)

    played(tmp_path, scene)


@pytest.mark.parametrize("executor", ["auto", "thread"])
def test_closing_frees_the_model_though_collections_pass_it_over(
    tmp_path: Path, executor: str
) -> None:
    """What was frozen is looked at by no collection: only what nobody holds is freed."""
    write_shelf(tmp_path, settings=f'[execution]\nexecutor = "{executor}"\n')

    async def scene(scene: Scene) -> bool:
        scene.ask(7)
        await asyncio.wait_for(scene.answered.wait(), 30.0)
        gc.collect()
        gc.freeze()
        try:
            await scene.opened.close(5.0)
            del scene.opened
            for _ in range(1000):  # a thread of its own may just be leaving
                if scene.session() is None:
                    return True
                await asyncio.sleep(0.01)
            return False
        finally:
            gc.unfreeze()

    assert played(tmp_path, scene)


def test_who_asks_a_version_that_was_closed_is_refused(tmp_path: Path) -> None:
    write_shelf(tmp_path)

    async def scene(scene: Scene) -> object:
        await scene.opened.close(5.0)
        return scene.ask(7).error

    assert isinstance(played(tmp_path, scene), Draining)


def test_a_version_that_moves_to_a_thread_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batching = {"inline_budget_ms": 0.000001, "inline_row_us": 1e9}
    write_shelf(tmp_path)
    scenes: list[Scene] = []

    async def scene(scene: Scene) -> None:
        scenes.append(scene)
        for _ in range(50):
            scene.answered.clear()
            scene.ask(1)
            await asyncio.wait_for(scene.answered.wait(), 30.0)
        await turns()
        await scene.opened.close(5.0)

    with caplog.at_level(logging.WARNING):
        played(tmp_path, scene, Config.model_validate({"batching": batching}))
    assert scenes[0].moves == 1
    assert "shelf version 1 held the event loop too long too often" in caplog.text
