"""Guard: one executor instance behind its breaker.

Job    ask the breaker before each execution, tell it after; notice one that hangs.
Life   as long as the version has the executor; `close` lets go of it.
Never  looks at a clock but when an execution starts, ends or may be overdue; keeps an answer
       back: what the executor says goes to whoever asked, also where it comes too late to count.

What an execution says of its executor:

    it succeeded                          success, perhaps a slow one
    one call alone failed                 failure
    several calls failed                  nothing: they will be halved, and run again; failure
                                          where it was slow, and nobody waited any more, or where
                                          the executor says that none of them is to blame
    it was refused (429, draining ...)    nothing: whoever has no room is not broken
    somebody killed its process           nothing: it was not its own doing
    it was given up, its callers gone     failure where it was slow, else nothing
    it hangs, and nobody waits any more   failure, at that moment, though it never ends

So of fifty requests one that the model cannot bear is one failure among several successes,
however they were batched, while a model that is dead fails at each of them.

An executor all of whose instances hang runs nothing more, so it could not be found out by
counting: it is open at once, and is not tried again before one of them has come back.

One alarm stands at the first moment at which an execution may hang; in the common case, where
none does, that is a look every few seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

from gateway.batch.alarm import Alarm
from gateway.core.breaker import Breaker, Dice, Outcome, Permit, State
from gateway.core.slowness import Slowness
from gateway.core.suspects import WorkerLost
from gateway.errors import BreakerOpen, ClientGone, DeadlineExceeded, ModelFailed, Rejected
from gateway.types import Call, Outputs

Finish = Callable[[Outputs | Exception], None]
Run = Callable[[Sequence[Call], Finish], None]
_SUCCESS = Outcome.SUCCESS  # found sooner
_DEATHS = ("crashed", "stalled")
_MOST_LOST = 5  # processes in a row, whatever they were given


@dataclass(frozen=True, slots=True)
class Means:
    """What a guard cannot make itself: the time, and chance."""

    clock: Callable[[], float]
    dice: Dice


class _Execution:
    """One that is under way. `permit` None: it hangs, and has been counted."""

    __slots__ = ("calls", "finish", "is_over", "permit", "started")

    def __init__(
        self, calls: Sequence[Call], finish: Finish, started: float, permit: Permit
    ) -> None:
        self.calls, self.finish, self.started = calls, finish, started
        self.permit: Permit | None = permit
        self.is_over = False


class Guard:
    """Runs what the breaker permits, and refuses the rest.

    Mutable state: the breaker, what is under way (`_running`), how many of that hang (`_hung`),
    how many processes have died in a row (`_lost`),
    which generation of the breaker was told of (`_told`), and the state that is `shown`.
    """

    __slots__ = (
        "_alarm", "_clock", "_dice", "_floor_s", "_hung", "_lost", "_most_running", "_on_change",
        "_run", "_running", "_slowness", "_told", "breaker", "name", "shown",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        run: Run,
        breaker: Breaker,
        slowness: Slowness,
        most_running: int,
        on_change: Callable[["Guard"], None],
        means: Means,
    ) -> None:
        """At most `most_running` executions run at once."""
        self.name = name
        self.breaker = breaker
        self._run = run
        self._slowness, self._floor_s = slowness, slowness.floor_s
        self._most_running = most_running
        self._on_change = on_change
        self._clock, self._dice = means.clock, means.dice
        self._alarm = Alarm(self._look, self._clock)
        self._running: set[_Execution] = set()
        self._hung = 0
        self._lost = 0
        self._told = breaker.generation
        self.shown = breaker.state

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        """Run the calls, or finish with BreakerOpen where none may start now."""
        started = self._clock()
        permit = self.breaker.permit(started, self._dice)
        if self.breaker.generation != self._told:
            self._tell()
        if permit is None:
            finish(BreakerOpen("this version fails too often to be asked now"))
            return
        one = _Execution(calls, finish, started, permit)
        try:
            self._run(calls, partial(self._end, one))
        except Exception as error:  # noqa: BLE001 - an executor may raise anything
            self._end(one, error)
        if not one.is_over:  # else, as on the loop, there is nothing to keep or to wait for
            self._running.add(one)
            self._alarm.set(started + self._slowness.hang_s)

    def permit(self) -> Permit | None:
        """Return leave for one request, of which `count` must hear; None: it may not be sent.

        For an executor that gives none of its servers longer than it has said: nothing hangs.
        """
        permit = self.breaker.permit(self._clock(), self._dice)
        self._tell()
        return permit

    def count(self, permit: Permit, outcome: Outcome, seconds: float, rows: int) -> None:
        """Hear what came of a request of so many rows that was permitted."""
        is_slow = seconds > self._slowness.slow_s(rows)
        self.breaker.record(permit, outcome, is_slow, self._clock(), self._dice)
        self._tell()

    def share(self, now: float) -> float:
        """Return how many of the calls it takes that are more than probes, from 0 to 1."""
        return self.breaker.share(now)

    def may_probe(self, now: float) -> bool:
        """Say whether it may be asked, to see how it is."""
        breaker = self.breaker
        breaker.settle(now, self._dice)
        self._tell()
        return breaker.state > State.CLOSED and breaker.may_start(now) and not self.is_stuck()

    def is_shut(self, now: float) -> bool:
        """Say whether nothing may start here before it is tried again."""
        breaker = self.breaker
        if breaker.state <= State.CLOSED:
            return False
        return self.is_stuck() or not (breaker.state is State.HALF_OPEN or breaker.may_start(now))

    def may_start(self) -> bool:
        """Say whether an execution may start here: what an executor asks that has a choice."""
        now = self._clock()
        return self.breaker.state <= State.CLOSED or self.may_probe(now)

    def is_stuck(self) -> bool:
        """Say whether all that can run here hangs."""
        return self._hung >= self._most_running

    def is_due(self) -> bool:
        """Say whether it is to be tried, which nobody does who has a choice and is not told."""
        return self.may_probe(self._clock())

    def close(self) -> None:
        """Let go of the executor; what is under way is heard, and counts no more."""
        self._alarm.cancel()
        self._run = _refuse
        self._on_change = _tell_nobody

    def _end(self, one: _Execution, result: Outputs | Exception) -> None:
        """Count what an execution ended with, and pass it on; hear no second word about it."""
        if one.is_over:
            return
        one.is_over = True
        if self._running:
            self._running.discard(one)
        permit = one.permit
        if permit is None:
            self._hung -= 1
        else:
            ended = self._clock()
            is_slow = ended - one.started > self._floor_s and self._is_slow(one, ended)
            is_well = isinstance(result, Outputs)
            outcome = _SUCCESS if is_well else _outcome(result, one.calls, ended, is_slow)
            self.breaker.record(permit, outcome, is_slow, ended, self._dice)
            self._count_losses(result, ended)
            if self.breaker.generation != self._told:
                self._tell()
        one.finish(result)

    def _count_losses(self, result: Outputs | Exception, now: float) -> None:
        """Open at once where one process after another has died: each takes so long to start that
        there will never be enough executions to judge by.
        """
        if isinstance(result, Outputs):
            self._lost = 0
        elif isinstance(result, WorkerLost) and result.loss in _DEATHS:
            self._lost += 1
            if self._lost >= _MOST_LOST:
                self._lost = 0
                self.breaker.trip(now, self._dice)

    def _is_slow(self, one: _Execution, now: float) -> bool:
        return now - one.started > self._slowness.slow_s(_rows(one.calls))

    def _look(self) -> None:
        """Count what hangs, and stand at the next moment at which something may."""
        now, due = self._clock(), inf
        for one in tuple(self._running):
            if one.permit is None:
                continue
            overdue = one.started + self._slowness.hung_s(_rows(one.calls))
            waits = [call.deadline for call in one.calls if not _is_gone(call, now)]
            if now < overdue:
                due = min(due, overdue)
            elif waits:
                due = min(due, max(waits))
            else:
                self._give_up(one, one.permit, now)
        self._alarm.set(due)
        self._tell()

    def _give_up(self, one: _Execution, permit: Permit, now: float) -> None:
        one.permit = None
        self._hung += 1
        self.breaker.record(permit, Outcome.FAILURE, True, now, self._dice)
        if self.is_stuck():
            self.breaker.trip(now, self._dice)
            self._told = 0  # that it is stuck is news, also where it was open before

    def _tell(self) -> None:
        if self.breaker.generation != self._told:
            self._told = self.breaker.generation
            self._on_change(self)


def _outcome(result: object, calls: Sequence[Call], now: float, is_slow: bool) -> Outcome:
    """Return what an execution that failed says of who ran it; the cases are above."""
    loss = result.loss if isinstance(result, WorkerLost) else None
    if isinstance(result, Rejected) or loss == "killed":
        return Outcome.VOID
    if loss == "late" or isinstance(result, ClientGone | DeadlineExceeded):
        return Outcome.FAILURE if is_slow else Outcome.VOID
    if isinstance(result, ModelFailed) and not result.by_a_call:
        return Outcome.FAILURE
    if len(calls) == 1 or (is_slow and all(_is_gone(call, now) for call in calls)):
        return Outcome.FAILURE
    return Outcome.VOID


def _is_gone(call: Call, now: float) -> bool:
    return call.done or call.deadline <= now


def _rows(calls: Sequence[Call]) -> int:
    return sum([call.rows for call in calls])


def _refuse(_calls: Sequence[Call], finish: Finish) -> None:
    finish(BreakerOpen("this executor is there no more"))


def _tell_nobody(_guard: Guard) -> None:
    """Tell nobody: who wanted to know has closed."""
