"""What single steps of the hot path cost, without sockets: one row of `digits`.

Never  stands for throughput: a warm loop over one function flatters it. These figures
say where to look when the ladder moves.
"""

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter

from bench.ratios import Spread, Timing, spread
from bench.requests import v2_body
from bench.stages import outputs
from gateway.core.batching import Policy, plan
from gateway.core.stacking import stack
from gateway.types import Arm, Call, Signature, TensorSpec, Version
from gateway.wire.decode import Limits, decode
from gateway.wire.encode import Encoder
from gateway.wire.quick import quick_of

REPEATS = 7
LOOP_S = 0.02  # each repeat lasts about so long
BATCH = 64
DIGITS = Version(
    "digits",
    "1",
    Signature(
        (TensorSpec("x", "FP32", (-1, 64)),),
        (TensorSpec("label", "INT64", (-1,)), TensorSpec("scores", "FP32", (-1, 10))),
        256,
    ),
)


def time_call(function: Callable[[], object]) -> Spread:
    """Seconds a call, over repeats of a loop long enough for the clock."""
    loops = 1
    while (elapsed_s := _loop_s(function, loops)) < LOOP_S:
        loops = max(2 * loops, int(loops * LOOP_S / max(elapsed_s, 1e-9)))
    return spread(_loop_s(function, loops) / loops for _ in range(REPEATS))


def _loop_s(function: Callable[[], object], loops: int) -> float:
    started = perf_counter()
    for _ in range(loops):
        function()
    return perf_counter() - started


def steps() -> Sequence[tuple[str, Callable[[], object]]]:
    """Every timed step by name."""
    body = v2_body([tuple(float(pixel % 17) for pixel in range(64))])
    quick = quick_of(DIGITS)
    assert quick is not None
    reading = quick.read(body)
    assert reading is not None
    limits, policy, encoder, shared = Limits(), Policy(), Encoder(DIGITS), outputs(BATCH)
    arm = Arm(DIGITS)
    calls = [Call(arm, (reading[0],), 1, ((64,),), lambda _call: None) for _ in range(BATCH)]
    for at, call in enumerate(calls):
        call.answer(shared, at, at + 1)

    def encode_batch() -> None:
        shared.texts = None  # made again by the first, shared by the rest
        for call in calls:
            encoder.json(call, None)

    return (
        ("decode, quick way, one row", partial(quick.read, body)),
        ("decode, full way, one row", lambda: decode(body, None, DIGITS, limits)),
        ("plan", lambda: plan(BATCH, 0.0, 0, policy)),
        (f"stack {BATCH} rows", lambda: stack(calls, DIGITS.signature)),
        (f"encode {BATCH} answers", encode_batch),
    )


def measure() -> list[Timing]:
    """Time every step."""
    return [Timing(name, time_call(function)) for name, function in steps()]
