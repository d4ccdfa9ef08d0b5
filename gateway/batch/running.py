"""Running: the executions under way, and what is left of those that failed.

Job    start executions, answer their calls or find the guilty one, and tell the record.
Life   its batcher's; `abandon` gives up what is under way.
Never  chooses what runs next, or hears a second word about an execution.

A batch that fails is cut in halves, which go before all else, one execution a turn,
until the guilty call is alone; only that one gets the error. Halves obey deadlines. Where the
executor says that no call is to blame, all of them get it, and nothing is run again.

A batch whose process died is a suspect (core/suspects.py), and waits for its turn at the
refuge, beside all that the batcher starts; so do its parts, until the guilty call is known.

The record hears of an execution before any of its calls is answered: who has an answer
finds it counted.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from gateway.batch.failures import expired, is_by_a_call, log_listener, model_failure
from gateway.batch.recording import Recording
from gateway.batch.turns import Refuge, Run
from gateway.core.suspects import Suspect, WorkerLost, after_loss
from gateway.types import Call, Outputs


class _Batch:
    """Calls in one execution, known by identity; `suspect` is what they are at the refuge."""

    __slots__ = ("calls", "started", "suspect")

    def __init__(self, calls: list[Call], started: float, suspect: Suspect | None) -> None:
        self.calls = calls
        self.started = started
        self.suspect = suspect


class Running:
    """Each batch started is answered, halved, tried again or given up, once.

    Mutable state: `batches` in flight, the `halves` that wait for their turn (of their
    calls some may be done by then), the `suspects` that wait for the refuge, and `_span`, the
    times of the execution that is being answered.
    """

    def __init__(
        self,
        record: Recording,
        clock: Callable[[], float],
        on_end: Callable[[], None],
        refuge: Refuge | None = None,
    ) -> None:
        """`on_end` is called after each execution. Without a `refuge` no process is lost."""
        self._record = record
        self._clock = clock
        self._on_end = on_end
        self._refuge = refuge
        self.batches: set[_Batch] = set()
        self.halves: deque[list[Call]] = deque()
        self.suspects: list[Suspect] = []
        self._span = (0.0, 0.0)

    def start(
        self, run: Run, calls: list[Call], now: float, suspect: Suspect | None = None
    ) -> None:
        """Let `run` execute the calls; whatever it says or raises is heard once."""
        batch = _Batch(calls, now, suspect)
        self.batches.add(batch)
        finish = partial(self._finish, batch)
        self._record.begin()
        try:
            run(calls, finish)
        except Exception as error:  # noqa: BLE001 - an executor may raise anything
            finish(error)

    def complete(self, call: Call, outputs: Outputs) -> None:
        """Tell the record of a call in parts, the last of which is being answered."""
        self._record.complete(call, outputs, *self._span)

    def is_idle(self) -> bool:
        """Say whether nothing runs, and nothing waits to be run again."""
        return not (self.batches or self.halves or self.suspects)

    def is_needed(self) -> bool:
        """Say whether there is something to run again, or somebody waits for what runs."""
        return bool(self.halves) or self.is_wanted()

    def is_wanted(self) -> bool:
        """Say whether anybody still waits for what runs: a hung executor holds no drain."""
        return any(not call.done for call in self.in_hand())

    def in_hand(self) -> list[Call]:
        """Return the calls that run or were in a batch that failed."""
        batches = [*(batch.calls for batch in self.batches), *self.halves, *self._suspected()]
        return [call for calls in batches for call in calls]

    def expire(self, now: float) -> float:
        """Fail what has expired; return the earliest deadline of the rest."""
        calls = self.in_hand()
        for call in calls:
            if call.deadline <= now:
                call.fail(expired("execute"))
        return min([call.deadline for call in calls if not call.done], default=math.inf)

    def take_waiting(self) -> list[Call]:
        """Return the calls of batches that failed and wait to be run again: nobody here will."""
        left = [call for calls in (*self.halves, *self._suspected()) for call in calls]
        self.halves.clear()
        self.suspects.clear()
        return left

    def _suspected(self) -> list[Sequence[Call]]:
        return [suspect.calls for suspect in self.suspects]

    def abandon(self) -> list[Call]:
        """Give up all executions; return the calls, of which nobody here will hear more."""
        left = self.in_hand()
        now = self._clock()
        for batch in self.batches:
            self._record.finish(batch.calls, None, batch.started, now)
        self.batches.clear()
        self.halves.clear()
        self.suspects.clear()
        if self._refuge is not None:
            self._refuge.turns.leave(self._try_again)
        return left

    def _finish(self, batch: _Batch, result: Outputs | Exception) -> None:
        if batch not in self.batches:
            return  # a second word about the same batch, or one after closing
        self.batches.discard(batch)
        self._span = batch.started, self._clock()
        if isinstance(result, Outputs):
            self._record.finish(batch.calls, result, *self._span)
            _answer(batch.calls, result)
        else:
            self._record.finish(batch.calls, None, *self._span)
            if isinstance(result, WorkerLost) and self._refuge is not None:
                self._suspect(batch, result)
            else:
                self._blame(batch.calls, result)
        if self.suspects:
            self._try_again()
        self._on_end()

    def _blame(self, calls: list[Call], error: Exception) -> None:
        """Fail the only call of a batch, or all where none is to blame; halve any other batch to
        find the guilty one.
        """
        if len(calls) == 1 or not is_by_a_call(error):
            for call in calls:
                call.fail(model_failure(error))
            return
        for call in calls:
            call.was_run = True
        middle = len(calls) // 2
        self.halves.append(calls[:middle])
        self.halves.append(calls[middle:])

    def _suspect(self, batch: _Batch, error: WorkerLost) -> None:
        """Have the calls of a lost batch tried again, or fail them where there is no use."""
        again = after_loss(batch.calls, batch.suspect, error.loss)
        self.suspects += again
        self.suspects.sort(key=_is_patient)
        for call in batch.calls if not again else ():
            call.fail(expired("execute") if error.loss == "late" else model_failure(error))

    def _try_again(self) -> None:
        """Start the next suspect, if the refuge has room; else be woken when it has."""
        refuge = self._refuge
        while refuge is not None and (now := self._look_for_suspects()) is not None:
            if not refuge.turns.may_start(self._try_again):
                return
            suspect = self.suspects.pop(0)
            run = refuge.wait if suspect.is_patient else refuge.run
            self.start(run, suspect.calls, now, suspect)
        if refuge is not None:
            refuge.turns.leave(self._try_again)
            self._on_end()

    def _look_for_suspects(self) -> float | None:
        """Drop what nobody waits for from the first suspect; return the time, if there is one."""
        now = self._clock()
        while self.suspects:
            first = self.suspects.pop(0)  # before anybody hears: who hears may clear them
            for call in first.calls:
                if call.deadline <= now:
                    call.fail(expired("execute"))
            live = [call for call in first.calls if not call.done]
            if live:
                self.suspects.insert(0, replace(first, calls=live))
                return now
        return None


def _is_patient(suspect: Suspect) -> bool:
    return suspect.is_patient


def _answer(calls: Sequence[Call], outputs: Outputs) -> None:
    start = 0
    for call in calls:
        stop = start + call.rows
        try:
            call.answer(outputs, start, stop)
        except Exception as error:  # noqa: BLE001 - it must not; its batchmates shall not know
            log_listener(error)
        start = stop
