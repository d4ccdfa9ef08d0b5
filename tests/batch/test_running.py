"""Running: what the record hears of executions, and when; what becomes of lost batches."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch.batcher import Batcher
from gateway.batch.running import Running
from gateway.batch.turns import Finish, Refuge, Turns
from gateway.core.batching import Policy
from gateway.core.suspects import Loss, WorkerLost
from gateway.errors import ClientGone, DeadlineExceeded, Draining, ModelFailed, Overloaded
from gateway.observe.counts import Counts, read
from gateway.observe.layout import OUTCOME_NAMES
from gateway.observe.record import Record
from gateway.types import Call, Outputs
from tests.batch.lossy import KILLER, RESTART_S, SLOW, Lossy
from tests.clock import play
from tests.fakes import (
    POISON,
    Answer,
    Client,
    FakeModel,
    a_call,
    a_record,
    a_row,
    answer_of,
    now,
    rows_of,
)

FAR = 1e9


class Listening:
    """A record that writes down what it hears."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, float]] = []

    def begin(self) -> None:
        self.told.append(("begin", now(), now()))

    def finish(
        self, calls: Sequence[Call], outputs: Outputs | None, started: float, ended: float
    ) -> None:
        what = "failed" if outputs is None else f"ran {sum(not call.done for call in calls)}"
        self.told.append((what, started, ended))

    def complete(self, call: Call, outputs: Outputs, started: float, ended: float) -> None:
        assert not call.done
        self.told.append((f"complete {call.rows}", started, ended))

    def words(self) -> list[str]:
        return [word for word, _, _ in self.told]


def counted(rows: Sequence[Sequence[float]], policy: Policy, cost_s: float = 0.0) -> Counts:
    """Return what is counted when calls of these rows are offered at once."""

    async def scene() -> Counts:
        row, client, model = a_row(), Client(), FakeModel(cost_s)
        async with Batcher(model.run, policy, Record(row), now) as batcher:
            for one in rows:
                batcher.offer(client.call(*one))
        assert len(client.heard) == len(rows)
        return read(row)

    return play(scene)


def successes(counts: Counts) -> int:
    return counts.outcomes[OUTCOME_NAMES.index("success")]


def test_an_execution_is_told_of_before_it_starts_and_before_it_is_answered() -> None:
    async def scene() -> list[str]:
        record = Listening()

        def run(calls: Sequence[Call], finish: Finish) -> None:
            record.told.append(("run", 0, 0))
            FakeModel().run(calls, finish)

        async with Batcher(run, Policy(), record, now) as batcher:
            client = Client()
            call = client.call(1)
            call.on_done = lambda _: record.told.append(("answer", 0, 0))
            batcher.offer(call)
        return record.words()

    assert play(scene) == ["begin", "run", "ran 1", "answer"]


def test_an_execution_takes_from_its_start_to_its_end() -> None:
    async def scene() -> list[tuple[str, float, float]]:
        record = Listening()
        async with Batcher(FakeModel(cost_s=1.0).run, Policy(), record, now) as batcher:
            await asyncio.sleep(2.0)
            batcher.offer(Client().call(1))
            await asyncio.sleep(0.5)
            batcher.offer(Client().call(2))
        return record.told

    assert play(scene) == [
        ("begin", 2.0, 2.0),
        ("ran 1", 2.0, 3.0),
        ("begin", 3.0, 3.0),
        ("ran 1", 3.0, 4.0),
    ]


@pytest.mark.parametrize("cost_s", [0.0, 1.0])
def test_every_half_of_a_batch_that_failed_is_an_execution(cost_s: float) -> None:
    """Eight calls and one guilty: the batch, and two halves at each of three halvings."""
    rows = [[1.0]] * 5 + [[POISON]] + [[1.0]] * 2
    counts = counted(rows, Policy(max_rows=8), cost_s)
    assert (counts.executions, counts.inferences, successes(counts)) == (7, 7, 7)
    assert {rows: size[0] for rows, size in counts.sizes.items()} == {4: 1, 2: 1, 1: 1}


def test_a_call_in_parts_is_one_success_and_several_executions() -> None:
    counts = counted([[1.0] * 10, [2.0]], Policy(max_rows=4), cost_s=1.0)
    assert (counts.executions, counts.inferences, successes(counts)) == (3, 11, 2)
    # the last part starts after two executions; the small call is in with it
    assert counts.queue_ns == 4_000_000_000
    assert counts.success_ns == 6_000_000_000


def test_a_call_whose_parts_run_at_once_is_charged_one_execution() -> None:
    counts = counted([[1.0] * 10], Policy(max_rows=4, max_running=3), cost_s=1.0)
    assert (counts.executions, successes(counts)) == (3, 1)
    assert (counts.queue_ns, counts.success_ns) == (0, 1_000_000_000)


def test_a_call_of_which_a_part_fails_is_no_success() -> None:
    counts = counted([[1.0] * 4 + [POISON]], Policy(max_rows=4))
    assert (counts.executions, successes(counts), counts.inferences) == (2, 0, 4)


def test_an_execution_that_everybody_left_is_told_of_when_it_ends() -> None:
    async def scene() -> list[str]:
        record, client = Listening(), Client()
        async with Batcher(FakeModel(cost_s=1.0).run, Policy(), record, now) as batcher:
            calls = [client.call(1), client.call(2)]
            for call in calls:
                batcher.offer(call)
            await asyncio.sleep(0.5)
            for call in calls:
                call.fail(ClientGone("connection closed"))
            await asyncio.sleep(1.0)
        return record.words()

    assert play(scene) == ["begin", "ran 0"]


def test_a_hung_execution_is_given_up_at_the_end_and_not_heard_again() -> None:
    async def scene() -> tuple[list[tuple[str, float, float]], list[str]]:
        record, client, finishers = Listening(), Client(), list[Finish]()
        policy = Policy(max_rows=1, max_running=2, drain_s=3.0)

        def hang(_calls: Sequence[Call], finish: Finish) -> None:
            finishers.append(finish)

        async with Batcher(hang, policy, record, now) as batcher:
            calls = [client.call(1), client.call(2)]
            for call in calls:
                batcher.offer(call)
        for finish in finishers:
            finish(Outputs([], 1))
        assert [answer_of(call) for call in calls] == [Draining, Draining]
        return record.told, record.words()

    told, words = play(scene)
    assert words == ["begin", "begin", "failed", "failed"]
    assert told[2:] == [("failed", 0.0, 3.0)] * 2


def test_an_executor_that_raises_has_ended_its_execution() -> None:
    async def scene() -> list[str]:
        record = Listening()

        def broken(_calls: Sequence[Call], _finish: Finish) -> None:
            raise RuntimeError

        async with Batcher(broken, Policy(), record, now) as batcher:
            batcher.offer(Client().call(1))
        return record.words()

    assert play(scene) == ["begin", "failed"]


def test_a_second_word_about_an_execution_is_not_counted() -> None:
    async def scene() -> list[str]:
        record = Listening()

        def twice(calls: Sequence[Call], finish: Finish) -> None:
            FakeModel().run(calls, finish)
            finish(RuntimeError("a second word"))

        async with Batcher(twice, Policy(), record, now) as batcher:
            batcher.offer(Client().call(1))
        return record.words()

    assert play(scene) == ["begin", "ran 1"]


@pytest.mark.parametrize(
    "error", [ModelFailed("nobody answered", by_a_call=False), Overloaded("no room")]
)
def test_where_no_call_is_to_blame_all_hear_it_and_nothing_is_run_again(error: Exception) -> None:
    async def scene() -> tuple[list[object], int]:
        client, runs = Client(), 0

        def run(_calls: Sequence[Call], finish: Finish) -> None:
            nonlocal runs
            runs += 1
            finish(error)

        async with Batcher(run, Policy(), a_record(), now) as batcher:
            for row in range(9):
                batcher.offer(client.call(row))
        assert len({id(call.error) for call in client.heard}) == 9
        return list(client.answers()), runs

    assert play(scene) == ([type(error)] * 9, 1)


# suspects: batches whose process died


def lost_and_answered(
    rows: Sequence[float],
    instances: int = 1,
    within_s: float = FAR,
    during: Callable[[Lossy], Coroutine[object, object, None]] | None = None,
) -> tuple[list[Answer], Lossy]:
    """Offer calls of one row each, all at once, and let them end; return what they heard."""

    async def scene() -> tuple[list[Answer], Lossy]:
        floor, client = Lossy(instances), Client()
        async with floor.batcher() as batcher:
            calls = [client.call(row, deadline=now() + within_s) for row in rows]
            for call in calls:
                batcher.offer(call)
            if during is not None:
                await during(floor)
            await asyncio.sleep(1000.0)
            assert len(client.heard) == len(calls)
            later = client.call(5)  # it serves on, in as many instances as before
            batcher.offer(later)
            await asyncio.sleep(10.0)
            assert answer_of(later) == [10.0]
            assert floor.is_whole()
        assert len(client.heard) == len(calls) + 1
        return [answer_of(call) for call in calls], floor

    return play(scene)


async def kill(floor: Lossy) -> None:
    await asyncio.sleep(0.05)
    floor.kill()


def twice(rows: Sequence[float]) -> list[Answer]:
    return [[2 * row] for row in rows]


@pytest.mark.parametrize("instances", [1, 3])
def test_a_batch_whose_process_was_killed_is_tried_again_as_it_is(instances: int) -> None:
    answers, floor = lost_and_answered([1, 2, 3], instances, during=kill)
    assert answers == twice([1, 2, 3])
    assert floor.retries == [[1, 2, 3]]


@pytest.mark.parametrize("instances", [1, 3])
@pytest.mark.parametrize("at", [0, 3, 7])
def test_of_a_batch_that_kills_its_process_only_the_guilty_call_fails(
    instances: int, at: int
) -> None:
    rows = [1.0] * 8
    rows[at] = KILLER
    answers, floor = lost_and_answered(rows, instances)
    expected: list[Answer] = twice(rows)
    expected[at] = ModelFailed
    assert answers == expected
    assert floor.losses == [rows, [KILLER]]  # no halving: two processes, whoever is guilty
    assert floor.retries == [[row] for row in rows]


def test_several_batches_that_kill_are_tried_again_one_after_another() -> None:
    """That only one runs at the refuge is asserted there."""
    rows = [KILLER, 1, 2, 3] * 6
    answers, _ = lost_and_answered(rows, instances=3)
    assert answers == [ModelFailed, *twice([1, 2, 3])] * 6


def test_others_are_served_while_one_batch_is_tried_again() -> None:
    async def offer_more(floor: Lossy) -> None:
        await asyncio.sleep(0.15)  # the first process has died, the next is starting
        client = Client()
        async with floor.batcher() as other:
            call = client.call(3)
            other.offer(call)
            await asyncio.sleep(0.11)
            assert answer_of(call) == [6.0]
            assert not floor.retries

    lost_and_answered([KILLER, 1], instances=2, during=offer_more)


def test_with_one_instance_others_wait_and_are_answered() -> None:
    answers, _ = lost_and_answered([KILLER, *[1.0] * 20])
    assert answers == [ModelFailed, *twice([1.0] * 20)]


def test_a_call_that_is_merely_slow_is_tried_last_and_for_as_long_as_it_takes() -> None:
    answers, floor = lost_and_answered([1, SLOW, 2, 3])
    assert answers == twice([1, SLOW, 2, 3])
    # as it was, each alone, and the slow one again when the others were answered
    assert floor.retries == [[1, SLOW, 2, 3], [1], [SLOW], [2], [3], [SLOW]]


def test_a_call_that_never_ends_hurts_nobody_but_itself() -> None:
    answers, floor = lost_and_answered([1, SLOW, 2, 3], within_s=7.0)
    assert answers == [[2], DeadlineExceeded, [4], [6]]
    assert floor.retries[-1] == [SLOW]


def test_whoever_is_killed_again_and_again_is_given_up() -> None:
    async def murder(floor: Lossy) -> None:
        for _ in range(10):
            await asyncio.sleep(0.05)
            floor.kill()
            await asyncio.sleep(RESTART_S)

    answers, floor = lost_and_answered([1], during=murder)
    assert answers == [ModelFailed]
    assert len(floor.losses) == 4


def test_deadlines_are_obeyed_before_a_batch_is_tried_again() -> None:
    """Nobody waits any more when the refuge stands."""
    answers, floor = lost_and_answered([1, 2], within_s=0.3, during=kill)
    assert answers == [DeadlineExceeded] * 2
    assert floor.retries == []


def test_who_leaves_is_not_tried_again() -> None:
    async def scene() -> list[list[float]]:
        floor, client = Lossy(), Client()
        async with floor.batcher() as batcher:
            calls = [client.call(row) for row in (1, 2, 3)]
            for call in calls:
                batcher.offer(call)
            await asyncio.sleep(0.05)
            floor.kill()
            calls[1].fail(ClientGone("connection closed"))
            await asyncio.sleep(5.0)
            assert [answer_of(call) for call in calls] == [[2], ClientGone, [6]]
        return floor.retries

    assert play(scene) == [[1, 3]]


def test_a_batch_that_everybody_left_is_not_tried_again_and_nothing_waits_for_it() -> None:
    async def scene() -> list[list[float]]:
        floor, client, busy = Lossy(), Client(), set[object]()
        async with floor.batcher() as batcher:
            batcher._busy = busy  # noqa: SLF001 - who shares it with others
            call = client.call(1)
            batcher.offer(call)
            await asyncio.sleep(0.05)
            floor.kill()
            assert busy
            call.fail(ClientGone("connection closed"))
            await asyncio.sleep(5.0)
            assert not busy
        return floor.retries

    assert play(scene) == []


def test_a_batch_that_breaks_at_the_refuge_without_killing_it_is_halved_as_usual() -> None:
    rows = [1, 2, POISON, 4]
    answers, floor = lost_and_answered(rows, during=kill)
    assert answers == [[2], [4], ModelFailed, [8]]
    assert floor.retries == [rows]


@pytest.mark.parametrize(("drain_s", "expected"), [(20.0, [[2.0], [4.0]]), (0.3, [Draining] * 2)])
def test_a_drain_waits_for_suspects_and_not_for_ever(
    drain_s: float, expected: list[Answer]
) -> None:
    async def scene() -> list[Answer]:
        floor, client = Lossy(), Client()
        floor.policy = replace(floor.policy, drain_s=drain_s)
        async with floor.batcher() as batcher:
            calls = [client.call(row) for row in (1, 2)]
            for call in calls:
                batcher.offer(call)
            await asyncio.sleep(0.05)
            floor.kill()
        await asyncio.sleep(5.0)
        assert floor.refuge_turns.is_idle()
        return [answer_of(call) for call in calls]

    assert play(scene) == expected


@pytest.mark.parametrize(
    ("loss", "waiting"),
    [("crashed", [2.0]), ("killed", [])],  # tried one by one; tried as they were, together
)
def test_who_hears_that_it_expired_may_take_the_suspects_that_wait(
    loss: Loss, waiting: list[float]
) -> None:
    """As a gate does whose breaker opens meanwhile. Nobody is run whom somebody took."""
    clock, taken, ran = 0.0, list[Call](), list[Sequence[Call]]()
    turns = Turns(0)
    refuge = Refuge(turns, lambda calls, _: ran.append(calls), lambda calls, _: ran.append(calls))
    running = Running(a_record(), lambda: clock, lambda: None, refuge)
    first = a_call(1, deadline=1.0, on_done=lambda _: taken.extend(running.take_waiting()))
    second = a_call(2)
    running.start(lambda _, finish: finish(WorkerLost("it died", loss)), [first, second], clock)
    clock = 2.0
    turns.allow(1)  # the refuge stands
    assert answer_of(first) is DeadlineExceeded
    assert [row for call in taken for row in rows_of(call)] == waiting
    assert ran == ([] if waiting else [[second]])
    assert not second.done


def test_without_a_refuge_a_lost_batch_is_halved_like_any_other() -> None:
    async def scene() -> list[Answer]:
        client = Client()

        def loses(calls: Sequence[Call], finish: Finish) -> None:
            finish(WorkerLost("it died", "crashed"))

        async with Batcher(loses, Policy(), a_record(), now) as batcher:
            calls = [client.call(1), client.call(2)]
            for call in calls:
                batcher.offer(call)
        return [answer_of(call) for call in calls]

    assert play(scene) == [ModelFailed, ModelFailed]


ROWS = st.sampled_from([1.0, 2.0, 3.0, KILLER, POISON, SLOW])


@given(
    st.lists(st.tuples(ROWS, st.floats(0.0, 3.0)), min_size=1, max_size=30),
    st.integers(1, 3),
    st.lists(st.floats(0.0, 3.0), max_size=4),
    st.sampled_from([2.0, 20.0, 1e6]),
)
def test_whoever_dies_of_what_every_call_is_answered_once(
    offers: list[tuple[float, float]], instances: int, kills: list[float], within_s: float
) -> None:
    async def scene() -> tuple[list[tuple[float, Answer]], Lossy]:
        floor, client, calls = Lossy(instances), Client(), list[tuple[float, Call]]()
        async with floor.batcher() as one, floor.batcher() as other:
            arms, loop = (one, other), asyncio.get_running_loop()

            def offer(at: int, row: float) -> None:
                calls.append((row, client.call(row, deadline=now() + within_s)))
                arms[at % 2].offer(calls[-1][1])

            for at, (row, when) in enumerate(offers):
                loop.call_later(when, offer, at, row)
            for when in kills:
                loop.call_later(when, floor.kill)
            await asyncio.sleep(1000.0)
        assert len(client.heard) == len(offers)
        return [(row, answer_of(call)) for row, call in calls], floor

    answers, floor = play(scene)
    assert floor.is_whole()
    for row, answer in answers:
        if row in (KILLER, POISON):
            assert answer in (ModelFailed, DeadlineExceeded)
        elif len(kills) < 3 and within_s > 1e3:
            assert answer == [2 * row]
