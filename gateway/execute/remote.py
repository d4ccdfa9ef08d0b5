"""Remote: an executor whose batches are run by other V2 servers.

Job    send a batch to one of its endpoints, once, or once more to another; give its outputs.
Life   `async with`, on the loop of the batcher; leaving gives up what is under way.
Never  makes a task per call, or sends what nobody waits for; lets an endpoint that is slow,
       dead or lying hang a call; blames a call for what an endpoint does.

Theory of operation. A batch is a task. It ends when an answer is whole, at the latest deadline
of its calls or after `timeout_s`, or as soon as none of its calls has a caller any more: then the
request is cancelled and its connection closed, which the server may notice. The batcher hears
once, from the end of the task, even if that was over before it began.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Self

from gateway.core.retrying import Budget, backoff_s
from gateway.errors import DeadlineExceeded, Draining, ModelFailed, Rejected
from gateway.execute.endpoints import Dice, Endpoints, Place
from gateway.execute.executors import Finish
from gateway.execute.judging import Judgement, judge, too_late, too_slow, unanswered
from gateway.execute.upstream import (
    Asks,
    Outcome,
    RemoteModel,
    Reply,
    Unanswered,
    Unwatched,
    Watches,
)
from gateway.execute.v2 import JSON_LENGTH, BadAnswer, Request, of_calls, outputs_of
from gateway.types import Array, Call, Outputs

_MARGIN_S = 0.005  # between what we give an endpoint and what our callers gave us
_FAIR = 4.0  # times what a batch should take, and
_TOO_LATE = 504
_LEAST_FAIR_S = 0.05  # no less than this: an endpoint that was given less is not slow
_GRACE_S = 1.0  # beyond `timeout_s`, for a thread that waits for the loop


@dataclass(frozen=True, slots=True)
class _Answered:
    """Units: nanoseconds, of waiting for the endpoint and of reading what it said."""

    arrays: Sequence[Array]
    infer_ns: int
    output_ns: int


@asynccontextmanager
async def open_remote(
    model: RemoteModel,
    cost_of: Callable[[int], float],
    on_retry: Callable[[], None],
    watch: Watches | None = None,
) -> AsyncIterator["Remote"]:
    """Run batches of `model` until the block is left. Raises: OSError for its authorities."""
    from gateway.execute.client import Client  # noqa: PLC0415 - 10 MB, for who has such versions

    async with (
        Client(model.upstream.terms) as client,
        Remote(model, client, cost_of, on_retry, watch=watch) as remote,
    ):
        yield remote


class Remote:
    """Each batch is answered or failed once; a total outage makes a tenth more requests.

    Mutable state: the tasks, the budget of retries, and what the endpoints keep.
    """

    def __init__(
        self,
        model: RemoteModel,
        client: Asks,
        cost_of: Callable[[int], float],
        on_retry: Callable[[], None],
        *,
        watch: Watches | None = None,
        dice: Dice | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`cost_of` says how many seconds so many rows should take."""
        self._upstream = model.upstream
        self._path = model.upstream.path("/infer")
        self._signature = model.signature
        self._client = client
        self._cost_of = cost_of
        self._on_retry = on_retry
        self._clock = clock
        self._dice = dice or Dice(random.randrange, random.random)
        self._endpoints = Endpoints(model.upstream.endpoints, watch or Unwatched(), self._dice)
        self._budget = Budget()
        self._tasks: set[asyncio.Task[Outputs]] = set()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        """Have the calls answered elsewhere; give them up when nobody waits any more."""
        task = self._loop.create_task(self._answer(calls, may_retry=True))
        self._tasks.add(task)
        task.add_done_callback(partial(self._end, finish))
        _Waiting(calls, task.cancel)

    def execute(self, calls: Sequence[Call]) -> Outputs:
        """Run the calls from a thread, and wait: for a shadow. Nothing is asked twice.

        Raises: ModelFailed, Overloaded, BreakerOpen; TimeoutError, RuntimeError when the loop
        is gone.
        """
        asked = asyncio.run_coroutine_threadsafe(self._answer(calls, may_retry=False), self._loop)
        try:
            return asked.result(self._upstream.timeout_s + _GRACE_S)
        except TimeoutError:
            asked.cancel()
            raise

    def statistics(self) -> tuple[int, ...]:
        """Return the rows under way at each endpoint."""
        return self._endpoints.under_way()

    def _end(self, finish: Finish, task: "asyncio.Task[Outputs]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            finish(Draining("given up: nobody waits for it"))
            return
        error = task.exception()
        if error is None:
            finish(task.result())
        elif isinstance(error, Exception):
            finish(error)
        else:
            finish(ModelFailed(f"the request ended by {type(error).__name__}", by_a_call=False))

    async def _answer(self, calls: Sequence[Call], *, may_retry: bool) -> Outputs:
        """Return the outputs of a batch, by way of a second endpoint if need be."""
        began_ns = time.perf_counter_ns()
        request = of_calls(calls, self._signature)
        input_ns = time.perf_counter_ns() - began_ns
        now = self._clock()
        deadline = min(max(call.deadline for call in calls), now + self._upstream.timeout_s)
        if may_retry and not all(call.was_run for call in calls):
            self._budget = self._budget.asked(now)  # the halves of a batch are that batch
        place = self._endpoints.begin(request.weight_rows, now)
        said = await self._ask(place, request, calls, deadline)
        if may_retry and isinstance(said, Judgement) and said.goes_elsewhere:
            other = await self._another(place, request, deadline)
            if other is not None:
                said = await self._ask(other, request, calls, deadline)
        if isinstance(said, Judgement):
            raise said.error
        return Outputs(
            said.arrays,
            len(calls),
            input_ns=input_ns,
            infer_ns=said.infer_ns,
            output_ns=said.output_ns,
        )

    async def _another(self, but: Place, request: Request, deadline: float) -> Place | None:
        """Begin at another endpoint, and pause; None: there is none to be had, or the budget or the
        deadline does not allow it. Cancel: what was begun is ended.
        """
        delay_s = backoff_s(0, self._dice.roll())
        now = self._clock()
        if len(self._endpoints) == 1 or now + delay_s + _MARGIN_S >= deadline:
            return None
        budget = self._budget.retried(now)
        if budget is None:
            return None
        try:
            other = self._endpoints.begin(request.weight_rows, now, but)
        except Rejected:
            return None  # nobody is asked, so nothing is paid
        self._budget = budget
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError:
            self._endpoints.end(other, "void", self._clock(), 0.0)
            raise
        self._on_retry()
        return other

    async def _ask(
        self, place: Place, request: Request, calls: Sequence[Call], deadline: float
    ) -> _Answered | Judgement:
        """Ask at a place that was begun, and end it."""
        began = self._clock()
        said: _Answered | Judgement | None = None
        try:
            said = await self._said(place, request, calls, deadline)
        finally:
            now = self._clock()
            outcome: Outcome = "success"
            if said is None:
                outcome = self._given_up(calls, request, now - began)
            elif isinstance(said, Judgement):
                outcome = said.told(len(calls))
                if said.has_no_room:
                    self._endpoints.refused(place, now)
                if said.goes_elsewhere:
                    self._endpoints.avoid(place, now, said.pause_s)
            self._endpoints.end(place, outcome, now, now - began)
        return said

    async def _said(
        self, place: Place, request: Request, calls: Sequence[Call], deadline: float
    ) -> _Answered | Judgement:
        left_s = deadline - self._clock()
        if left_s <= _MARGIN_S:
            return too_late("void")
        began_ns = time.perf_counter_ns()
        try:
            async with asyncio.timeout(left_s):
                reply = await self._client.ask(
                    "POST",
                    self._endpoints.address(place) + self._path,
                    self._headers(request, left_s - _MARGIN_S),
                    (request.json, *request.blobs),
                )
        except TimeoutError:
            if max(call.deadline for call in calls) > deadline:
                return too_slow(self._upstream.timeout_s)
            return too_late(self._outcome_after(request, left_s))
        except Unanswered as error:
            return unanswered(error)
        return self._read(reply, request, time.perf_counter_ns() - began_ns)

    def _read(self, reply: Reply, request: Request, infer_ns: int) -> _Answered | Judgement:
        if reply.status != 200:
            if reply.status == _TOO_LATE:  # by its clock, which began as ours did
                return too_late(self._outcome_after(request, infer_ns / 1e9))
            return judge(reply)
        began_ns = time.perf_counter_ns()
        try:
            arrays = outputs_of(reply.body, reply.headers, self._signature, request.rows)
        except BadAnswer as error:
            return Judgement(error, "failure")
        return _Answered(arrays, infer_ns, time.perf_counter_ns() - began_ns)

    def _headers(self, request: Request, budget_s: float) -> dict[str, str]:
        return {
            **self._upstream.headers,
            "content-type": "application/octet-stream",
            JSON_LENGTH: str(len(request.json)),
            "x-request-timeout-ms": str(max(1, int(budget_s * 1000))),
        }

    def _given_up(self, calls: Sequence[Call], request: Request, waited_s: float) -> Outcome:
        """Say what it tells of an endpoint that nobody waits for it any more."""
        if any(isinstance(call.error, DeadlineExceeded) for call in calls):
            return self._outcome_after(request, waited_s)
        return "void"  # its callers left, or we do

    def _outcome_after(self, request: Request, waited_s: float) -> Outcome:
        """Say what it tells of an endpoint that it has not answered after so many seconds."""
        fair_s = max(_LEAST_FAIR_S, _FAIR * self._cost_of(request.weight_rows))
        return "failure" if waited_s >= fair_s else "void"


class _Waiting:
    """Hears the ends of a batch's calls, each before its owner, and tells when all have ended."""

    __slots__ = ("_left", "_on_none")

    def __init__(self, calls: Sequence[Call], on_none: Callable[[], object]) -> None:
        self._on_none = on_none
        waiting = [call for call in calls if not call.done]
        self._left = len(waiting)
        for call in waiting:
            call.on_done = partial(self._hear, call.on_done)

    def _hear(self, tell_owner: Callable[[Call], None], call: Call) -> None:
        call.on_done = tell_owner  # or the two would hold each other
        self._left -= 1
        if not self._left:
            self._on_none()
        tell_owner(call)
