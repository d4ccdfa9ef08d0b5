"""Versions that hang, crash and eat, proved by real children; none harms who asks."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from gateway.repository.proof import Found
from gateway.supervise.prover import Patience, Prover, Unproven
from tests import models_onnx
from tests.repository.versions import CHEAP, FEW

T = TypeVar("T")
Factory = Callable[[], asyncio.AbstractEventLoop]

_WAIT_S = 90.0  # thirty seconds for each of a scene's waits, which are three at most
PATIENCE = Patience()
LOOPS = pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])


def run(
    scene: Callable[[], Coroutine[Any, Any, T]], factory: Factory = asyncio.new_event_loop
) -> T:
    async def watched() -> T:
        async with asyncio.timeout(_WAIT_S):
            return await scene()

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(watched())


def found(onnx: Path) -> Found:
    return Found("m", "1", onnx.parent, onnx, FEW)


def good(folder: Path) -> Found:
    return found(models_onnx.twice(folder / "good" / "model.onnx"))


def a_prover(patience: Patience = PATIENCE, command: Sequence[str] | None = None) -> Prover:
    return (
        Prover(CHEAP, "p", patience) if command is None else Prover(CHEAP, "p", patience, command)
    )


async def reason(prover: Prover, version: Found) -> str:
    with pytest.raises(Unproven) as caught:
        await prover.prove(version)
    return str(caught.value)


def step_of(prover: Prover) -> str:
    """Return what the child told last; it forgets the last version's when it is asked anew."""
    child = prover._child  # noqa: SLF001 - nobody else needs to know
    assert child is not None
    return child.step


def is_there(pid: int | None) -> bool:
    """Say whether a process is there, or nobody has reaped it."""
    return Path(f"/proc/{pid}").exists()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    while not is_so():  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.01)


@LOOPS
def test_versions_are_proved_by_one_child_which_ends_with_the_prover(
    tmp_path: Path, factory: Factory
) -> None:
    async def scene() -> None:
        async with a_prover() as prover:
            first = await prover.prove(good(tmp_path))
            pid = prover.pid
            second = await prover.prove(good(tmp_path))
            assert pid is not None
            assert prover.pid == pid
        assert not is_there(pid)
        assert first.digest == second.digest
        assert first.found == good(tmp_path)

    run(scene, factory)


@LOOPS
def test_a_segfault_is_told_with_the_step_and_the_next_version_gets_a_new_child(
    tmp_path: Path, factory: Factory
) -> None:
    onnx = models_onnx.overflows_the_stack(tmp_path / "deep" / "model.onnx")

    async def scene() -> None:
        async with a_prover() as prover:
            await prover.prove(good(tmp_path))
            assert await reason(prover, found(onnx)) == (
                f"{onnx}: killed by SIGSEGV while opening model.onnx"
            )
            assert prover.pid is None
            await prover.prove(good(tmp_path))

    run(scene, factory)


@LOOPS
def test_a_version_that_hangs_is_given_up_after_its_time(tmp_path: Path, factory: Factory) -> None:
    onnx = models_onnx.hangs(tmp_path / "loop" / "model.onnx")

    async def scene() -> None:
        async with a_prover(Patience(timeout_s=2.0)) as prover:
            proving = asyncio.create_task(reason(prover, found(onnx)))
            await until(lambda: prover.pid is not None)
            pid = prover.pid
            assert await proving == (f"{onnx}: hung while measuring 1 rows: not done after 2 s")
            assert not is_there(pid)

    run(scene, factory)


def test_a_version_that_eats_memory_is_refused_by_name_and_the_child_lives_on(
    tmp_path: Path,
) -> None:
    onnx = models_onnx.eats_memory(tmp_path / "greedy" / "model.onnx", elements=1 << 29)

    async def scene() -> None:
        async with a_prover(Patience(memory_bytes=256 << 20)) as prover:
            await prover.prove(good(tmp_path))
            pid = prover.pid
            assert await reason(prover, found(onnx)) == (
                f"{onnx}: needs more than the 256 MiB of memory it may have, while measuring 1 rows"
            )
            await prover.prove(good(tmp_path))
            assert prover.pid == pid

    run(scene)


def test_any_death_is_told_by_its_signal(tmp_path: Path) -> None:
    onnx = models_onnx.hangs(tmp_path / "loop" / "model.onnx")

    async def scene() -> None:
        async with a_prover() as prover:
            await prover.prove(good(tmp_path))
            pid = prover.pid
            assert pid is not None
            proving = asyncio.create_task(reason(prover, found(onnx)))
            await until(lambda: step_of(prover) == "measuring 1 rows")
            os.kill(pid, signal.SIGBUS)
            assert await proving == f"{onnx}: killed by SIGBUS while measuring 1 rows"

    run(scene)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (models_onnx.truncated, "is no ONNX model"),
        (lambda path: models_onnx.of_opset(path, 9999), "opset 9999 of ai.onnx is unknown"),
        (
            lambda path: models_onnx.with_external_weights(path, "../w"),
            "external data '../w' lies outside the version's folder",
        ),
    ],
)
def test_what_the_child_refuses_is_refused_with_its_words(
    tmp_path: Path, build: Callable[[Path], Path], words: str
) -> None:
    onnx = build(tmp_path / "v" / "model.onnx")

    async def scene() -> None:
        async with a_prover() as prover:
            assert (await reason(prover, found(onnx))).startswith(f"{onnx}: {words}")

    run(scene)


def test_many_ask_at_once_and_are_served_one_by_one(tmp_path: Path) -> None:
    deep = found(models_onnx.overflows_the_stack(tmp_path / "deep" / "model.onnx"))

    async def scene() -> None:
        async with a_prover() as prover:
            results = await asyncio.gather(
                *(prover.prove(one) for one in (good(tmp_path), deep, good(tmp_path))),
                return_exceptions=True,
            )
            kinds = [type(result).__name__ for result in results]
            assert kinds == ["Proof", "Unproven", "Proof"]

    run(scene)


@LOOPS
def test_an_idle_child_is_let_go_and_reaped(tmp_path: Path, factory: Factory) -> None:
    async def scene() -> None:
        async with a_prover(Patience(idle_s=0.0)) as prover:
            await prover.prove(good(tmp_path))
            pid = prover._child.pid  # type: ignore[union-attr]  # noqa: SLF001 - there is one
            await until(lambda: not is_there(pid))
            assert prover.pid is None
            await prover.prove(good(tmp_path))

    run(scene, factory)


def test_a_child_that_died_before_it_saw_a_version_costs_that_version_nothing(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with a_prover() as prover:
            await prover.prove(good(tmp_path))
            assert prover.pid is not None
            os.kill(prover.pid, signal.SIGKILL)  # its end is not heard yet
            await prover.prove(good(tmp_path))

    run(scene)


def test_leaving_kills_the_child_and_tells_who_waits(tmp_path: Path) -> None:
    onnx = models_onnx.hangs(tmp_path / "loop" / "model.onnx")

    async def scene() -> None:
        prover = a_prover()
        async with prover:
            waiting = [asyncio.create_task(reason(prover, found(onnx))) for _ in range(2)]
            await until(lambda: prover.pid is not None)
            pid = prover.pid
        assert not is_there(pid)
        assert await asyncio.gather(*waiting) == [f"{onnx}: the gateway is ending"] * 2

    run(scene)


def test_giving_up_kills_the_child_first(tmp_path: Path) -> None:
    onnx = models_onnx.hangs(tmp_path / "loop" / "model.onnx")

    async def scene() -> None:
        async with a_prover() as prover:
            proving = asyncio.create_task(prover.prove(found(onnx)))
            await until(lambda: prover.pid is not None)
            pid = prover.pid
            proving.cancel()
            await asyncio.wait([proving])
            assert proving.cancelled()
            assert not is_there(pid)
            await prover.prove(good(tmp_path))

    run(scene)


# Children that are not what they should be.


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program)


READY = 'import os, time; os.write(1, b\'{"kind":"ready"}\\n\'); os.read(0, 1);'


@pytest.mark.parametrize(
    ("command", "patience", "expected"),
    [
        (python("raise SystemExit(3)"), Patience(), "the proving process ended with code 3"),
        (("/no/such/program",), Patience(), "no proving process could be started: "),
        (python("print('hello')"), Patience(), "no proving process could be started: "),
        (
            python("import time; time.sleep(60)"),
            Patience(start_timeout_s=0.01),
            "no proving process was ready after 0.01 s",
        ),
        (python(READY + "print('hello')"), Patience(), "cannot be proved: "),
        (
            python(READY + "raise SystemExit(4)"),
            Patience(),
            "the proving process ended with code 4 while reading the request",
        ),
        (
            python(READY + "os.abort()"),
            Patience(),
            "killed by SIGABRT while reading the request (of memory it might have ",
        ),
        (
            python(READY + "time.sleep(60)"),
            Patience(timeout_s=0.01),
            "hung while reading the request: not done after 0.01 s",
        ),
    ],
)
def test_a_child_that_does_not_do_its_work_is_a_reason_and_no_more(
    tmp_path: Path, command: Sequence[str], patience: Patience, expected: str
) -> None:
    version = good(tmp_path)

    async def scene() -> None:
        async with a_prover(patience, command) as prover:
            assert (await reason(prover, version)).startswith(f"{version.onnx}: {expected}")
            assert prover.pid is None

    run(scene)


def test_a_folder_whose_name_is_no_text_is_a_reason(tmp_path: Path) -> None:
    version = good(tmp_path)
    odd = replace(version, folder=Path(os.fsdecode(b"/\xff")))

    async def scene() -> None:
        async with a_prover() as prover:
            assert "cannot be proved" in await reason(prover, odd)
            await prover.prove(version)

    run(scene)
