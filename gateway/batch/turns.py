"""Turns: which of several batchers starts an execution next, where they share executors.

Job    count the executions under way, and call whoever waits for one to end.
Life   one for a version that runs in threads, whose arms have a batcher each.
Never  gives a batcher a turn that it had not asked for, or keeps one for it: a batch is cut
       when it can start, not before.

Theory of operation. Who asks may start if an executor is free and nobody waits; else it stands
in a line, each batcher once, and the first is woken as soon as an executor is free. Woken, it
asks again; it starts one execution, or leaves the line, and either wakes the next. So whenever
an executor is free the first of the line has been woken, and whoever has had a turn stands
behind all that wait.

Where executors come and go (processes die), so do turns: `allow` says how many there are. What
a process died of takes its turns in a line of its own, at the refuge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.types import Call, Outputs

Finish = Callable[[Outputs | Exception], None]
Run = Callable[[Sequence[Call], Finish], None]
Wake = Callable[[], None]


class Turns:
    """Executions of at most so many at once, in the order in which they were asked for.

    Mutable state: how many may run, how many run, and who waits, by what wakes it.
    """

    __slots__ = ("_line", "_most", "_running", "refuge")

    def __init__(self, most: int, refuge: "Refuge | None" = None) -> None:
        """`refuge` is where those batches run again whose process died."""
        self.refuge = refuge
        self._most = most
        self._running = 0
        self._line: dict[Wake, None] = {}

    def is_free(self) -> bool:
        """Say whether an executor is free, and nobody waits for it."""
        return self._running < self._most and not self._line

    def is_idle(self) -> bool:
        """Say whether nothing runs, and nobody waits."""
        return not self._running and not self._line

    def allow(self, most: int) -> None:
        """Have so many at once from now on; what runs goes on."""
        self._most = most
        self._call_next()

    def may_start(self, wake: Wake) -> bool:
        """Say whether who asks may start an execution now; else it stands in the line.

        Who may does, or leaves.
        """
        line = self._line
        if self.is_free() or (self._running < self._most and next(iter(line)) == wake):
            line.pop(wake, None)
            return True
        line.setdefault(wake)
        return False

    def leave(self, wake: Wake) -> None:
        """Want no turn any more."""
        self._line.pop(wake, None)
        self._call_next()

    def counted(self, run: Run) -> Run:
        """Return `run`, each of whose executions has a turn from its start to its end.

        To its very end: an executor that hangs is not free, whoever gave up what it runs.
        """
        return partial(self._start, run)

    def _start(self, run: Run, calls: Sequence[Call], finish: Finish) -> None:
        self._running += 1
        try:
            run(calls, partial(self._finish, finish))
        except BaseException:
            self._end()
            raise
        self._call_next()

    def _finish(self, finish: Finish, result: Outputs | Exception) -> None:
        self._end()
        finish(result)

    def _end(self) -> None:
        self._running -= 1
        self._call_next()

    def _call_next(self) -> None:
        if self._line and self._running < self._most:
            next(iter(self._line))()


@dataclass(frozen=True, slots=True, eq=False)
class Refuge:
    """Where a batch runs again whose process died: one execution at a time, in its turn.

    `wait` is `run` for as long as anybody waits for the calls.
    """

    turns: Turns
    run: Run
    wait: Run
