import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bench import stages
from bench.micro import DIGITS, measure, steps
from bench.requests import ANSWER, v2_body
from gateway.app.rooms import open_replica
from gateway.batch.batcher import Batcher
from gateway.config import load
from gateway.core.batching import Policy as BatchingPolicy
from gateway.flow import Flow, Served
from gateway.types import Arm, Call, Outputs
from gateway.wire.exchange import Exchange
from gateway.wire.intake import Intake, Policy
from gateway.wire.paths import InferTarget
from gateway.wire.terms import NO_TERMS
from tests.fakes import Tallied, a_record

BODY = v2_body([tuple(float(pixel % 17) for pixel in range(64))])


def ask(intake: Intake, send: Callable[[Exchange], None] = lambda _exchange: None) -> Exchange:
    """Start one request; `send` hears its answer."""
    exchange = Exchange(b"id", send)
    intake.start(exchange, NO_TERMS, InferTarget("digits", None), BODY, 0.0)
    return exchange


async def answered(flow: Flow) -> list[dict[str, object]]:
    """Ask three times in one tick."""
    intake = Intake(flow, Policy(default_deadline_s=1e9), Tallied())
    heard: asyncio.Queue[Exchange] = asyncio.Queue()
    for _ in range(3):
        ask(intake, heard.put_nowait)
    return [json.loads((await heard.get()).body) for _ in range(3)]


def served(batcher: Batcher | None = None) -> Flow:
    arm = Arm(DIGITS)
    return Flow({"digits": Served(arm, {"1": arm})}, {arm: batcher} if batcher else {})


def is_real(answer: dict[str, object]) -> bool:
    """Whether it has the outputs, names and shapes of a real answer to one row."""
    real = json.loads(ANSWER)
    return _frame(answer) == _frame(real)


def _frame(answer: dict[str, object]) -> list[tuple[object, ...]]:
    outputs = answer["outputs"]
    assert isinstance(outputs, list)
    return [(o["name"], o["datatype"], o["shape"], len(o["data"])) for o in outputs]


def test_the_first_stage_answers_without_reading_the_body() -> None:
    exchange = ask(stages.CannedIntake(served(), Policy(), Tallied()))
    assert (exchange.body, exchange.form) == (ANSWER, stages.CANNED)


def test_the_decode_stage_reads_and_answers_at_once() -> None:
    assert all(map(is_real, asyncio.run(answered(stages.ReadyFlow(served())))))


@pytest.mark.parametrize("model", [stages.ReadyModel, stages.FreshModel])
def test_the_batch_stages_answer_as_the_real_model_would(
    model: type[stages.ReadyModel] | type[stages.FreshModel],
) -> None:
    async def scene() -> list[dict[str, object]]:
        async with Batcher(model().run, BatchingPolicy(), a_record()) as batcher:
            return await answered(served(batcher))

    assert all(map(is_real, asyncio.run(scene())))


def test_a_model_that_costs_nothing_gives_new_outputs_each_time() -> None:
    heard: list[object] = []
    calls = [Call(Arm(DIGITS), (), 1, (), lambda _call: None) for _ in range(3)]
    model = stages.FreshModel()
    model.run(calls, heard.append)
    model.run(calls, heard.append)
    first, second = heard
    assert isinstance(first, Outputs)
    assert first is not second
    assert [len(array) for array in first.arrays] == [3, 3]
    assert first.texts is None


def test_every_stage_is_the_whole_gateway_with_something_switched_off() -> None:
    async def scene() -> list[type[object]]:
        models = Path(__file__).parents[2] / "models"
        config = load(None, {}, {"models": str(models)})
        async with AsyncExitStack() as stack:
            whole = await stack.enter_async_context(open_replica(config))
            made = [await stages.staged(kind, whole, stack) for kind in stages.KINDS]
            assert all(one.rest is whole.rest for one in made)
            return [type(one.intake) for one in made]

    assert asyncio.run(scene()) == [stages.CannedIntake, Intake, Intake, Intake]


def test_every_timed_step_runs() -> None:
    for _, step in steps():
        step()


@pytest.mark.slow
def test_every_step_is_timed() -> None:
    timings = measure()
    assert [timing.what for timing in timings] == [name for name, _ in steps()]
    assert all(0 < one.call_s.lowest <= one.call_s.median for one in timings)
