"""An event loop that never sleeps: its clock jumps to the next timer.

Job    play an async scene in virtual time, so that a minute of it costs no time at all.
Life   one loop a scene, closed when the scene ends.
Never  waits. A scene that nothing will wake is `Stuck`, where production would hang.

Threads, processes and the far end of a socket wake a loop from outside, which looks like
`Stuck` from inside: a test with one of these uses the ordinary loop.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(AssertionError):
    """Every task waits and no timer will wake one: in production, a hang."""


class JumpingSelector(selectors.DefaultSelector):
    """Selects what is ready now; otherwise the clock jumps to the next timer."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events:
            return events
        if timeout is None:
            raise Stuck("all tasks are blocked and no timer is set")
        self.now_s += max(timeout, 0.0)
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def play(scene: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run an async function to its end in virtual time.

    Raises: Stuck when every task waits for something that will never come.
    """
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(scene())
