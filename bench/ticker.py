"""Ticker: how long an event loop was kept from turning, seen from inside.

Job    ask to be called each millisecond, and remember by how much the worst call was late.
Life   on the loop's own thread, from `start` on.
Never  blames the loop for a machine on which others run: what the thread waited for a
       processor is known to the kernel, and told apart.

    raw   from when a tick was due to when it came
    net   the same, less what the thread spent meanwhile waiting to run; what a hypervisor
          takes is in it still, because the kernel takes it for time that the thread ran
"""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns
from typing import NamedTuple

TICK_S = 0.001
TICK_NS = 1_000_000


class Stall(NamedTuple):
    """The longest of a while, in seconds; the two may be of different ticks."""

    raw_s: float
    net_s: float


class Lateness:
    """The arithmetic of ticks, without a loop or a clock. Units: nanoseconds."""

    def __init__(self, now: int, waited: int) -> None:
        self._due = now + TICK_NS
        self._waited = waited
        self._raw = self._net = 0

    def tick(self, now: int, waited: int) -> None:
        """A tick comes at `now`; the thread has waited for so long since it lives."""
        late = max(0, now - self._due)
        self._raw = max(self._raw, late)
        self._net = max(self._net, late - (waited - self._waited))
        self._due, self._waited = now + TICK_NS, waited

    def take(self) -> Stall:
        """Return the longest since it was last asked for."""
        seen = Stall(self._raw / 1e9, self._net / 1e9)
        self._raw = self._net = 0
        return seen


class Ticker:
    """Ticks for ever on the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        thread = threading.get_native_id()
        # kept open: to read it again then costs half a microsecond
        self._file = os.open(Path(f"/proc/self/task/{thread}/schedstat"), os.O_RDONLY)
        self._lateness = Lateness(*self._look())
        self._loop.call_later(TICK_S, self._tick)

    def take(self) -> Stall:
        """Return the longest stall since it was last asked for, one that lasts included."""
        self._lateness.tick(*self._look())
        return self._lateness.take()

    def _tick(self) -> None:
        self._lateness.tick(*self._look())
        self._loop.call_later(TICK_S, self._tick)

    def _look(self) -> tuple[int, int]:
        return at_one_moment(perf_counter_ns, self._waited_ns)

    def _waited_ns(self) -> int:
        return parse_waited_ns(os.pread(self._file, 128, 0))


def at_one_moment(clock: Callable[[], int], waited: Callable[[], int]) -> tuple[int, int]:
    """Return the time and what was waited by then.

    A thread is put aside just where it comes back from the kernel, as from a look at what it
    has waited: a wait between the two would be the loop's own at the next tick.
    """
    before = waited()
    while True:
        now, after = clock(), waited()
        if before == after:
            return now, after
        before = after


def parse_waited_ns(text: bytes) -> int:
    """Read schedstat: time run, time waited to run, times run; the first two in nanoseconds."""
    return int(text.split()[1])
