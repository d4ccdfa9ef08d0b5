"""The lane with its stages switched on one by one, so that each shows its price.

    lane      framing, limits, order of answers; a canned reply to every request
    decode    + the body becomes a Call; answered at once, its JSON made beforehand
    batch     + the batcher; the model costs nothing, its JSON made beforehand
    encode    + outputs become JSON, once a batch

The whole gateway (`gateway serve`) adds stacking and ONNX Runtime. All stages run the
gateway's own parts; only what is not yet switched on is replaced here.
"""

import gc
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
import uvloop

from bench.requests import ANSWER
from gateway.app.rooms import Replica, open_replica
from gateway.batch.batcher import Batcher, Finish
from gateway.config import load
from gateway.core.batching import Policy as BatchingPolicy
from gateway.core.routing import Pairs
from gateway.flow import Flow
from gateway.observe.layout import ROW_CELLS
from gateway.observe.record import Record
from gateway.types import Arm, Call, Outputs
from gateway.wire.exchange import Exchange
from gateway.wire.forms import JSON, form
from gateway.wire.intake import Intake, Policy
from gateway.wire.paths import InferTarget
from gateway.wire.terms import Terms
from gateway.wire.unpacking import Body

KINDS = ("lane", "decode", "batch", "encode")
MAX_ROWS = 64  # of one execution, and of the outputs made beforehand
CLASSES = 10
CANNED = form(200, (JSON, (b"x-gateway-version", b"1")))


class CannedIntake(Intake):
    """Answers every inference request at once with the same bytes."""

    def start(
        self,
        exchange: Exchange,
        terms: Terms,
        target: InferTarget,
        body: Body,
        now: float,
        headers: Pairs = (),
        since: float | None = None,
    ) -> None:
        exchange.answer(CANNED, ANSWER)


class ReadyFlow(Flow):
    """Answers every call at once; the JSON is made by the first and kept."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow.models, {})
        self._ready = outputs(2)

    def infer(self, call: Call) -> None:
        call.answer(self._ready, 0, 1)


class ReadyModel:
    """Costs nothing: gives all batches the same outputs, whose JSON is kept with them."""

    def __init__(self) -> None:
        self._ready = outputs(MAX_ROWS)

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        finish(self._ready)


class FreshModel:
    """Costs nothing, but its outputs are new each time, so their JSON must be made."""

    def __init__(self) -> None:
        self._ready = outputs(MAX_ROWS)

    def run(self, calls: Sequence[Call], finish: Finish) -> None:
        rows = sum(call.rows for call in calls)
        finish(Outputs([array[:rows] for array in self._ready.arrays], len(calls)))


def a_record() -> Record:
    """A record that nobody reads, at the price of any other."""
    return Record(memoryview(bytearray(ROW_CELLS * 8)).cast("q"))


def outputs(rows: int) -> Outputs:
    """Labels and scores of as many one-row calls, as `digits` gives them; seeded."""
    scores = np.random.default_rng(1).dirichlet(np.ones(CLASSES), rows).astype(np.float32)
    return Outputs([scores.argmax(1), scores], rows)


async def staged(kind: str, whole: Replica, stack: AsyncExitStack) -> Replica:
    """The replica with everything beyond `kind` switched off."""
    if kind == "lane":
        return replace(whole, intake=CannedIntake(whole.flow, Policy(), a_record()))
    if kind == "decode":
        return _with_flow(whole, ReadyFlow(whole.flow))
    model = ReadyModel() if kind == "batch" else FreshModel()
    batcher = Batcher(model.run, BatchingPolicy(max_rows=MAX_ROWS), a_record())
    await stack.enter_async_context(batcher)
    batchers: dict[Arm, Batcher] = {whole.flow.find("digits", None): batcher}
    return _with_flow(whole, Flow(whole.flow.models, batchers))


def _with_flow(whole: Replica, flow: Flow) -> Replica:
    return replace(whole, flow=flow, intake=Intake(flow, Policy(), a_record()))


async def serve(kind: str, models: Path, port: int) -> None:
    """Serve a stage, or (`asgi`) the whole gateway as a plain ASGI app, until killed."""
    config = load(None, {}, {"models": str(models), "port": port})
    async with AsyncExitStack() as stack:
        whole = await stack.enter_async_context(open_replica(config))
        http: Any = "httptools"
        if kind != "asgi":
            http = (await staged(kind, whole, stack)).lanes()
        gc.collect()
        gc.freeze()
        await uvicorn.Server(
            uvicorn.Config(
                whole.rest,
                host="127.0.0.1",
                port=port,
                http=http,
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
            )
        ).serve()


def run(kind: str, models: Path, port: int) -> None:
    """Serve on a fresh uvloop until killed."""
    uvloop.run(serve(kind, models, port))
