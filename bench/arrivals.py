"""When requests are due: constant and Poisson send times, all known before the first is sent."""

import numpy as np
from numpy.typing import NDArray

from bench.plans import Plan, StreamPlan


def constant(rate_per_s: float, duration_s: float) -> NDArray[np.float64]:
    """Equal gaps from 0 to `duration_s`. Units: seconds since the start."""
    return np.arange(round(rate_per_s * duration_s), dtype=np.float64) / rate_per_s


def poisson(rate_per_s: float, duration_s: float, seed: int) -> NDArray[np.float64]:
    """Independent exponential gaps, cut at `duration_s`; the seed decides them all.

    Given their number, the times of a Poisson process are uniform: so the number is drawn
    first and the times sorted.
    """
    dice = np.random.default_rng(seed)
    count = int(dice.poisson(rate_per_s * duration_s))
    times: NDArray[np.float64] = np.sort(dice.uniform(0.0, duration_s, count))
    return times


def offsets(stream: StreamPlan, plan: Plan) -> list[float] | None:
    """When a stream's requests are due, in seconds since the start; None for a closed loop."""
    duration_s = plan.warmup_s + plan.window_s
    if stream.rate_per_s is None:
        return None
    if stream.arrivals == "constant":
        return list(map(float, constant(stream.rate_per_s, duration_s)))
    return list(map(float, poisson(stream.rate_per_s, duration_s, stream.seed)))
