"""Mirror: one shadow, asked what callers ask, after they have their answers.

Job    ask a shadow in a thread of its own, and count how its answers differ.
Life   `async with`, as long as a revision's table stands. Leaving drops what waits, and waits
       for nobody but the execution in the thread, and not long.
Never  is felt by a caller: `offer` neither waits nor raises, a shadow that hangs or fails for
       ever costs what the queue holds, and nothing is ever tried twice.

Theory of operation. `offer` puts a call into a short queue, where the oldest make room for the
latest. One timer, armed only while something waits, lets calls gather: rows cost less in
company. When it rings the mirror weighs, at the end of that tick, what was answered meanwhile,
looks once whether there is room to spare, and gives what is answered by then to its thread.
From there come counts; outputs are compared in the thread. A thread that ran rests in
proportion, by the clock on the wall: where the machine is short of time, a shadow takes longer
and so rests longer. While it rests or runs, or hangs, what waits is weighed all the same.

Where more comes than there is room for, most of a rest is dozed away: nothing is held of which
the place would be taken before the rest is over, and of a full queue nothing is exchanged while
there is nothing to spare. Holding costs more than it seems, because memory that is not given
back at once is not at hand for the next call either.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Self

from gateway.core.documents import Shadow
from gateway.route.asking import Asking, Disagreement, Execute, Findings
from gateway.route.tally import Statistics, Tally
from gateway.route.waiting import Waiting
from gateway.types import Call, Version

_ERROR_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Policy:
    """How much a shadow may cost."""

    max_rows: int = 256  # in one execution
    max_waiting: int = 256  # calls
    max_waiting_bytes: int = 32 << 20  # about; one call alone may be larger
    gather_s: float = 0.02  # how long calls gather before they are asked together
    retry_s: float = 0.002  # when to look again, while there is nothing to spare
    weigh_s: float = 0.02  # the same, while the thread is busy or rests: to weigh what waits
    duty_ratio: float = 0.5  # the most of its time that the thread is busy
    held_ratio: float = 0.0005  # that it keeps the interpreter from the loop: callers may feel it
    close_s: float = 1.0  # how long leaving waits for the execution in the thread


def _rest_s(busy_s: float, ratio: float) -> float:
    """Return how long who was busy rests, to be so for no more than this share of the time."""
    return busy_s * (1.0 - ratio) / ratio


def _at_once() -> None:
    """Begin without ado."""


class Mirror:
    """Of each call offered, the tally hears at most once; of none whose caller got an error.

    Mutable state: `_waiting`, `_running` (how many calls are in the thread), `_rests_until`, the
    timer, the thread, whether it dozes and what it skipped meanwhile, and what `statistics` says.
    """

    def __init__(  # noqa: PLR0913 - each is one neighbour, and most are left as they are
        self,
        shadow: Shadow,
        version: Version,
        execute: Execute,
        tally: Tally,
        on_worst: Callable[[Disagreement], None],
        policy: Policy,
        is_spare: Callable[[], bool],
        *,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        begin: Callable[[], None] = _at_once,
    ) -> None:
        """`execute` runs calls of `version`, in the thread, which calls `begin` when it starts.

        `is_spare` says at the end of a tick whether there is room to spare; `draw` gives numbers
        from 0 to 1, without 1. `on_worst` hears on the loop, a few times a second.
        """
        self._ratio = shadow.sample_ratio
        self._tally = tally
        self._on_worst = on_worst
        self._policy = policy
        self._is_spare = is_spare
        self._draw = draw
        self._clock = clock
        self._begin = begin
        self._asking = Asking(shadow, version, execute, clock)
        self._waiting = Waiting(policy.max_waiting, policy.max_waiting_bytes, self._ratio)
        self._work: SimpleQueue[list[Call] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._timer: asyncio.Handle | None = None  # the look that comes, or the end of a doze
        self._running = 0
        self._rests_until = 0.0
        self._executions = 0
        self._error = ""
        self._is_closed = False
        self._is_crowded = False  # more came than there was room for, since the last execution
        self._dozes = False
        self._skipped = 0

    async def __aenter__(self) -> Self:
        return self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def open(self) -> Self:
        """Take calls from now on, on the running loop; then somebody must `close`."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        return self

    async def close(self) -> None:
        """Drop what waits; return when the thread has ended, or it hangs.

        Cancel: safe; the thread ends with what it runs.
        """
        self._is_closed = True
        self._disarm()
        self._wake()
        self._drop(self._waiting.clear())
        if self._thread is None:
            return
        self._work.put(None)
        try:
            async with asyncio.timeout(self._policy.close_s):
                await self._ended
            self._thread.join()  # its last word was that it ends
        except TimeoutError:
            pass  # it hangs, and is a daemon: its calls are dropped below
        finally:
            if self._running:
                self._tally.finish([], None, self._clock(), self._clock())
            self._drop(self._running)
            self._running = 0

    def offer(self, call: Call) -> None:
        """Perhaps ask the shadow too, when `call` is answered well; return at once."""
        if call.error is not None or (self._ratio < 1.0 and self._draw() >= self._ratio):
            return
        if self._dozes:
            self._skipped += 1
            return
        if self._is_closed:
            self._drop(1)
            return
        if dropped := self._waiting.push(call):
            self._is_crowded = True
            self._drop(dropped)
        if self._timer is None:
            self._arm(self._policy.gather_s)

    def statistics(self) -> Statistics:
        return Statistics(
            len(self._waiting),
            self._waiting.size_bytes,
            self._running,
            self._executions,
            self._error,
        )

    def _drop(self, calls: int) -> None:
        if calls:
            self._tally.shadowed("dropped", calls)

    def _arm(self, delay_s: float) -> None:
        rest_s = min(self._rests_until - self._clock(), self._policy.weigh_s)
        self._timer = self._loop.call_later(max(delay_s, rest_s), self._ring)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        # What was read in this tick is still on its way to an executor: whether there is room
        # to spare shows when that has started.
        self._timer = self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Weigh what waits; start an execution, if there is room to spare and something to ask."""
        self._wake()  # to doze on, if it must, as long as something is held
        if self._is_closed:
            return
        policy, waiting = self._policy, self._waiting
        self._drop(waiting.weigh())
        delay_s = policy.weigh_s
        if not self._running and len(waiting):
            if self._clock() < self._rests_until:
                self._arm(0.0)
                return
            if not self._is_spare():
                self._dozes = self._is_crowded  # what is held will do
                self._arm(policy.retry_s)
                return
            if calls := waiting.take(policy.max_rows):
                self._start(calls)
            else:
                delay_s = policy.gather_s
        if waiting.unweighed:
            self._arm(delay_s)

    def _doze(self, within_s: float) -> None:
        """Hold nothing for a while: others would take its place before the rest is over."""
        self._dozes = True
        self._disarm()
        self._drop(self._waiting.clear())
        self._timer = self._loop.call_later(within_s, self._wake)

    def _wake(self) -> None:
        self._dozes, self._timer = False, None
        skipped, self._skipped = self._skipped, 0
        self._drop(skipped)

    def _start(self, calls: list[Call]) -> None:
        if self._thread is None:
            # daemon: a shadow that hangs in native code must not keep the process alive
            self._thread = threading.Thread(target=self._serve, name="mirror", daemon=True)
            self._thread.start()
        self._running = len(calls)
        self._tally.begin()
        self._work.put(calls)

    def _serve(self) -> None:
        self._begin()
        try:
            while (calls := self._work.get()) is not None:
                started = self._clock()
                found = self._ask(calls)
                del calls  # else they would live until the next come
                took_s = self._clock() - started
                self._loop.call_soon_threadsafe(self._hear, found, took_s)
            self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def _ask(self, calls: list[Call]) -> Findings | str:
        try:
            return self._asking.ask(calls, self._policy.max_rows)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            # its words alone: a traceback would keep the calls alive
            return f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]

    def _hear(self, found: Findings | str, took_s: float) -> None:
        """Count what came out of the thread, and rest in proportion to what it took."""
        calls, self._running = self._running, 0
        if not calls:
            return  # it hung, and was given up
        ended = self._clock()
        held_s = took_s if isinstance(found, str) else took_s - found.ran_s()
        policy = self._policy
        rest_s = max(_rest_s(took_s, policy.duty_ratio), _rest_s(held_s, policy.held_ratio))
        self._rests_until = ended + rest_s
        crowded, self._is_crowded = self._is_crowded, False
        if crowded and rest_s > policy.gather_s and not self._is_closed:
            self._doze(rest_s - policy.gather_s)
        self._executions += 1
        if len(self._waiting) and self._timer is None and not self._is_closed:
            self._arm(policy.gather_s)
        if isinstance(found, str):
            self._error = found
            self._tally.finish([], None, ended - took_s, ended)
            self._tally.shadowed("failed", calls)
            return
        for at, (call, outputs) in enumerate(found.executions):
            if at:  # the first one has begun
                self._tally.begin()
            self._tally.finish([call], outputs, ended - took_s, ended)
        self._count(found)

    def _count(self, found: Findings) -> None:
        if found.agreed:
            self._tally.shadowed("agreed", found.agreed)
        if found.disagreed:
            self._tally.shadowed("disagreed", found.disagreed)
        for output, rows in enumerate(found.rows):
            if rows:
                self._tally.disagreed(output, rows)
        for one in found.worst:
            self._on_worst(one)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
