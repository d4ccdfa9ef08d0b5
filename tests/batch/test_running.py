"""Running: what the record hears of executions, and when."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.batch.batcher import Batcher
from gateway.batch.running import Finish
from gateway.core.batching import Policy
from gateway.errors import ClientGone, Draining, ModelFailed, Overloaded
from gateway.observe.counts import Counts, read
from gateway.observe.layout import OUTCOME_NAMES
from gateway.observe.record import Record
from gateway.types import Call, Outputs
from tests.clock import play
from tests.fakes import POISON, Client, FakeModel, a_record, a_row, answer_of, now

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
