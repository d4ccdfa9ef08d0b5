"""Remote: each batch ends once, whatever its endpoints do; played in virtual time."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pytest

from gateway.batch.batcher import Batcher
from gateway.core.batching import Policy
from gateway.core.outliers import FAILURES
from gateway.core.retrying import SPARE
from gateway.errors import ClientGone, DeadlineExceeded, Draining, ModelFailed, Overloaded
from gateway.execute.endpoints import Dice
from gateway.execute.remote import Remote
from gateway.execute.upstream import (
    Outcome,
    RemoteModel,
    Reply,
    Unanswered,
    Unwatched,
    Upstream,
    Watches,
)
from gateway.execute.v2 import JSON_LENGTH, Blob
from gateway.types import Call, Outputs
from tests.clock import play
from tests.elsewhere import Asked, answer, doubled
from tests.fakes import TWICE, Client, a_call, a_record, answer_of, first_column, now

T = TypeVar("T")
A, B = "http://a", "http://b"
TIMEOUT_S = 10.0


class Far:
    """Endpoints that answer after `cost_s`, well or as `says` has it; keeps what it was asked."""

    def __init__(self, cost_s: float = 0.0, **says: Callable[[Asked], Reply | Exception]) -> None:
        self.asked: list[tuple[str, Asked, float]] = []
        self.cancelled: list[float] = []
        self.cost_s = cost_s
        self.says = says

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], blobs: Sequence[Blob] = ()
    ) -> Reply:
        asked = Asked(method, url, dict(headers), b"".join(blobs))
        host = url.removeprefix("http://").partition("/")[0]
        self.asked.append((host, asked, now()))
        try:
            await asyncio.sleep(self.cost_s)
        except asyncio.CancelledError:
            self.cancelled.append(now())
            raise
        said = self.says.get(host, well)(asked)
        if isinstance(said, Exception):
            raise said
        return said

    def hosts(self) -> list[str]:
        return [host for host, _, _ in self.asked]


def reply(raw: bytes) -> Reply:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Reply(int(first.split()[1]), headers, body)


def well(asked: Asked) -> Reply:
    return reply(doubled(asked))


def saying(status: int, body: bytes = b"", **headers: str) -> Callable[[Asked], Reply]:
    return lambda _: reply(answer(status, body, **headers))


def lost(asked: Asked) -> Exception:
    return Unanswered("no connection", is_unheard=True)


def cut(asked: Asked) -> Exception:
    return Unanswered("cut off", is_unheard=False)


class Watch(Unwatched):
    def __init__(self) -> None:
        self.told: list[tuple[str, Outcome]] = []

    def heard(
        self, endpoint: str, permit: object, outcome: Outcome, seconds: float, rows: int
    ) -> None:
        self.told.append((endpoint.removeprefix("http://"), outcome))


class Barring(Watch):
    """Lets nothing be sent to whom it has barred."""

    def __init__(self, *barred: str) -> None:
        super().__init__()
        self.barred = set(barred)

    def may_send(self, endpoint: str) -> object | None:
        return None if endpoint in self.barred else super().may_send(endpoint)


class Stage:
    """An executor before endpoints that are played."""

    def __init__(self, far: Far, *urls: str, watch: Watches | None = None) -> None:
        upstream = Upstream(urls or (A, B), "theirs", "3", TIMEOUT_S, headers={"x-key": "secret"})
        dice = random.Random(5)
        self.retries = 0
        self.far = far
        self.remote = Remote(
            RemoteModel(upstream, TWICE.signature),
            far,
            lambda rows: 0.01,
            self.count,
            watch=watch,
            dice=Dice(dice.randrange, dice.random),
            clock=now,
        )

    def count(self) -> None:
        self.retries += 1

    async def run(self, *calls: Call) -> Outputs | Exception:
        """Run a batch to its end; a second end would be an error."""
        ended: asyncio.Future[Outputs | Exception] = asyncio.get_running_loop().create_future()
        self.remote.run(calls, ended.set_result)
        return await ended


def played(stage: Callable[[], Stage], scene: Callable[[Stage], Awaitable[T]]) -> tuple[Stage, T]:
    async def whole() -> tuple[Stage, T]:
        made = stage()
        async with made.remote:
            return made, await scene(made)

    return play(whole)


def run_once(far: Far, *urls: str, call: Call | None = None) -> tuple[Stage, Outputs | Exception]:
    return played(
        lambda: Stage(far, *urls), lambda stage: stage.run(call or a_call(1, 2), a_call(3))
    )


def test_the_rows_of_a_batch_come_back_in_their_order() -> None:
    stage, outputs = run_once(Far())
    assert isinstance(outputs, Outputs)
    assert first_column(outputs.arrays[0]) == [2, 4, 6]
    assert outputs.calls == 2
    ((_, asked, _),) = stage.far.asked
    assert asked.method == "POST"
    assert asked.path.endswith("/v2/models/theirs/versions/3/infer")
    assert asked.headers["x-key"] == "secret"
    assert asked.headers[JSON_LENGTH].isdigit()
    assert asked.rows.tolist() == [[1], [2], [3]]


def test_an_endpoint_hears_what_is_left_of_the_latest_deadline_less_a_margin() -> None:
    stage, _ = played(
        lambda: Stage(Far()), lambda stage: stage.run(a_call(1, deadline=1), a_call(2, deadline=3))
    )
    assert stage.far.asked[0][1].headers["x-request-timeout-ms"] == "2995"


def test_without_a_deadline_it_hears_of_the_versions_own() -> None:
    stage, _ = run_once(Far())
    assert stage.far.asked[0][1].headers["x-request-timeout-ms"] == "9995"


@pytest.mark.parametrize(
    "says", [lost, saying(503), saying(503, b'{"code": "draining"}', retry_after="1")]
)
def test_what_was_not_heard_is_asked_once_more_elsewhere(
    says: Callable[[Asked], Reply | Exception],
) -> None:
    seen = set()
    for _ in range(8):
        stage, outputs = played(lambda: Stage(Far(a=says)), several)
        assert outputs == [True] * 4
        seen.add((len(stage.far.asked), stage.retries))
        assert stage.retries == stage.far.hosts().count("a")
    assert max(seen) > (4, 0)


async def several(stage: Stage) -> list[bool]:
    return [isinstance(await stage.run(a_call(1)), Outputs) for _ in range(4)]


@pytest.mark.parametrize(
    "says",
    [
        cut,
        saying(429, retry_after="1"),
        saying(503, b'{"code": "overloaded"}', retry_after="1"),
        saying(400),
        saying(500),
        saying(504),
        saying(302),
        saying(200),
    ],
)
def test_nothing_else_is(says: Callable[[Asked], Reply | Exception]) -> None:
    stage, outputs = run_once(Far(a=says, b=says))
    assert not isinstance(outputs, Outputs)
    assert (len(stage.far.asked), stage.retries) == (1, 0)


def test_callers_in_haste_are_not_held_against_whoever_says_that_it_is_too_late() -> None:
    """Else one of them would have every endpoint left out."""

    async def many(stage: Stage) -> list[type]:
        return [type(await stage.run(a_call(1))) for _ in range(40)]

    stage, told = played(lambda: Stage(Far(a=saying(504), b=saying(504))), many)
    assert set(told) == {DeadlineExceeded}
    assert set(stage.far.hosts()[-20:]) == {"a", "b"}


def test_it_is_asked_once_more_and_no_third_time() -> None:
    stage, error = run_once(Far(a=lost, b=lost))
    assert isinstance(error, ModelFailed)
    assert not error.by_a_call
    assert sorted(stage.far.hosts()) == ["a", "b"]


def test_the_only_endpoint_is_not_asked_again() -> None:
    stage, _ = run_once(Far(a=lost), A)
    assert stage.far.hosts() == ["a"]


def test_a_pause_is_at_most_a_quarter_of_a_tenth() -> None:
    stage, _ = run_once(Far(a=lost, b=lost))
    (_, _, first), (_, _, second) = stage.far.asked
    assert 0 < second - first <= 0.025


def test_nothing_is_asked_again_that_would_come_too_late() -> None:
    stage, _ = played(
        lambda: Stage(Far(0.004, a=lost, b=lost)),
        lambda stage: stage.run(a_call(1, deadline=0.0055)),
    )
    assert len(stage.far.asked) == 1


def test_what_would_be_too_late_already_is_not_sent() -> None:
    stage, error = played(lambda: Stage(Far()), lambda stage: stage.run(a_call(1, deadline=0.005)))
    assert isinstance(error, DeadlineExceeded)
    assert stage.far.asked == []


@pytest.mark.parametrize("calls", [50, 400])
def test_a_total_outage_makes_a_tenth_more_requests(calls: int) -> None:
    async def scene(stage: Stage) -> int:
        ends = await asyncio.gather(*(stage.run(a_call(1)) for _ in range(calls)))
        return sum(isinstance(end, Outputs) for end in ends)

    stage, answered = played(lambda: Stage(Far(0.001, a=lost, b=lost)), scene)
    assert answered == 0
    assert len(stage.far.asked) == calls + stage.retries
    assert stage.retries <= 0.1 * calls + SPARE


def test_where_nobody_else_may_be_asked_no_retry_is_paid() -> None:
    """Or none would be left when there is somebody again."""
    watch = Barring(B)

    async def scene(stage: Stage) -> list[str]:
        for _ in range(SPARE + 1):
            await stage.run(a_call(1))
        assert stage.far.hosts() == ["a"] * (SPARE + 1)
        watch.barred.clear()
        await stage.run(a_call(1))
        return stage.far.hosts()[SPARE + 1 :]

    stage, asked = played(lambda: Stage(Far(a=lost, b=lost), watch=watch), scene)
    assert (asked, stage.retries) == (["b", "a"], 1)


def test_who_leaves_during_the_pause_is_asked_about_no_more_and_leaves_nothing_under_way() -> None:
    watch = Watch()
    stage, (end, _) = played(
        lambda: Stage(Far(a=lost, b=lost), watch=watch), gone_after(1e-6, [ClientGone("gone")])
    )
    assert isinstance(end, Draining)
    assert (len(stage.far.asked), stage.retries) == (1, 0)
    assert [outcome for _, outcome in watch.told] == ["failure", "void"]
    assert stage.remote.statistics() == (0, 0)


def alone(asked: Asked) -> Reply:
    """Answer one row, and fail where there are several."""
    return well(asked) if len(asked.rows) == 1 else saying(500)(asked)


def test_what_is_run_again_of_a_batch_that_failed_pays_for_no_retries() -> None:
    """Or one that is halved would let an outage be made worse by so many of them."""
    away = saying(503, b'{"code": "draining"}', retry_after="0")  # held against nobody

    async def scene(stage: Stage) -> int:
        client = Client()
        async with Batcher(stage.remote.run, Policy(max_rows=64), a_record(), now) as batcher:
            for row in range(64):
                batcher.offer(client.call(row))
        assert sorted(str(answer) for answer in client.answers()) == sorted(
            str([2.0 * row]) for row in range(64)
        )
        stage.far.says = {"a": away, "b": away}
        for _ in range(10):
            await stage.run(a_call(1))
        return len(stage.far.asked)

    stage, asked = played(lambda: Stage(Far(a=alone, b=alone)), scene)
    assert stage.retries == 4  # a tenth of eleven batches, and three
    assert asked == 2 * 64 - 1 + 10 + 4


def test_a_batch_that_no_call_is_to_blame_for_is_not_halved() -> None:
    """Or an outage would make twice as many requests as there are calls."""

    async def scene(stage: Stage) -> list[object]:
        client = Client()
        policy = Policy(max_rows=64, max_running=8)
        async with Batcher(stage.remote.run, policy, a_record(), now) as batcher:
            for row in range(64):
                batcher.offer(client.call(row))
        return list(client.answers())

    stage, answers = played(lambda: Stage(Far(a=lost, b=lost)), scene)
    assert answers == [ModelFailed] * 64
    assert len(stage.far.asked) == 2


def test_a_poisoned_call_fails_alone() -> None:
    async def scene(stage: Stage) -> list[object]:
        client = Client()
        policy = Policy(max_rows=64, max_running=8)
        async with Batcher(stage.remote.run, policy, a_record(), now) as batcher:
            for row in range(50):
                batcher.offer(client.call(-1 if row == 17 else row))
        return [answer_of(call) for call in sorted(client.heard, key=lambda call: call.arrived)]

    _, answers = played(lambda: Stage(Far(0.001)), scene)
    assert answers.count(ModelFailed) == 1
    assert sorted(one for one in answers if isinstance(one, list)) == sorted(
        [[2.0 * row] for row in range(50) if row != 17]
    )


@pytest.mark.parametrize("together", [1, 7, 50])
def test_one_poisoned_call_of_fifty_leaves_nobody_out(together: int) -> None:
    watch = Watch()

    async def scene(stage: Stage) -> Counter[object]:
        client = Client()
        policy = Policy(max_rows=64, max_running=8)
        async with Batcher(stage.remote.run, policy, a_record(), now) as batcher:
            for number in range(500):
                batcher.offer(client.call(-1.0 if number % 50 == 49 else 1.0))
                if number % together == together - 1:
                    await asyncio.sleep(0.02)
        return Counter(type(call.error) for call in client.heard)

    stage, heard = played(lambda: Stage(Far(0.001), watch=watch), scene)
    assert heard == {type(None): 490, ModelFailed: 10}
    assert Counter(outcome for _, outcome in watch.told)["failure"] == 10
    assert stage.retries == 0


def gone_after(
    seconds: float, errors: Sequence[Exception]
) -> Callable[[Stage], Coroutine[object, object, tuple[Outputs | Exception, float]]]:
    """Fail the calls of a batch one after the other, from so many seconds on."""

    async def scene(stage: Stage) -> tuple[Outputs | Exception, float]:
        calls = [a_call(row) for row in range(len(errors))]
        task = asyncio.ensure_future(stage.run(*calls))
        await asyncio.sleep(seconds)
        for call, error in zip(calls, errors, strict=True):
            assert not task.done()
            call.fail(error)
        return await task, now()

    return scene


def test_whatever_nobody_waits_for_is_cancelled() -> None:
    watch = Watch()
    stage, (end, at) = played(
        lambda: Stage(Far(5.0), watch=watch), gone_after(1.0, [ClientGone("gone")] * 3)
    )
    assert isinstance(end, Draining)
    assert at == 1.0
    assert stage.far.cancelled == [1.0]
    assert [outcome for _, outcome in watch.told] == ["void"]
    assert stage.remote.statistics() == (0, 0)


def test_as_long_as_one_waits_it_goes_on() -> None:
    async def scene(stage: Stage) -> Outputs | Exception:
        calls = [a_call(1), a_call(2)]
        task = asyncio.ensure_future(stage.run(*calls))
        await asyncio.sleep(1.0)
        calls[0].fail(ClientGone("gone"))
        return await task

    stage, outputs = played(lambda: Stage(Far(2.0)), scene)
    assert isinstance(outputs, Outputs)
    assert stage.far.cancelled == []


@pytest.mark.parametrize(("waited_s", "outcome"), [(0.02, "void"), (0.2, "failure")])
def test_an_endpoint_that_was_given_time_is_blamed_for_a_deadline(
    waited_s: float, outcome: Outcome
) -> None:
    watch = Watch()
    late = DeadlineExceeded("too late", "execute")
    played(lambda: Stage(Far(5.0), watch=watch), gone_after(waited_s, [late]))
    assert [told for _, told in watch.told] == [outcome]


def test_all_deadlines_over_end_the_request() -> None:
    watch = Watch()
    stage, error = played(
        lambda: Stage(Far(5.0), watch=watch),
        lambda stage: stage.run(a_call(1, deadline=0.5), a_call(1, deadline=1.5)),
    )
    assert isinstance(error, DeadlineExceeded)
    assert stage.far.cancelled == [1.5]
    assert [told for _, told in watch.told] == ["failure"]


def test_an_endpoint_that_never_answers_is_waited_for_so_long_and_no_longer() -> None:
    watch = Watch()
    stage, error = played(
        lambda: Stage(Far(1e6), watch=watch),
        lambda stage: stage.run(a_call(1)),
    )
    assert isinstance(error, ModelFailed)
    assert not error.by_a_call
    assert stage.far.cancelled == [TIMEOUT_S]
    assert [told for _, told in watch.told] == ["failure"]


def test_a_batch_whose_callers_left_before_it_began_ends_all_the_same() -> None:
    async def scene(stage: Stage) -> Outputs | Exception:
        call = a_call(1)
        task = asyncio.ensure_future(stage.run(call))
        asyncio.get_running_loop().call_soon(call.fail, ClientGone("gone"))
        return await task

    stage, end = played(lambda: Stage(Far(5.0)), scene)
    assert isinstance(end, Draining)
    assert stage.far.cancelled == [0.0] or stage.far.asked == []


def test_a_call_hears_its_end_as_it_would_without_us() -> None:
    heard: list[Call] = []

    async def scene(stage: Stage) -> None:
        call = a_call(1, on_done=heard.append)
        owner = call.on_done
        await stage.run(call)
        call.answer(Outputs([np.zeros((1, 1))], 1), 0, 1)
        assert heard == [call]
        assert call.on_done == owner

    played(lambda: Stage(Far()), scene)


def test_refused_for_want_of_room_callers_hear_when_to_come_back() -> None:
    says = saying(429, retry_after="7")
    watch = Watch()
    _, error = played(
        lambda: Stage(Far(a=says, b=says), watch=watch), lambda stage: stage.run(a_call(1))
    )
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 7.0
    assert [told for _, told in watch.told] == ["void"]


def test_where_nobody_has_room_most_is_refused_here() -> None:
    says = saying(429)

    async def scene(stage: Stage) -> int:
        for _ in range(100):
            assert isinstance(await stage.run(a_call(1)), Overloaded)
        return len(stage.far.asked)

    _, sent = played(lambda: Stage(Far(a=says, b=says)), scene)
    assert sent < 40


def test_closing_gives_up_what_is_under_way() -> None:
    async def scene() -> list[Outputs | Exception]:
        stage = Stage(Far(5.0))
        ended: list[Outputs | Exception] = []
        async with stage.remote:
            stage.remote.run([a_call(1)], ended.append)
            await asyncio.sleep(1.0)
        await asyncio.sleep(0)
        return ended

    (error,) = play(scene)
    assert isinstance(error, Draining)


def test_an_error_that_nobody_named_ends_the_batch_too() -> None:
    _, error = run_once(Far(a=lambda _: ZeroDivisionError("!"), b=lambda _: ZeroDivisionError("!")))
    assert isinstance(error, ZeroDivisionError)


def test_one_that_fails_is_left_out_and_its_neighbour_takes_all() -> None:
    async def scene(stage: Stage) -> list[str]:
        for _ in range(120):
            assert isinstance(await stage.run(a_call(1)), Outputs)
            await asyncio.sleep(0.5)
        return stage.far.hosts()[-20:]

    stage, last = played(lambda: Stage(Far(0.001, a=lost)), scene)
    assert set(last) == {"b"}
    assert stage.far.hosts().count("a") == stage.retries <= FAILURES + 1


@pytest.mark.parametrize("at_once", [1, 8])
def test_where_one_dies_under_load_no_call_fails(at_once: int) -> None:
    async def ask(stage: Stage) -> list[bool]:
        return [isinstance(await stage.run(a_call(1)), Outputs) for _ in range(100)]

    async def scene(stage: Stage) -> list[list[bool]]:
        asyncio.get_running_loop().call_later(0.2, stage.far.says.update, {"a": lost})
        return await asyncio.gather(*(ask(stage) for _ in range(at_once)))

    stage, answered = played(lambda: Stage(Far(0.01)), scene)
    assert answered == [[True] * 100] * at_once
    assert stage.retries > 0


def test_a_thread_may_wait_for_an_answer_and_is_never_retried() -> None:
    async def scene() -> tuple[list[float], int]:
        stage = Stage(Far(a=lost, b=lost))
        async with stage.remote:
            with pytest.raises(ModelFailed, match="no connection"):
                await asyncio.to_thread(stage.remote.execute, [a_call(1)])
            stage.far.says = {}
            outputs = await asyncio.to_thread(stage.remote.execute, [a_call(1), a_call(2)])
        return first_column(outputs.arrays[0]), stage.retries

    assert asyncio.run(scene()) == ([2.0, 4.0], 0)
