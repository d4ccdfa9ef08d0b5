"""What callers feel of a shadow that is asked everything that they ask.

Arrivals are open, at a third of the saturated rate; the shadow is there in one window and away
in the next, by a change of the document, and the p99s of neighbours are compared.
"""

import http.client
import json
from collections.abc import Mapping, Sequence
from statistics import median

from bench import documents, managed
from bench.documents import Json
from bench.launch import Server
from bench.plans import Plan, StreamPlan, StreamReport, play_pinned
from bench.ratios import Bar, Figure, Finding, Verdict, ratio_spread, spread
from bench.requests import INFER
from bench.rungs import gateway
from bench.stand import Stand

CONNECTIONS = 64
RATE_RATIO = 1 / 3  # of the saturated rate
MOST_RATIO = 1.15  # of the p99
SHADOWS: Sequence[Json] = ({"name": "other", "version": "1", "sample_ratio": 1},)

Pair = tuple[StreamReport, StreamReport]


def shadow(stand: Stand) -> list[Finding]:
    """A shadow of every call, at a third of saturation, lengthens the p99 by at most 15 %."""
    with stand.serving(gateway(stand.models)) as server:
        saturated = median(stand.load(server, CONNECTIONS).requests_per_s for _ in range(3))
        rate = saturated * RATE_RATIO
        document = documents.in_force(server, "digits")
        pairs: list[Pair] = []
        asked: list[float] = []
        for seed in range(3 * stand.effort.pairs):
            seen: dict[bool, StreamReport] = {}
            for is_on in (True, False) if seed % 2 else (False, True):
                shadows = list(SHADOWS) if is_on else []
                document = documents.put(server, document, shadows=shadows).document
                seen[is_on] = _arrive(stand, server, rate, seed)
                if is_on:
                    asked.append(_asked_ratio(server))
            pairs.append((seen[True], seen[False]))
    return judge(pairs, rate, asked)


def judge(pairs: Sequence[Pair], rate: float, asked: Sequence[float]) -> list[Finding]:
    """Compare the windows with a shadow with those without; say how many calls it was asked."""
    on_us, off_us = ([one.p99_s * 1e6 for one in side] for side in zip(*pairs, strict=True))
    what = "a shadow of all calls / none, open loop at a third of the saturated rate"
    note = f"{median(on_us):.0f} and {median(off_us):.0f} us at {rate:.0f}/s"
    return [
        Verdict(
            Bar(f"{what}: p99", at_most=MOST_RATIO),
            ratio_spread(pairs, lambda one: one.p99_s),
            "",
            note,
        ),
        Figure(f"{what}: p50", ratio_spread(pairs, lambda one: one.p50_s), ""),
        Figure("calls that the shadow was asked, of all", spread(asked), ""),
    ]


def _arrive(stand: Stand, server: Server, rate: float, seed: int) -> StreamReport:
    effort = stand.effort
    stream = StreamPlan("shadowed", INFER, str(stand.digits.bodies), CONNECTIONS, rate, seed=seed)
    plan = Plan(server.port, effort.warmup_s, effort.open_window_s, (stream,))
    return play_pinned(plan, stand.generator_cpu, stand.scratch).stream("shadowed")


def _asked_ratio(server: Server) -> float:
    """Return the share of the calls that the shadow was asked in this revision."""
    connection = managed.connect(server)
    try:
        connection.request("GET", "/admin/v1/models/digits/shadows")
        answer = connection.getresponse()
        said = json.loads(answer.read())
    finally:
        connection.close()
    assert answer.status == http.client.OK, said
    (one,) = said["shadows"]
    return asked_of(one["calls"])


def asked_of(calls: Mapping[str, int]) -> float:
    """Return the share of the calls that were not dropped."""
    return 1 - calls["dropped"] / max(1, sum(calls.values()))
