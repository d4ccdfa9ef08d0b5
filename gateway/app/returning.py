"""Returning: the memory that models and peaks of traffic leave goes back to the system.

Job    look now and then at what is resident, and have the allocator give back what it
       holds free.
Life   `async with`; leaving ends the looks, and waits for nobody.
Never  gives back while versions come and go, or where there is little to give.

Theory of operation. A session is freed while its thread holds the interpreter, so a free
must not mean giving 400 MB back to the kernel: the allocator is told to keep what is freed
(supervise/allocator.py). Of what it keeps, the next load takes first, in a half or a third
of the time that fresh memory takes: a version that replaces another finds its predecessor's.
And loading leaves more than unloading does, for a file is parsed, copied and packed: 750 MB
of a model of 400. So all of it goes back at once, when versions have come to rest; and as a
burst of large bodies leaves memory too, and no event says so, it is looked for.

Giving back is a call without the interpreter, in the loader's turn. It holds the
allocator's lock, for which the event loop may wait: 1 to 4 ms for a gigabyte in huge pages.
"""

import asyncio
import ctypes
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

EVERY_S = 30.0
_WORTH_BYTES = 32 << 20
_STATM = Path("/proc/self/statm")

_log = logging.getLogger(__name__)


def give_back() -> None:
    """Have the allocator return to the system what it holds free, where it can.

    The interpreter goes on meanwhile. For any thread.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own
    if trim is not None:
        trim(ctypes.c_size_t(0))


def resident_bytes() -> int:
    """Return what this process holds of the machine's memory."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Returning:
    """Mutable state: the next look (`_timer`), loads under way (`_loads`), whether a version
    came or went since the last look, what was resident when it was last given back
    (`_floor_bytes`), and whether that is being done (`_work`).
    """

    def __init__(
        self,
        run: Callable[[Callable[[], None]], Awaitable[None]],
        every_s: float = EVERY_S,
        resident: Callable[[], int] = resident_bytes,
    ) -> None:
        """`run` does it in a thread."""
        self._run = run
        self._every_s = every_s
        self._resident = resident
        self._loads = 0
        self._has_changed = False
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._floor_bytes = self._resident()
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._look)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Keep everything while this lasts: it takes what others left."""
        self._loads += 1
        try:
            yield
        finally:
            self._loads -= 1
            self.changed()

    def changed(self) -> None:
        """Hear that a version came or went: others may follow."""
        self._has_changed = True

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._every_s, self._look)
        is_at_rest = not (self._has_changed or self._loads)
        self._has_changed = False
        resident = self._resident()
        self._floor_bytes = min(self._floor_bytes, resident)
        is_idle = self._work is None or self._work.done()
        if is_at_rest and is_idle and resident >= self._floor_bytes + _WORTH_BYTES:
            self._work = loop.create_task(self._give_back())

    async def _give_back(self) -> None:
        try:
            await self._run(give_back)
            self._floor_bytes = self._resident()
        except Exception:  # noqa: BLE001 - the next look tries again
            _log.exception("memory could not be given back")
