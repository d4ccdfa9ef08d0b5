"""Which HTTP client asks the servers that run a version elsewhere: aiohttp, or httpx.

Both send binary V2 requests to one stub, in windows that alternate; the client's own CPU and the
time of a request are compared pair by pair. The client has the server's processor, the stub the
generator's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.apart import apart, told
from bench.ratios import Figure, Finding, interleave, ratio_spread
from bench.stand import Stand

SIZES = {256: "one row of 64 FP32", 1 << 20: "a tensor of 1 MB"}
IN_FLIGHT = (1, 32)
LIBRARIES = ("httpx", "aiohttp")


@dataclass(frozen=True, slots=True)
class Seen:
    """One window of one client."""

    requests: int
    cpu_s: float
    p50_s: float

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a request."""
        return self.cpu_s / self.requests * 1e6


Pair = tuple[Seen, Seen]


def clients(stand: Stand) -> list[Finding]:
    """What a request costs httpx, as a multiple of what it costs aiohttp."""
    findings: list[Finding] = []
    for size_bytes, what in SIZES.items():
        with apart("bench.v2stub", ["--bytes", str(size_bytes)], stand.generator_cpu) as stub:
            port = stub.hear()["port"]
            for in_flight in IN_FLIGHT:
                words = ["--port", port, "--bytes", size_bytes, "--in-flight", in_flight]
                pairs = _pairs(stand, list(map(str, words)))
                findings += judge(pairs, f"{what}, {in_flight} in flight")
    return findings


def _pairs(stand: Stand, words: Sequence[str]) -> list[Pair]:
    words = [*words, "--window", str(stand.effort.window_s / 2)]

    def one(library: str) -> Seen:
        seen: dict[str, Any] = told("bench.clientload", [library, *words], stand.server_cpu)
        return Seen(**seen)

    first, second = LIBRARIES
    return interleave(lambda: one(first), lambda: one(second), stand.effort.pairs)


def judge(pairs: Sequence[Pair], what: str) -> list[Finding]:
    """Compare two clients, pair by pair, and say what either took."""
    cpu_us = [median(seen.cpu_us for seen in side) for side in zip(*pairs, strict=True)]
    p50_us = [median(seen.p50_s * 1e6 for seen in side) for side in zip(*pairs, strict=True)]
    names = " / ".join(LIBRARIES)
    return [
        Figure(
            f"{names}, {what}: CPU a request",
            ratio_spread(pairs, lambda one: one.cpu_us),
            "",
            f"{cpu_us[0]:.0f} and {cpu_us[1]:.0f} us",
        ),
        Figure(
            f"{names}, {what}: p50",
            ratio_spread(pairs, lambda one: one.p50_s),
            "",
            f"{p50_us[0]:.0f} and {p50_us[1]:.0f} us",
        ),
    ]
