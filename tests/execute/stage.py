"""Stage: real processes on an ordinary loop, each wait under a watchdog."""

import asyncio
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from gateway.core.costs import Cost
from gateway.core.stalls import Policy
from gateway.execute.instance import Finish, Plan
from gateway.types import Call, Outputs
from tests.execute.child import TWICE
from tests.fakes import first_column

T = TypeVar("T")
Loops = Callable[[], asyncio.AbstractEventLoop]

PATIENCE_S = 30.0  # for any one wait; on a busy machine too this is an age
CHILD = (sys.executable, str(Path(__file__).with_name("child.py")))


def a_plan(opening: dict[str, Any] | None = None, **stalls: float) -> Plan:
    """A version that doubles its rows, in processes for tests."""
    told = json.dumps(opening or {}).encode()
    return Plan("twice", CHILD, told, TWICE, Cost(0.0, 0.0), Policy(**stalls), 1)


def acted(scene: Callable[[], Coroutine[Any, Any, T]], loops: Loops = asyncio.new_event_loop) -> T:
    """Run a scene to its end; a process that dies leaves no core."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limits[1]))
    try:
        with asyncio.Runner(loop_factory=loops) as runner:
            return runner.run(scene())
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)


async def soon(waited: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        return await waited


class Heard:
    """What one execution ended with."""

    def __init__(self) -> None:
        self._result: asyncio.Future[Outputs | Exception] = (
            asyncio.get_running_loop().create_future()
        )

    def finish(self, result: Outputs | Exception) -> None:
        self._result.set_result(result)  # raises, if it is the second word

    async def result(self) -> Outputs | Exception:
        return await soon(self._result)

    async def rows(self) -> list[float]:
        outputs = await self.result()
        assert isinstance(outputs, Outputs), outputs
        return first_column(outputs.arrays[0])

    async def error(self) -> Exception:
        error = await self.result()
        assert isinstance(error, Exception), error
        return error


def given_to(run: Callable[[list[Call], Finish], None], *calls: Call) -> Heard:
    """Have calls run; return what is heard of them."""
    heard = Heard()
    run(list(calls), heard.finish)
    return heard


def state_of(pid: int) -> str | None:
    """The state of a process as a letter, None where there is none, not even a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return None


def end_unnoticed(pid: int, number: signal.Signals) -> None:
    """Kill a process, and wait for its end while the loop does not turn."""
    os.kill(pid, number)
    process = os.pidfd_open(pid)
    select.select([process], [], [], PATIENCE_S)
    os.close(process)


KILLS = [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT]
