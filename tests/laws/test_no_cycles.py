"""No request leaves anything for the garbage collector: it comes rarely, and stops the loop."""

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.batch.batcher import Batcher, Finish
from gateway.core.batching import Policy
from gateway.core.stacking import stack
from gateway.flow import Flow, Served
from gateway.types import Arm, Call, Outputs
from tests.clock import play
from tests.fakes import a_record
from tests.wire.harness import (
    DOUBLE,
    Echo,
    Line,
    infer,
    monotonic,
    numbers,
    port_of,
    request,
    turns,
)
from tests.wire.splitting import FIRST, SECOND, SPLIT, TO_CANARY, Fork

INFER = "/v2/models/m/infer"
REQUESTS = {
    "a good request": infer(1),
    "one that brings an id": infer(1, "x-request-id: mine"),
    "one that expires": infer(1, "x-request-timeout-ms: 0.000001"),
    "broken JSON": request("POST", INFER, b"{"),
    "no inputs": request("POST", INFER, b'{"inputs":[]}'),
    "an element of another kind": request("POST", INFER, numbers(1, 2).replace(b"1", b'"1"')),
    "a model that is not there": request("POST", "/v2/models/nobody/infer", numbers(1, 2)),
    "a header that cannot be read": request("POST", INFER, b"", "x-request-timeout-ms: soon"),
    "a path that cannot be read": request("GET", "/%zz"),
    "a probe": request("GET", "/livez"),
    "a route that is not there": request("GET", "/nowhere"),
    "a model that fails": infer(13),
}


async def serve(raw: bytes) -> int:
    """Send a request to a real batcher until all is warm; then return what it leaves behind."""

    def run(calls: Sequence[Call], finish: Finish) -> None:
        arrays = stack(calls, DOUBLE.signature)
        finish(ValueError("13") if arrays[0][0][0] == 13 else Outputs(arrays, len(calls)))

    clock = asyncio.get_running_loop().time
    async with Batcher(run, Policy(), a_record(), clock) as batcher:
        arm = Arm(DOUBLE)
        line = Line(Flow({"m": Served(arm, {"1": arm})}, {arm: batcher}))
        for _ in range(3):
            line.send(raw)
            await turns()
        gc.collect()
        gc.disable()
        try:
            line.send(raw)
            await turns()
            return gc.collect()
        finally:
            gc.enable()


@pytest.mark.parametrize("raw", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_that_is_answered_is_gone(raw: bytes) -> None:
    assert play(lambda: serve(raw)) == 0


async def fall_back() -> int:
    """Ask a canary that fails until all is warm; then return what its next failure leaves."""

    def run(calls: Sequence[Call], finish: Finish) -> None:
        is_canary = calls[0].arm.variant == "canary"
        arrays = stack(calls, DOUBLE.signature)
        finish(ValueError("canary") if is_canary else Outputs(arrays, len(calls)))

    clock = asyncio.get_running_loop().time
    echo = Echo(FIRST, SECOND)
    plan = Fork(echo, SPLIT).plan
    async with (
        Batcher(run, Policy(), a_record(), clock) as canary,
        Batcher(run, Policy(), a_record(), clock) as stable,
    ):
        flow = Flow({}, {}, lambda: TO_CANARY)
        batchers = {arm: canary if arm.fallback else stable for arm in plan.batchers}
        flow.replace(replace(plan, batchers=batchers))
        line = Line(flow)
        for _ in range(3):
            line.send(REQUESTS["a good request"])
            await turns()
        assert [one.headers["x-gateway-variant"] for one in line.answers()] == ["stable"] * 3
        gc.collect()
        gc.disable()
        try:
            line.send(REQUESTS["a good request"])
            await turns()
            return gc.collect()
        finally:
            gc.enable()


def test_a_request_that_another_arm_answered_is_gone() -> None:
    assert play(fall_back) == 0


@pytest.mark.parametrize("raw", [b"", REQUESTS["a good request"], REQUESTS["a probe"], b"POST /"])
def test_a_connection_that_ends_is_gone(raw: bytes) -> None:
    async def scene() -> int:
        port = port_of(Echo(), clock=monotonic())
        for _ in range(3):
            line = Line(Echo(), port=port)
            line.send(*[raw] * bool(raw))
            await turns()
            line.leave()
            line.wire.protocol = None
            await turns()
            gc.collect()
            gc.disable()
            del line
        try:
            return gc.collect()
        finally:
            gc.enable()

    assert play(scene) == 0
