"""What the surge generator sends, and when: bytes and moments, known before the first is due."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.arrivals import constant, poisson
from bench.courses import Clients
from bench.requests import Target

HEAD_END = b"\r\n\r\n"


def bursts_of(clients: Clients) -> list[bytes]:
    """Every burst ready for the socket; of a body, as many requests begin a burst as end one.

    So each body is sent at every place of a burst, and all bodies equally often.
    """
    fields = (f"x-request-timeout-ms: {round(clients.deadline_s * 1e3)}", *clients.headers)
    whole = "".join(f"\r\n{one}" for one in fields).encode() + HEAD_END
    requests = [
        one.replace(HEAD_END, whole, 1)
        for one in Target(clients.path, Path(clients.bodies)).formatted()
    ]
    size = clients.burst
    again = requests * size
    return [b"".join(again[at : at + size]) for at in range(0, len(again), size)]


def due_offsets(clients: Clients, phases_s: Sequence[float]) -> NDArray[np.float64] | None:
    """When bursts are due, in seconds since the start, ascending; None for a closed loop."""
    if clients.rates_per_s is None:
        return None
    starts = [0.0, *accumulate(phases_s)]
    drawn: list[NDArray[np.float64]] = [np.zeros(0)]
    for at, rate in enumerate(clients.rates_per_s):
        per_s = rate / clients.burst
        if per_s and clients.is_regular:
            drawn.append(constant(per_s, phases_s[at]) + starts[at])
        elif per_s:
            drawn.append(poisson(per_s, phases_s[at], clients.seed * 100 + at) + starts[at])
    return np.concatenate(drawn)
