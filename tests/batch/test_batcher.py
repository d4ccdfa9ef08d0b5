"""What the batcher promises, scene by scene, in virtual time."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gateway.batch.batcher import Batcher, Busy, Finish, Statistics
from gateway.core.batching import MAX_SHAPE_CLASSES, Policy
from gateway.errors import ClientGone, DeadlineExceeded, Draining, ModelFailed, Overloaded
from gateway.types import Call, Outputs
from tests.clock import Stuck, play
from tests.fakes import (
    POISON,
    Answer,
    Client,
    FakeModel,
    Poisoned,
    a_call,
    a_record,
    answer_of,
    batcher_for,
    now,
)

Batches = list[list[float]]
FAR = 1e9  # a cost that nobody lives to see


async def ticks(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_calls_of_one_tick_leave_together_without_a_timer() -> None:
    async def scene() -> tuple[Batches, list[Answer], float]:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            for row in (1, 2, 3):
                batcher.offer(client.call(row))
            assert model.batches == []
            await ticks(1)
            return model.batches, client.answers(), now()

    assert play(scene) == ([[1, 2, 3]], [[2], [4], [6]], 0.0)


def test_calls_keep_gathering_while_the_executor_is_busy() -> None:
    async def scene() -> tuple[Batches, list[float]]:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            for row in range(5):
                batcher.offer(client.call(row))
                await asyncio.sleep(0.125)
        return model.batches, model.started

    assert play(scene) == ([[0], [1, 2, 3, 4]], [0.0, 1.0])


def test_a_batch_is_counted_in_rows() -> None:
    async def scene() -> Batches:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=4)) as batcher:
            for rows in ((1, 2, 3), (4, 5), (6, 7)):
                batcher.offer(client.call(*rows))
        return model.batches

    assert play(scene) == [[1, 2, 3], [4, 5, 6, 7]]


def test_each_caller_gets_the_rows_it_asked_about() -> None:
    async def scene() -> list[Answer]:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            for rows in ((1,), (2, 3, 4), (5, 6)):
                batcher.offer(client.call(*rows))
        return client.answers()

    assert play(scene) == [[2], [4, 6, 8], [10, 12]]


def test_shapes_do_not_mix() -> None:
    async def scene() -> tuple[Batches, list[Answer]]:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            for row, width in ((1, 1), (2, 2), (3, 1), (4, 2)):
                batcher.offer(client.call(row, width=width))
        return model.batches, client.answers()

    assert play(scene) == ([[1, 3], [2, 4]], [[2], [6], [4], [8]])


def test_equal_shapes_share_a_batch_though_they_are_not_one_object() -> None:
    async def scene() -> Batches:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            one, two = client.call(1, width=3), client.call(2, width=3)
            two.shapes = ((int("3"),),)
            assert two.shapes is not one.shapes
            batcher.offer(one)
            batcher.offer(two)
        return model.batches

    assert play(scene) == [[1, 2]]


def test_between_two_executions_on_the_loop_a_newcomer_joins_the_line() -> None:
    async def scene() -> Batches:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=2)) as batcher:
            for row in (1, 2, 3):
                batcher.offer(client.call(row, deadline=9.0))
            await ticks(1)
            batcher.offer(client.call(4, deadline=8.0))
            await ticks(1)
            return model.batches

    assert play(scene) == [[1, 2], [4, 3]]


def test_a_call_that_fills_an_execution_is_not_split() -> None:
    async def scene() -> bool:
        model, given = FakeModel(), list[Call]()

        def run(calls: Sequence[Call], finish: Finish) -> None:
            given.extend(calls)
            model.run(calls, finish)

        async with Batcher(run, Policy(max_rows=2), a_record(), now) as batcher:
            calls = [a_call(1, 2), a_call(3, 4)]
            for call in calls:
                batcher.offer(call)
        return all(call in given for call in calls)

    assert play(scene)


def test_of_several_shapes_the_most_urgent_leaves_first() -> None:
    async def scene() -> Batches:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            batcher.offer(client.call(0))
            await ticks(1)
            batcher.offer(client.call(1, width=1, deadline=20.0))
            batcher.offer(client.call(2, width=2, deadline=10.0))
            batcher.offer(client.call(3, width=3, deadline=30.0, priority=-1))
        return model.batches

    assert play(scene) == [[0], [3], [2], [1]]


def test_many_shapes_come_and_go_and_all_are_answered() -> None:
    async def scene() -> list[list[float]]:
        model, client = FakeModel(cost_s=0.5), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            for lap in range(3):
                for width in range(1, 41):
                    batcher.offer(client.call(width, lap, width=width))
                await asyncio.sleep(9.0)
        return sorted(answer for answer in client.answers() if isinstance(answer, list))

    expected = [[2 * width, 2 * lap] for width in range(1, 41) for lap in range(3)]
    assert play(scene) == expected


def test_a_client_of_endless_shapes_is_refused_and_harms_nobody() -> None:
    """Each turn looks at every shape that waits."""

    async def scene() -> tuple[int, int]:
        model, client = FakeModel(cost_s=1e-3), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            for width in range(1, MAX_SHAPE_CLASSES + 11):
                batcher.offer(client.call(width, width=width))
        answers = client.answers()
        return answers.count(Overloaded), len(answers)

    assert play(scene) == (10, MAX_SHAPE_CLASSES + 10)


def test_a_backlog_leaves_by_priority_then_earliest_deadline() -> None:
    async def scene() -> Batches:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=2)) as batcher:
            batcher.offer(client.call(0))
            await ticks(1)
            for row, priority, deadline in (
                *((1, 1, 50.0), (2, 0, 40.0), (3, 0, 30.0)),
                *((4, 0, 20.0), (5, -1, 60.0)),
            ):
                batcher.offer(client.call(row, priority=priority, deadline=deadline))
        return model.batches

    assert play(scene) == [[0], [5, 4], [3, 2], [1]]


@pytest.mark.parametrize("leaver", [0, 1, 2])
def test_a_client_who_leaves_does_not_harm_its_batchmates(leaver: int) -> None:
    """Regression guard for the commonest bug in published batchers."""

    async def scene() -> list[Answer]:
        client = Client()
        async with batcher_for(FakeModel(cost_s=1.0), Policy(max_rows=3)) as batcher:
            calls = [client.call(row) for row in (1, 2, 3)]
            for call in calls:
                batcher.offer(call)
            await asyncio.sleep(0.5)  # the batch is running
            calls[leaver].fail(ClientGone("connection closed"))
        return [answer_of(call) for call in calls]

    expected: list[Answer] = [[2], [4], [6]]
    expected[leaver] = ClientGone
    assert play(scene) == expected


@pytest.mark.parametrize("shift", ["at once", "in the queue"])
@pytest.mark.parametrize("row_counts", [(1, 1), (5, 1), (1, 5)])
def test_a_call_whose_client_left_before_the_cut_never_runs(
    shift: str, row_counts: tuple[int, int]
) -> None:
    async def scene() -> Batches:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=4)) as batcher:
            if shift == "in the queue":
                batcher.offer(client.call(0))
                await ticks(1)
            leaver, stayer = (client.call(*[7.0] * rows) for rows in row_counts)
            batcher.offer(leaver)
            leaver.fail(ClientGone("connection closed"))
            batcher.offer(stayer)
        assert answer_of(stayer) == [14.0] * row_counts[1]
        assert batcher.statistics() == Statistics(0, 0)
        return model.batches[shift == "in the queue" :]

    rows = [7.0] * row_counts[1]
    assert play(scene) == [rows[start : start + 4] for start in range(0, len(rows), 4)]


def test_if_everybody_left_nothing_runs() -> None:
    async def scene() -> Batches:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=4)) as batcher:
            for width in (1, 1, 2):
                batcher.offer(call := client.call(1, width=width))
                call.fail(ClientGone("connection closed"))
        return model.batches

    assert play(scene) == []


def test_an_expired_call_never_runs() -> None:
    async def scene() -> tuple[Batches, list[Answer], list[float]]:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            batcher.offer(client.call(1))
            await asyncio.sleep(0.25)
            batcher.offer(client.call(2, deadline=0.5))
            batcher.offer(client.call(3, deadline=5.0))
        return model.batches, client.answers(), model.started

    assert play(scene) == ([[1], [3]], [DeadlineExceeded, [2], [6]], [0.0, 1.0])


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_call_that_is_offered_too_late_is_refused_at_the_cut(is_alone: bool) -> None:
    async def scene() -> tuple[Batches, list[Answer]]:
        model, client = FakeModel(), Client()
        await asyncio.sleep(2.0)
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            batcher.offer(client.call(1, deadline=2.0))
            if not is_alone:
                batcher.offer(client.call(2, width=2, deadline=3.0))
            await ticks(1)
        return model.batches, client.answers()

    answers: list[Answer] = [DeadlineExceeded, [4]]
    assert play(scene) == (([], answers[:1]) if is_alone else ([[2]], answers))


def test_a_deadline_is_kept_though_the_executor_hangs() -> None:
    """Both who runs and who waits behind it; each hears within the spacing of the alarm."""

    async def scene() -> list[tuple[Answer, float]]:
        heard: list[tuple[Answer, float]] = []
        policy = Policy(max_rows=2, drain_s=1.0)
        async with batcher_for(FakeModel(cost_s=FAR), policy) as batcher:
            for deadline in (3.0, 9.0, 2.0, 2.0, 30.0):
                call = a_call(1, deadline=deadline)
                call.on_done = lambda call: heard.append((answer_of(call), now()))
                batcher.offer(call)
            await asyncio.sleep(20.0)
            assert len(heard) == 4
        return heard

    late = (DeadlineExceeded, DeadlineExceeded, DeadlineExceeded, DeadlineExceeded, Draining)
    kinds, times = zip(*play(scene), strict=True)
    assert kinds == late
    assert times == pytest.approx((2.0, 2.0, 3.0, 9.0, 21.0), abs=0.01)


def test_a_call_that_expires_in_the_queue_makes_room_for_others() -> None:
    async def scene() -> tuple[list[Answer], int]:
        client = Client()
        policy = Policy(max_rows=1, max_waiting_rows=2, drain_s=1.0)
        async with batcher_for(FakeModel(cost_s=FAR), policy) as batcher:
            batcher.offer(client.call(0))
            await ticks(1)
            batcher.offer(client.call(1, deadline=1.0))
            batcher.offer(client.call(2))
            batcher.offer(client.call(3))
            await asyncio.sleep(2.0)
            batcher.offer(client.call(4))
            return client.answers(), batcher.statistics().waiting_rows

    assert play(scene) == ([Overloaded, DeadlineExceeded], 2)


def test_a_large_call_is_split_and_rejoined() -> None:
    async def scene() -> tuple[Batches, list[Answer]]:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=4)) as batcher:
            batcher.offer(client.call(1))
            batcher.offer(client.call(*range(10, 20)))
            batcher.offer(client.call(2))
        return model.batches, client.answers()

    batches, answers = play(scene)
    assert sorted(map(len, batches)) == [1, 3, 4, 4]
    assert answers == [[2], [4], [2 * row for row in range(10, 20)]] or answers == [
        [2],
        [2 * row for row in range(10, 20)],
        [4],
    ]


def test_a_large_call_is_answered_alone_and_at_once_where_the_model_is_quick() -> None:
    async def scene() -> tuple[Batches, list[Answer]]:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=2)) as batcher:
            batcher.offer(client.call(1, 2, 3))
        return model.batches, client.answers()

    assert play(scene) == ([[1, 2], [3]], [[2, 4, 6]])


def test_of_a_large_call_nothing_runs_after_its_client_left() -> None:
    async def scene() -> tuple[Batches, list[Answer]]:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=2)) as batcher:
            batcher.offer(call := client.call(1, 2, 3, 4, 5, 6))
            await asyncio.sleep(0.5)
            call.fail(ClientGone("connection closed"))
            batcher.offer(client.call(7))
        return model.batches, client.answers()

    assert play(scene) == ([[1, 2], [7]], [ClientGone, [14]])


def test_a_large_call_expires_once() -> None:
    async def scene() -> tuple[Batches, list[Answer]]:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=1)) as batcher:
            batcher.offer(client.call(1, 2, 3, 4, deadline=1.5))
        return model.batches, client.answers()

    assert play(scene) == ([[1], [2]], [DeadlineExceeded])


def test_a_full_queue_refuses() -> None:
    async def scene() -> list[Answer]:
        client = Client()
        policy = Policy(max_rows=2, max_waiting_rows=3)
        async with batcher_for(FakeModel(cost_s=1.0), policy) as batcher:
            batcher.offer(client.call(1))
            await ticks(1)
            batcher.offer(client.call(2, 3))
            batcher.offer(client.call(4, 5))
            assert batcher.statistics() == Statistics(waiting_rows=2, running=1)
            batcher.offer(client.call(6))
        assert "of 3 rows for model 'twice' version 1" in str(client.heard[0].error)
        return client.answers()

    assert play(scene) == [Overloaded, [2], [4, 6], [12]]


def test_a_refused_call_takes_no_room() -> None:
    async def scene() -> list[Answer]:
        client = Client()
        async with batcher_for(FakeModel(), Policy(max_rows=8, max_waiting_rows=3)) as batcher:
            batcher.offer(client.call(*range(4)))
            batcher.offer(client.call(1, 2, 3))
            await ticks(1)
            batcher.offer(client.call(4, 5, 6))
        return client.answers()

    assert play(scene) == [Overloaded, [2, 4, 6], [8, 10, 12]]


@pytest.mark.parametrize("cost_s", [0.0, 1.0])
@pytest.mark.parametrize("guilty", [0, 3, 4, 7])
def test_a_failed_batch_is_halved_until_the_guilty_call_is_alone(
    guilty: int, cost_s: float
) -> None:
    async def scene() -> tuple[Batches, list[Answer]]:
        model, client = FakeModel(cost_s), Client()
        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            rows = [POISON if at == guilty else 1.0 + at for at in range(8)]
            calls = [client.call(row) for row in rows]
            for call in calls:
                batcher.offer(call)
        assert len(client.heard) == 8
        return model.batches, [answer_of(call) for call in calls]

    batches, answers = play(scene)
    expected: list[Answer] = [[2.0 + 2 * at] for at in range(8)]
    expected[guilty] = ModelFailed
    assert answers == expected
    assert [len(batch) for batch in batches if POISON in batch] == [8, 4, 2, 1]
    assert sorted(len(batch) for batch in batches if POISON not in batch) == [1, 2, 4]


def test_two_guilty_calls_are_both_found_and_have_errors_of_their_own() -> None:
    async def scene() -> list[Call]:
        client = Client()
        async with batcher_for(FakeModel(), Policy(max_rows=8)) as batcher:
            calls = [client.call(row) for row in (1, POISON, 2, POISON, 3)]
            for call in calls:
                batcher.offer(call)
        return calls

    calls = play(scene)
    assert [answer_of(call) for call in calls] == [[2], ModelFailed, [4], ModelFailed, [6]]
    one, two = calls[1].error, calls[3].error
    assert one is not two
    assert str(one) == str(two) == "a row was poisoned"
    assert isinstance(one, ModelFailed)
    assert isinstance(one.__cause__, Poisoned)


def test_between_two_halves_the_loop_has_a_turn() -> None:
    """On the loop an execution blocks everybody: there is at most one a turn."""

    async def scene() -> list[int]:
        model, client = FakeModel(), Client()
        seen: list[int] = []
        async with batcher_for(model, Policy(max_rows=4)) as batcher:
            for row in (1, 2, 3, POISON):
                batcher.offer(client.call(row))
            while len(client.heard) < 4:
                await ticks(1)
                seen.append(len(model.batches))
        return seen

    assert play(scene) == [1, 2, 3, 4, 5]


def test_halves_go_before_all_else() -> None:
    async def scene() -> Batches:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=2)) as batcher:
            batcher.offer(client.call(1))
            batcher.offer(client.call(POISON))
            await ticks(1)
            batcher.offer(client.call(2, priority=-9))
        return model.batches

    assert play(scene) == [[1, POISON], [1], [POISON], [2]]


def test_halves_go_before_whoever_comes_meanwhile() -> None:
    async def scene() -> Batches:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=2)) as batcher:
            batcher.offer(client.call(1))
            batcher.offer(client.call(POISON))
            await ticks(1)
            batcher.offer(client.call(2))
        return model.batches

    assert play(scene) == [[1, POISON], [1], [POISON], [2]]


def test_halves_obey_deadlines() -> None:
    async def scene() -> tuple[Batches, list[Answer]]:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=4)) as batcher:
            calls = [
                client.call(row, deadline=deadline)
                for row, deadline in ((1, 9.0), (POISON, 9.0), (2, 1.5), (3, 2.0))
            ]
            for call in calls:
                batcher.offer(call)
        return model.batches, [answer_of(call) for call in calls]

    batches, answers = play(scene)
    assert answers == [[2], ModelFailed, DeadlineExceeded, DeadlineExceeded]
    assert batches == [[1, POISON, 2, 3], [1, POISON], [1], [POISON]]


def test_a_half_whose_callers_expire_at_its_turn_never_runs() -> None:
    """The clock may have passed a deadline though the alarm has not rung yet."""

    async def scene() -> tuple[Batches, list[Answer]]:
        client, late_s, batches = Client(), [0.0], Batches()
        model = FakeModel()

        def run(calls: Sequence[Call], finish: Finish) -> None:
            late_s[0] += 1.0  # it held the loop so long that no timer could fire
            batches.append([float(call.rows) for call in calls])
            finish(model.result(calls))

        def clock() -> float:
            return now() + late_s[0]

        async with Batcher(run, Policy(max_rows=4), a_record(), clock) as batcher:
            for row, deadline in ((POISON, 0.5), (POISON, 0.5), (3, 1.5), (4, 2.5)):
                batcher.offer(client.call(row, deadline=deadline))
            await ticks(4)
            return batches, client.answers()

    assert play(scene) == (
        [[1, 1, 1, 1], [1, 1]],
        [DeadlineExceeded, DeadlineExceeded, [6], [8]],
    )


@pytest.mark.parametrize("row", [1, 2])
def test_of_a_failed_batch_those_who_left_are_not_run_again(row: int) -> None:
    async def scene() -> Batches:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=2)) as batcher:
            calls = {1: client.call(1), 2: client.call(POISON)}
            for call in calls.values():
                batcher.offer(call)
            await asyncio.sleep(0.5)
            calls[row].fail(ClientGone("connection closed"))
        return model.batches

    assert play(scene) == [[1, POISON], [POISON if row == 1 else 1]]


def test_a_lone_call_leaves_after_max_wait() -> None:
    async def scene() -> tuple[Batches, list[float]]:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=8, max_wait_s=0.25)) as batcher:
            await asyncio.sleep(1.0)
            batcher.offer(client.call(1))
            await asyncio.sleep(0.125)
            batcher.offer(client.call(2))
            await asyncio.sleep(0.0625)
            assert client.heard == []
            await asyncio.sleep(0.0625)
        return model.batches, model.started

    assert play(scene) == ([[1, 2]], [1.25])


def test_a_wait_for_company_is_one_timer_however_many_join() -> None:
    """Each turn of the batcher reads the clock, and so does the end of an execution."""

    async def scene() -> int:
        client, readings = Client(), [0.0]

        def clock() -> float:
            readings.append(now())
            return now()

        async with Batcher(FakeModel().run, Policy(max_wait_s=1.0), a_record(), clock) as batcher:
            for row in range(10):
                batcher.offer(client.call(row))
                await ticks(2)
            before = len(readings)
            await asyncio.sleep(0.5)
            assert len(readings) == before
            await asyncio.sleep(1.0)
            return len(readings) - before

    assert play(scene) == 2


def test_a_full_batch_waits_for_no_company() -> None:
    async def scene() -> tuple[Batches, list[float]]:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=2, max_wait_s=8.0)) as batcher:
            batcher.offer(client.call(1))
            await asyncio.sleep(1.0)
            batcher.offer(client.call(2))
            await asyncio.sleep(1.0)
        return model.batches, model.started

    assert play(scene) == ([[1, 2]], [1.0])


def test_no_shape_waits_longer_than_max_wait_for_another_shape() -> None:
    """A more urgent call that still waits for company keeps no other batch from leaving."""

    async def scene() -> tuple[Batches, list[float]]:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=2, max_wait_s=1.0)) as batcher:
            batcher.offer(client.call(1, width=1))
            await asyncio.sleep(0.5)
            batcher.offer(client.call(2, width=2, priority=-1))
            await asyncio.sleep(0.25)
            for row in (3, 4):
                batcher.offer(client.call(row, width=3))
            await asyncio.sleep(2.0)
        return model.batches, model.started

    assert play(scene) == ([[3, 4], [1], [2]], [0.75, 1.0, 1.5])


def test_several_executors_run_several_batches_at_once() -> None:
    async def scene() -> tuple[Batches, list[float]]:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=2, max_running=2)) as batcher:
            for row in range(7):
                batcher.offer(client.call(row))
            await ticks(1)
            assert batcher.statistics() == Statistics(waiting_rows=3, running=2)
        return model.batches, model.started

    assert play(scene) == ([[0, 1], [2, 3], [4, 5], [6]], [0.0, 0.0, 1.0, 1.0])


def test_batches_that_end_out_of_order_reach_their_own_callers() -> None:
    async def scene() -> list[Answer]:
        client = Client()
        model = FakeModel(cost_s=lambda rows: 9.0 if rows == 2 else 1.0)
        async with batcher_for(model, Policy(max_rows=2, max_running=2)) as batcher:
            for row in range(3):
                batcher.offer(client.call(row))
        return client.answers()

    assert play(scene) == [[4], [0], [2]]


def test_closing_runs_what_was_accepted_then_refuses() -> None:
    async def scene() -> tuple[list[Answer], Batches]:
        model, client = FakeModel(cost_s=1.0), Client()
        async with batcher_for(model, Policy(max_rows=2, max_wait_s=99)) as batcher:
            for row in range(5):
                batcher.offer(client.call(row))
        batcher.offer(client.call(5))
        return client.answers(), model.batches

    assert play(scene) == ([[0], [2], [4], [6], [8], Draining], [[0, 1], [2, 3], [4]])


def test_closing_ends_a_wait_for_company() -> None:
    async def scene() -> float:
        model, client = FakeModel(), Client()
        async with batcher_for(model, Policy(max_rows=8, max_wait_s=9.0)) as batcher:
            batcher.offer(client.call(1))
            await asyncio.sleep(1.0)
        assert client.answers() == [[2]]
        return now()

    assert play(scene) == 1.0


def test_a_batcher_that_nobody_used_closes_at_once() -> None:
    async def scene() -> float:
        async with batcher_for(FakeModel(), Policy()):
            pass
        return now()

    assert play(scene) == 0.0


def test_while_it_drains_new_calls_are_refused_and_failed_batches_still_halved() -> None:
    async def scene() -> list[Answer]:
        client = Client()
        batcher = batcher_for(FakeModel(cost_s=1.0), Policy(max_rows=4))

        async def live() -> None:
            async with batcher:
                for row in (1, 2, POISON):
                    batcher.offer(client.call(row))

        life = asyncio.create_task(live())
        await asyncio.sleep(0.5)
        batcher.offer(client.call(3))
        await life
        return client.answers()

    assert play(scene) == [Draining, [2], [4], ModelFailed]


def test_a_call_that_expires_while_it_drains_does_not_hold_the_end() -> None:
    async def scene() -> tuple[list[Answer], float]:
        client = Client()
        async with batcher_for(FakeModel(cost_s=1.0), Policy(max_rows=1)) as batcher:
            batcher.offer(client.call(1))
            await ticks(1)
            batcher.offer(client.call(2, deadline=0.5))
        return client.answers(), now()

    assert play(scene) == ([DeadlineExceeded, [2]], 1.0)


def test_an_error_in_the_body_still_drains() -> None:
    async def scene() -> list[Answer]:
        client = Client()

        async def live() -> None:
            async with batcher_for(FakeModel(cost_s=1.0), Policy(max_rows=2)) as batcher:
                batcher.offer(client.call(1))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await live()
        return client.answers()

    assert play(scene) == [[2]]


def test_closing_waits_no_longer_than_drain_s() -> None:
    """Nobody is left waiting: who runs, who waits, whose batch failed, who just came."""

    async def scene() -> tuple[list[Answer], float]:
        client = Client()
        model = FakeModel(cost_s=lambda rows: FAR if rows == 1 else 1.0)
        async with batcher_for(model, Policy(max_rows=2, drain_s=3.0)) as batcher:
            for row in (1, POISON, *range(7)):
                batcher.offer(client.call(row))
        assert batcher.statistics() == Statistics(0, 0)
        return client.answers(), now()

    assert play(scene) == ([Draining] * 9, 3.0)


def test_a_large_call_is_refused_once_when_closing_gives_up() -> None:
    async def scene() -> list[Answer]:
        client = Client()
        async with batcher_for(FakeModel(cost_s=2.0), Policy(max_rows=2, drain_s=3.0)) as batcher:
            batcher.offer(client.call(*range(7)))
        return client.answers()

    assert play(scene) == [Draining]


def test_what_an_executor_says_after_the_end_is_not_heard() -> None:
    async def scene() -> list[Answer]:
        client = Client()
        async with batcher_for(FakeModel(cost_s=5.0), Policy(drain_s=1.0)) as batcher:
            batcher.offer(client.call(1))
        await asyncio.sleep(9.0)
        return client.answers()

    assert play(scene) == [Draining]


@pytest.mark.parametrize("after_ticks", [0, 1, 2])
def test_cancellation_in_mid_drain_leaves_no_client_waiting(after_ticks: int) -> None:
    async def scene() -> list[Answer]:
        client = Client()

        async def live() -> None:
            async with batcher_for(FakeModel(cost_s=FAR), Policy(max_rows=2)) as batcher:
                for row in range(5):
                    batcher.offer(client.call(row, deadline=1e6))

        life = asyncio.create_task(live())
        await ticks(after_ticks + 1)
        life.cancel()
        await asyncio.wait([life])
        assert life.cancelled()
        return client.answers()

    assert play(scene) == [Draining] * 5


@pytest.mark.parametrize("is_torn_down", [False, True])
def test_the_end_leaves_no_timer_behind(is_torn_down: bool) -> None:
    """A timer that is left makes the clock jump once more, before the scene is stuck."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def scene() -> None:
        loops.append(asyncio.get_running_loop())
        client = Client()
        policy = Policy(max_rows=4, max_wait_s=1e4, drain_s=1e6)
        batcher = await batcher_for(FakeModel(), policy).__aenter__()
        batcher.offer(client.call(1, deadline=1e5))
        await asyncio.sleep(0.25)
        ending = batcher.__aexit__(None, None, None)
        if is_torn_down:
            ending.send(None)
            ending.close()
        else:
            await ending
        assert len(client.heard) == 1
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        play(scene)
    assert loops[0].time() == 0.25


def test_an_end_that_is_torn_down_at_once_leaves_no_client_waiting() -> None:
    """As when the loop itself is going away: not one more turn of it is given."""

    async def scene() -> list[Answer]:
        client = Client()
        batcher = await batcher_for(FakeModel(), Policy(max_rows=2)).__aenter__()
        for rows in ((1,), (2, 3, 4)):
            batcher.offer(client.call(*rows))
        ending = batcher.__aexit__(None, None, None)
        ending.send(None)
        ending.close()
        assert client.answers() == [Draining, Draining]
        await ticks(3)
        return client.answers()

    assert play(scene) == [Draining, Draining]


def test_the_next_batches_go_to_the_executor_moved_to() -> None:
    async def scene() -> tuple[Batches, Batches, list[Answer]]:
        client, slow, quick = Client(), FakeModel(cost_s=8.0), FakeModel(cost_s=1.0)
        async with batcher_for(slow, Policy(max_rows=2)) as batcher:
            batcher.offer(client.call(1))
            await ticks(1)
            for row in (2, 3, 4, 5):
                batcher.offer(client.call(row))
            batcher.move(quick.run, Policy(max_rows=4, max_running=2))
        return slow.batches, quick.batches, client.answers()

    assert play(scene) == ([[1]], [[2, 3, 4, 5]], [[4], [6], [8], [10], [2]])


def test_a_move_in_the_midst_of_an_execution_loses_nobody() -> None:
    """The model on the loop is moved by its own executor, before that has finished."""

    async def scene() -> tuple[Batches, Batches, list[Answer]]:
        client, inline, thread = Client(), FakeModel(), FakeModel(cost_s=1.0)

        def run(calls: Sequence[Call], finish: Finish) -> None:
            batcher.move(thread.run, Policy(max_rows=2))
            inline.run(calls, finish)

        batcher = Batcher(run, Policy(max_rows=2), a_record(), now)
        async with batcher:
            for row in (1, 2, 3):
                batcher.offer(client.call(row))
        return inline.batches, thread.batches, client.answers()

    assert play(scene) == ([[1, 2]], [[3]], [[2], [4], [6]])


@pytest.mark.parametrize("is_guilty", [False, True])
def test_a_move_to_a_smaller_maximum_blocks_nobody(is_guilty: bool) -> None:
    """What was accepted under the larger one still leaves, alone."""

    async def scene() -> tuple[Batches, list[Answer]]:
        client, slow, small = Client(), FakeModel(cost_s=1.0), FakeModel(cost_s=1.0)
        async with batcher_for(slow, Policy(max_rows=8)) as batcher:
            batcher.offer(client.call(1, 2, 3))
            batcher.offer(client.call(POISON if is_guilty else 4))
            await ticks(1)
            for rows in ((5, 6, 7), (8,), (9, 9)):
                batcher.offer(client.call(*rows))
            await ticks(1)
            batcher.move(small.run, Policy(max_rows=2))
        return small.batches, client.answers()

    batches, answers = play(scene)
    guilty: Batches = [[1, 2, 3], [POISON]] if is_guilty else []
    assert batches == [*guilty, [5, 6, 7], [8], [9, 9]]
    assert answers == [
        *([[2, 4, 6], ModelFailed if is_guilty else [8]]),
        *([10, 12, 14], [16], [18, 18]),
    ]


def test_a_second_word_about_a_batch_is_not_heard() -> None:
    async def scene() -> tuple[list[Answer], Statistics]:
        client, model = Client(), FakeModel()

        def twice(calls: Sequence[Call], finish: Finish) -> None:
            finish(model.execute(calls))
            finish(RuntimeError("late"))
            finish(model.execute(calls))

        async with Batcher(twice, Policy(), a_record(), now) as batcher:
            batcher.offer(client.call(1))
            batcher.offer(client.call(2))
        return client.answers(), batcher.statistics()

    assert play(scene) == ([[2], [4]], Statistics(0, 0))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ModelFailed("no such row"), "no such row"),
        (RuntimeError("a secret"), "the model failed"),
        (RuntimeError(), "the model failed"),
    ],
)
def test_an_executor_that_raises_has_failed(error: Exception, expected: str) -> None:
    """What nobody named is for our log alone."""

    async def scene() -> list[Exception | None]:
        client = Client()

        def raises(calls: Sequence[Call], finish: Finish) -> None:
            raise error

        async with Batcher(raises, Policy(max_rows=2), a_record(), now) as batcher:
            batcher.offer(client.call(1))
            batcher.offer(client.call(2))
        return [call.error for call in client.heard]

    one, two = play(scene)
    assert isinstance(one, ModelFailed)
    assert str(one) == str(two) == expected
    assert one is not two


def test_an_executor_that_finishes_and_then_raises_has_finished() -> None:
    async def scene() -> list[Answer]:
        client, model = Client(), FakeModel()

        def raises(calls: Sequence[Call], finish: Finish) -> None:
            model.run(calls, finish)
            raise RuntimeError("late")

        async with Batcher(raises, Policy(), a_record(), now) as batcher:
            batcher.offer(client.call(1))
        return client.answers()

    assert play(scene) == [[2]]


def follow_up(batcher: Batcher, client: Client) -> Callable[[Call], None]:
    """Return the `on_done` of a client who asks once more as soon as it hears anything."""

    def hear(call: Call) -> None:
        client.heard.append(call)
        batcher.offer(client.call(100 + call.rows, width=1 + call.rows))

    return hear


@pytest.mark.parametrize("cost_s", [0.0, 1.0])
def test_a_client_may_ask_again_from_within_its_answer(cost_s: float) -> None:
    async def scene() -> list[Answer]:
        client = Client()
        async with batcher_for(FakeModel(cost_s), Policy(max_rows=2)) as batcher:
            for rows in ((1,), (2, 3), (4, 5, 6)):
                call = a_call(*rows)
                call.on_done = follow_up(batcher, client)
                batcher.offer(call)
            await asyncio.sleep(20.0)
        return client.answers()

    answers = play(scene)
    assert len(answers) == 6
    assert all(answer in answers for answer in ([2], [4, 6], [8, 10, 12], [202], [204], [206]))


@pytest.mark.parametrize("at_s", [0.5, 2.0])
def test_a_client_may_ask_again_when_its_call_expires(at_s: float) -> None:
    """By the alarm, and at the cut (the deadline has passed when the call is offered)."""

    async def scene() -> list[Answer]:
        client = Client()
        raised: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
        async with batcher_for(FakeModel(cost_s=1.0), Policy(max_rows=2)) as batcher:
            batcher.offer(client.call(1))
            await asyncio.sleep(at_s)
            for width in (3, 4):
                call = a_call(9, width=width, deadline=0.75)
                call.on_done = follow_up(batcher, client)
                batcher.offer(call)
            await asyncio.sleep(8.0)
        assert raised == []
        return client.answers()

    late: list[Answer] = [DeadlineExceeded, DeadlineExceeded]
    expected = [*late, [2], [202], [202]] if at_s < 1.0 else [[2], *late, [202], [202]]
    assert play(scene) == expected


def test_an_executor_is_given_the_calls_themselves_and_their_outputs_are_shared() -> None:
    async def scene() -> list[Outputs | None]:
        client = Client()
        async with batcher_for(FakeModel(), Policy()) as batcher:
            batcher.offer(client.call(1))
            batcher.offer(client.call(2))
        return [call.outputs for call in client.heard]

    one, two = play(scene)
    assert one is two
    assert one is not None
    assert one.calls == 2


def test_a_listener_that_raises_keeps_no_answer_from_its_batchmates() -> None:
    def raises(call: Call) -> None:
        raise ZeroDivisionError

    async def scene() -> list[Answer]:
        client = Client()
        async with batcher_for(FakeModel(), Policy(max_rows=8)) as batcher:
            batcher.offer(a_call(1, on_done=raises))
            batcher.offer(client.call(2))
        return client.answers()

    assert play(scene) == [[4]]


def test_parts_that_do_not_rejoin_fail_their_call_alone() -> None:
    widths = iter((2, 3))

    def ragged(calls: Sequence[Call], finish: Finish) -> None:
        rows = sum(call.rows for call in calls)
        finish(Outputs([np.zeros((rows, next(widths)), np.float32)], len(calls)))

    async def scene() -> list[bool]:
        client = Client()
        async with Batcher(ragged, Policy(max_rows=4), a_record(), now) as batcher:
            calls = [client.call(1, 2, 3, 4, 5), client.call(6), client.call(7)]
            for call in calls:
                batcher.offer(call)
        return [isinstance(call.error, ModelFailed) for call in calls]

    assert play(scene) == [True, False, False]


def test_a_call_that_cannot_afford_to_wait_for_company_leaves_at_once() -> None:
    async def scene() -> tuple[list[Answer], float]:
        client = Client()
        async with batcher_for(FakeModel(), Policy(max_rows=8, max_wait_s=0.05)) as batcher:
            batcher.offer(client.call(1, deadline=0.02))
            await ticks(2)
            return client.answers(), now()

    assert play(scene) == ([[2]], 0.0)


def test_a_hung_execution_that_nobody_waits_for_holds_no_drain() -> None:
    async def scene() -> float:
        client = Client()
        async with batcher_for(FakeModel(cost_s=FAR), Policy(drain_s=30.0)) as batcher:
            batcher.offer(client.call(1, deadline=1.0))
            await asyncio.sleep(2.0)
        return now()

    assert play(scene) == 2.0


# who is busy


def busy_batcher(model: FakeModel, policy: Policy, busy: Busy) -> Batcher:
    return Batcher(model.run, policy, a_record(), now, busy)


@pytest.mark.parametrize("cost_s", [0.0, 1.0])
def test_a_batcher_is_busy_from_an_offer_to_the_last_answer(cost_s: float) -> None:
    async def scene() -> list[bool]:
        busy: Busy = set()
        client, seen = Client(), list[bool]()
        async with busy_batcher(FakeModel(cost_s), Policy(max_rows=2), busy) as batcher:
            seen.append(bool(busy))
            for row in range(5):
                batcher.offer(client.call(row))
            seen.append(busy == {batcher})
            while len(client.heard) < 5:
                seen.append(busy == {batcher})
                await asyncio.sleep(0.25)
            seen.append(bool(busy))
        return [seen[0], all(seen[1:-1]), seen[-1]]

    assert play(scene) == [False, True, False]


def test_each_of_several_batchers_is_busy_for_itself() -> None:
    async def scene() -> list[int]:
        busy: Busy = set()
        slow, quick = FakeModel(2.0), FakeModel(1.0)
        async with (
            busy_batcher(slow, Policy(), busy) as one,
            busy_batcher(quick, Policy(), busy) as other,
        ):
            counts = []
            one.offer(a_call(1))
            other.offer(a_call(2))
            for _ in range(3):
                counts.append(len(busy))
                await asyncio.sleep(1.1)
        return counts

    assert play(scene) == [2, 1, 0]


def test_who_waits_for_company_is_busy() -> None:
    async def scene() -> list[int]:
        busy: Busy = set()
        async with busy_batcher(FakeModel(), Policy(max_wait_s=1.0), busy) as batcher:
            batcher.offer(a_call(1))
            await asyncio.sleep(0.5)
            waits = len(busy)
            await asyncio.sleep(1.0)
            return [waits, len(busy)]

    assert play(scene) == [1, 0]


def test_nobody_is_busy_with_calls_that_expired_before_they_ran() -> None:
    async def scene() -> list[int]:
        busy: Busy = set()
        policy = Policy(max_wait_s=FAR)
        async with busy_batcher(FakeModel(), policy, busy) as batcher:
            client = Client()
            batcher.offer(client.call(1, deadline=-1.0))
            await ticks(2)
            at_once = len(busy)
            waits = client.call(2, deadline=3 * FAR)
            batcher.offer(waits)
            await ticks(2)
            before = len(busy)
            waits.fail(ClientGone("connection closed"))
            batcher.offer(client.call(3, deadline=1.0))
            await asyncio.sleep(2.0)
            assert client.answers()[0] is DeadlineExceeded
            return [at_once, before, len(busy)]

    assert play(scene) == [0, 1, 0]


def test_a_batch_that_failed_keeps_its_batcher_busy_until_the_guilty_call_is_found() -> None:
    async def scene() -> list[int]:
        busy: Busy = set()
        model, seen = FakeModel(cost_s=1.0), list[int]()
        async with busy_batcher(model, Policy(), busy) as batcher:
            for row in (1.0, POISON, 2.0, 3.0):
                batcher.offer(a_call(row))
            await asyncio.sleep(0.5)
            for _ in range(6):
                seen.append(len(busy))
                await asyncio.sleep(1.0)
        assert len(model.batches) == 5
        return seen

    assert play(scene) == [1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("cost_s", [0.0, 1.0, FAR])
def test_who_was_moved_or_closed_is_busy_no_longer_than_it_has_calls(cost_s: float) -> None:
    async def scene() -> tuple[int, int]:
        busy: Busy = set()
        async with busy_batcher(FakeModel(), Policy(drain_s=5.0), busy) as batcher:
            batcher.move(FakeModel(cost_s).run, Policy(drain_s=5.0))
            await ticks(2)
            idle = len(busy)
            batcher.offer(a_call(1))
            await ticks(2)
        return idle, len(busy)

    assert play(scene) == (0, 0)


# a long tick


def test_in_a_long_tick_nobody_waits_for_its_end() -> None:
    """Much is read before the loop turns: what was read first is answered meanwhile."""

    async def scene() -> tuple[Batches, Batches]:
        model, at_s = FakeModel(), 0.0
        async with Batcher(model.run, Policy(max_rows=8), a_record(), lambda: at_s) as batcher:
            for number in range(9):
                at_s = number / 500
                batcher.offer(a_call(number, arrived=at_s))
            early = list(model.batches)
            await ticks(1)
            return early, model.batches

    early, batches = play(scene)
    assert early == [[0, 1, 2, 3], [4, 5, 6]]
    assert batches == [[0, 1, 2, 3], [4, 5, 6], [7, 8]]


def test_in_a_long_tick_too_who_asks_again_at_once_waits_for_the_next_execution() -> None:
    async def scene() -> Batches:
        model = FakeModel()

        def again(call: Call) -> None:
            if len(model.batches) < 3:
                batcher.offer(a_call(9, arrived=99.0, on_done=again))

        async with batcher_for(model, Policy(max_rows=8)) as batcher:
            batcher.offer(a_call(1, arrived=0.0, on_done=again))
            batcher.offer(a_call(2, arrived=1.0))
            assert model.batches == [[1, 2]]
            await ticks(5)
            return model.batches

    assert play(scene) == [[1, 2], [9], [9]]


def test_who_asks_again_when_it_is_refused_starts_no_execution_beside_the_next_one() -> None:
    async def scene() -> tuple[int, Batches]:
        model, most, at_s = FakeModel(cost_s=1.0), 0, 0.0

        def run(calls: Sequence[Call], finish: Finish) -> None:
            nonlocal most
            model.run(calls, finish)
            most = max(most, batcher.statistics().running)

        def again(_call: Call) -> None:
            nonlocal at_s
            at_s += 1.0
            batcher.offer(a_call(9, arrived=at_s))

        async with Batcher(run, Policy(max_rows=2), a_record(), lambda: at_s) as batcher:
            batcher.offer(a_call(1))
            await ticks(1)
            for row in (2, 3):
                batcher.offer(a_call(row, deadline=1.5 + row, on_done=again))
            for row in (4, 5, 6):
                batcher.offer(a_call(row))
            at_s = 10.0
            await asyncio.sleep(1.0)
            await ticks(3)
            return most, model.batches[:2]

    most, _ = play(scene)
    assert most == 1
