"""Remoting: a version that runs elsewhere in a replica: batched, balanced, counted, shadowing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.app.opened import Opened
from gateway.app.remoting import open_elsewhere
from gateway.app.rooms import open_replica
from gateway.batch.batcher import Busy
from gateway.config import Config, parse_model
from gateway.core.breaker import State
from gateway.core.documents import Shadow
from gateway.errors import Draining
from gateway.execute.session import LoadFailed
from gateway.observe.counts import read
from gateway.observe.layout import SHADOW_NAMES
from gateway.observe.record import Record
from gateway.repository.discover import discover
from gateway.repository.prove import prove
from gateway.repository.remote import reached
from gateway.route.asking import Disagreement
from gateway.route.mirror import Mirror
from gateway.route.mirror import Policy as MirrorPolicy
from gateway.types import Arm, Call
from tests.elsewhere import Elsewhere, hanging, resetting, until, write_remote
from tests.fakes import a_call, a_row, answer_of
from tests.repository.versions import CHEAP
from tests.wire.asgi import ask

T = TypeVar("T")


@pytest.fixture
def servers() -> Iterator[tuple[Elsewhere, Elsewhere]]:
    with Elsewhere() as one, Elsewhere() as other:
        yield one, other


def opened(
    root: Path,
    urls: tuple[str, ...],
    row: memoryview,
    scene: Callable[[Opened], Awaitable[T]],
    within_s: float = 5.0,
) -> T:
    """Play a scene before a version that runs at these URLs, and close it."""
    (found,) = discover(write_remote(root, *urls, connections=2), parse_model).found
    proof = prove(found, CHEAP, "p")
    model = reached(proof)
    busy: Busy = set()

    async def whole() -> T:
        one = await open_elsewhere(proof, model, Config(), Record(row), busy)
        try:
            return await scene(one)
        finally:
            await one.close(within_s)
            assert busy == set()

    return asyncio.run(whole())


async def answered(one: Opened, *calls: Call) -> list[object]:
    """Offer calls at once; return what each was told."""
    told = asyncio.Event()
    left = len(calls)

    def hear(_call: Call) -> None:
        nonlocal left
        left -= 1
        if not left:
            told.set()

    for call in calls:
        call.arm, call.on_done = Arm(one.version), hear
        one.batcher.offer(call)
    await told.wait()
    return [answer_of(call) for call in calls]


def test_calls_are_batched_and_each_gets_its_own_rows(
    tmp_path: Path, servers: tuple[Elsewhere, Elsewhere]
) -> None:
    row = a_row()

    async def scene(one: Opened) -> list[object]:
        return await answered(one, *(a_call(number) for number in range(8)))

    urls = tuple(server.url for server in servers)
    before = len(servers[0].inferences)
    assert opened(tmp_path, urls, row, scene) == [[2.0 * number] for number in range(8)]
    asked = sum(len(server.inferences) for server in servers)
    assert asked > before
    assert read(row).inferences == 8


def test_a_large_call_is_split_among_the_endpoints(
    tmp_path: Path, servers: tuple[Elsewhere, Elsewhere]
) -> None:
    async def scene(one: Opened) -> list[object]:
        return await answered(one, a_call(*range(40)))

    urls = tuple(server.url for server in servers)
    assert opened(tmp_path, urls, a_row(), scene) == [[2.0 * number for number in range(40)]]
    assert all(len(server.inferences) > 0 for server in servers)


def test_a_retry_is_counted(tmp_path: Path, servers: tuple[Elsewhere, Elsewhere]) -> None:
    row = a_row()

    async def scene(one: Opened) -> list[object]:
        servers[0].behave = resetting
        answers: list[object] = []
        while not read(row).retries:
            answers += await answered(one, a_call(len(answers)))
        return answers

    answers = opened(tmp_path, tuple(server.url for server in servers), row, scene)
    assert answers == [[2.0 * number] for number in range(len(answers))]
    assert read(row).retries == 1


def test_each_endpoint_has_a_breaker_of_its_own(
    tmp_path: Path, servers: tuple[Elsewhere, Elsewhere]
) -> None:
    async def scene(one: Opened) -> dict[str, State]:
        servers[0].behave = servers[1].behave = resetting
        for number in range(60):
            await answered(one, a_call(number))
        return {name: reading.state for name, reading in one.gate.readings()}

    urls = tuple(server.url for server in servers)
    states = opened(tmp_path, urls, a_row(), scene)
    assert states.keys() == {"remote/0", "remote/1"}
    assert State.OPEN in states.values()


def test_closing_gives_up_what_hangs(tmp_path: Path, servers: tuple[Elsewhere, Elsewhere]) -> None:
    call = a_call(1)

    async def scene(one: Opened) -> None:
        servers[0].behave = hanging
        before = len(servers[0].inferences)
        call.arm = Arm(one.version)
        one.batcher.offer(call)
        await until(lambda: len(servers[0].inferences) > before)

    opened(tmp_path, (servers[0].url,), a_row(), scene, within_s=0.0)
    assert isinstance(call.error, Draining)


def test_a_shadow_may_run_elsewhere(tmp_path: Path, servers: tuple[Elsewhere, Elsewhere]) -> None:
    row, shadows = a_row(), a_row()

    async def scene(one: Opened) -> None:
        shadow = Shadow("new", "1", 1.0)
        record = Record(shadows)
        mirror = Mirror(
            shadow, one.version, one.execute, record, deaf_to_worst, MirrorPolicy(), lambda: True
        )
        async with mirror:
            call = a_call(1, 2)
            call.arm = Arm(one.version)
            mirror.offer(call)
            one.batcher.offer(call)
            await until(lambda: any(read(shadows).shadowed))

    opened(tmp_path, (servers[0].url,), row, scene)
    assert read(shadows).shadowed[SHADOW_NAMES.index("agreed")] == 1


def deaf_to_worst(_worst: Disagreement) -> None:
    """Hear of what differs, and forget it."""


BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'


def test_a_replica_serves_a_version_that_runs_elsewhere(
    tmp_path: Path, servers: tuple[Elsewhere, Elsewhere]
) -> None:
    config = Config(models=write_remote(tmp_path, servers[0].url))

    async def whole() -> tuple[int, bytes]:
        async with open_replica(config) as replica:
            answer = await ask(replica.rest, "POST", b"/v2/models/twice/infer", BODY)
        return answer.status, answer.body

    status, body = asyncio.run(whole())
    assert status == 200
    assert b'"data":[2.0,4.0]' in body


def test_a_replica_that_finds_nobody_there_says_so(
    tmp_path: Path, servers: tuple[Elsewhere, Elsewhere]
) -> None:
    servers[0].die()
    config = Config(models=write_remote(tmp_path, servers[0].url))

    async def whole() -> None:
        async with open_replica(config):
            pass

    with pytest.raises(LoadFailed, match="no connection to the remote server"):
        asyncio.run(whole())
