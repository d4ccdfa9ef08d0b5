"""Returning: the memory that models leave behind goes back to the system.

Job    have the allocator give back what it holds free, when no version has come or gone
       for a while.
Life   `async with`; leaving forgets what is still to be given back.
Never  has the interpreter wait: what gives memory back is a call without it.

Theory of operation. A session is freed while its thread holds the interpreter, so freeing
must not mean giving 400 MB back to the kernel: the allocator is told to keep what is freed
(supervise/allocator.py). Of what it keeps, the next load takes first, in a half or a third of
the time that fresh memory takes: a version that replaces another finds its predecessor's.
And loading leaves more than unloading does, for a file is parsed, copied and packed: 750 MB
of a model of 400. So all of it goes back at once, when versions have stopped changing.
"""

import asyncio
import ctypes
from collections.abc import Awaitable, Callable
from typing import Self

AFTER_S = 30.0


def give_back() -> None:
    """Have the allocator return to the system what it holds free, where it can.

    The interpreter goes on meanwhile. For any thread.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(ctypes.c_size_t(0))


class Returning:
    """Mutable state: when it is to be (`_timer`), and whether it is being done (`_work`)."""

    def __init__(
        self, run: Callable[[Callable[[], None]], Awaitable[None]], after_s: float = AFTER_S
    ) -> None:
        """`run` does it in a thread."""
        self._run = run
        self._after_s = after_s
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    def later(self) -> None:
        """Have it done when this has not been called again for a while."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._after_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._work is None or self._work.done():
            self._work = self._loop.create_task(self._do())
        else:  # it waits for what is being loaded
            self.later()

    async def _do(self) -> None:
        await self._run(give_back)
