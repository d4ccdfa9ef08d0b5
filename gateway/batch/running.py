"""Running: the executions under way, and what is left of those that failed.

Job    start executions, answer their calls or find the guilty one, and tell the record.
Life   its batcher's; `abandon` gives up what is under way.
Never  chooses what runs next, or hears a second word about an execution.

A batch that fails is cut in halves, which go before all else, one execution a turn,
until the guilty call is alone; only that one gets the error. Halves obey deadlines. Where the
executor says that no call is to blame, all of them get it, and nothing is run again.

The record hears of an execution before any of its calls is answered: who has an answer
finds it counted.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from gateway.batch.failures import is_by_a_call, log_listener, model_failure
from gateway.batch.recording import Recording
from gateway.types import Call, Outputs

Finish = Callable[[Outputs | Exception], None]
Run = Callable[[Sequence[Call], Finish], None]


class _Batch:
    """Calls in one execution, known by identity."""

    __slots__ = ("calls", "started")

    def __init__(self, calls: list[Call], started: float) -> None:
        self.calls = calls
        self.started = started


class Running:
    """Each batch started is answered, halved or given up, once.

    Mutable state: `batches` in flight, the `halves` that wait for their turn (of their
    calls some may be done by then), and `_span`, the times of the execution that is being
    answered.
    """

    def __init__(
        self, record: Recording, clock: Callable[[], float], on_end: Callable[[], None]
    ) -> None:
        """`on_end` is called after each execution."""
        self._record = record
        self._clock = clock
        self._on_end = on_end
        self.batches: set[_Batch] = set()
        self.halves: deque[list[Call]] = deque()
        self._span = (0.0, 0.0)

    def start(self, run: Run, calls: list[Call], now: float) -> None:
        """Let `run` execute the calls; whatever it says or raises is heard once."""
        batch = _Batch(calls, now)
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

    def is_wanted(self) -> bool:
        """Say whether anybody still waits for what runs: a hung executor holds no drain."""
        return any(not call.done for batch in self.batches for call in batch.calls)

    def in_hand(self) -> list[Call]:
        """Return the calls that run or were in a batch that failed."""
        batches = [*(batch.calls for batch in self.batches), *self.halves]
        return [call for calls in batches for call in calls]

    def abandon(self) -> list[Call]:
        """Give up all executions; return the calls, of which nobody here will hear more."""
        left = self.in_hand()
        now = self._clock()
        for batch in self.batches:
            self._record.finish(batch.calls, None, batch.started, now)
        self.batches.clear()
        self.halves.clear()
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
            self._blame(batch.calls, result)
        self._on_end()

    def _blame(self, calls: list[Call], error: Exception) -> None:
        """Fail the only call of a batch, or all where none is to blame; halve any other batch to
        find the guilty one.
        """
        if len(calls) == 1 or not is_by_a_call(error):
            for call in calls:
                call.fail(model_failure(error))
            return
        middle = len(calls) // 2
        self.halves.append(calls[:middle])
        self.halves.append(calls[middle:])


def _answer(calls: Sequence[Call], outputs: Outputs) -> None:
    start = 0
    for call in calls:
        stop = start + call.rows
        try:
            call.answer(outputs, start, stop)
        except Exception as error:  # noqa: BLE001 - it must not; its batchmates shall not know
            log_listener(error)
        start = stop
