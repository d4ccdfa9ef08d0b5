"""The bars that the project holds, each with the measurement that judges it.

Each function measures one claim on a stand and returns its verdicts; a ratio is taken
pair by pair from interleaved windows. bench/__main__.py names them.
"""

from collections.abc import Sequence
from functools import partial
from statistics import median

from bench import managed
from bench.accounting import resident_bytes
from bench.launch import Server
from bench.plans import Plan, StreamPlan, StreamReport, play_pinned
from bench.ratios import Bar, Spread, Verdict, interleave, ratio_spread, worst
from bench.requests import INFER
from bench.rungs import NGINX, bare, gateway
from bench.stand import Stand
from bench.wrk import Window

CONNECTIONS = 64


def core(stand: Stand) -> list[Verdict]:
    """The gateway keeps half of nginx's static 200, in rate and in CPU."""
    with stand.serving(gateway(stand.models)) as ours, stand.serving(NGINX) as floor:
        pairs = interleave(
            partial(stand.load, ours, CONNECTIONS),
            partial(stand.load, floor, CONNECTIONS),
            stand.effort.pairs,
        )
    rate = Bar("gateway / nginx, requests/s, 64 connections", at_least=0.5)
    cpu = Bar("nginx / gateway, CPU a request, 64 connections", at_least=0.5)
    return [
        Verdict(rate, ratio_spread(pairs, lambda w: w.requests_per_s), "", _rates(pairs)),
        Verdict(cpu, ratio_spread(pairs, lambda w: 1 / w.cpu_per_request_s), "", _costs(pairs)),
    ]


def latency(stand: Stand) -> list[Verdict]:
    """One client alone waits at most 2.5 times as long as for a server that does nothing."""
    with stand.serving(gateway(stand.models)) as ours, stand.serving(bare(stand.models)) as floor:
        pairs = interleave(
            partial(stand.load, ours, 1), partial(stand.load, floor, 1), stand.effort.pairs
        )
    bar = Bar("gateway / bare protocol, p50, one connection", at_most=2.5)
    medians = [median(w.p50_s for w in side) * 1e6 for side in zip(*pairs, strict=True)]
    note = f"{medians[0]:.0f} and {medians[1]:.0f} us"
    return [Verdict(bar, ratio_spread(pairs, lambda w: w.p50_s), "", note)]


def arrivals(stand: Stand) -> list[Verdict]:
    """At half its saturated rate, under Poisson arrivals, p99 is at most 4 times the bare one."""
    with stand.serving(gateway(stand.models)) as ours, stand.serving(bare(stand.models)) as floor:
        saturated = median(stand.load(ours, CONNECTIONS).requests_per_s for _ in range(3))
        rate = saturated / 2
        pairs = [
            (_arrive(stand, ours, rate, seed), _arrive(stand, floor, rate, seed))
            for seed in range(stand.effort.pairs)
        ]
    bar = Bar("gateway / bare protocol, p99, open loop at half the saturated rate", at_most=4)
    medians = [median(one.p99_s for one, _ in side) * 1e6 for side in zip(*pairs, strict=True)]
    busiest = max(busy for pair in pairs for _, busy in pair)
    latest = max(one.lateness_p99_s for pair in pairs for one, _ in pair) * 1e6
    note = (
        f"{medians[0]:.0f} and {medians[1]:.0f} us at {rate:.0f}/s; generator busy "
        f"{busiest:.0%} at most, late by {latest:.0f} us (p99) at most"
    )
    return [Verdict(bar, ratio_spread(pairs, lambda seen: seen[0].p99_s), "", note)]


def memory(stand: Stand) -> list[Verdict]:
    """A replica stays small, and does not grow with what it has served."""
    served, sizes, above = 0, list[int](), list[int]()
    with stand.serving(gateway(stand.models)) as ours:
        (replica,) = managed.replicas(ours)
        while served < stand.effort.memory_requests or len(sizes) < 2:
            served += stand.load(ours, CONNECTIONS).requests
            sizes.append(resident_bytes(replica.pid))
            above.append(resident_bytes(ours.pid))
    megabytes = [size / 1e6 for size in sizes]
    growth = [size / sizes[0] - 1 for size in sizes]
    small = Bar("replica, demo models: resident memory", at_most=130)
    flat = Bar("replica: growth of resident memory under load", at_most=0.02)
    beside = f"its supervisor: {above[0] / 1e6:.1f} to {above[-1] / 1e6:.1f} MB"
    note = f"{megabytes[0]:.1f} to {megabytes[-1]:.1f} MB over {served:,} requests"
    # the worst look decides about size, the last about growth
    return [
        Verdict(small, worst(megabytes), "MB", beside),
        Verdict(flat, Spread(growth[-1], min(growth), max(growth), len(sizes)), "", note),
    ]


def _arrive(stand: Stand, server: Server, rate: float, seed: int) -> tuple[StreamReport, float]:
    stream = StreamPlan(
        "digits", INFER, str(stand.digits.bodies), CONNECTIONS, rate, "poisson", seed
    )
    plan = Plan(server.port, stand.effort.warmup_s, stand.effort.open_window_s, (stream,))
    report = play_pinned(plan, stand.generator_cpu, stand.scratch)
    return report.stream("digits"), report.busy_ratio


def _rates(pairs: Sequence[tuple[Window, Window]]) -> str:
    ours, floor = (median(w.requests_per_s for w in side) for side in zip(*pairs, strict=True))
    busiest = max(w.generator_ratio for pair in pairs for w in pair)
    return f"{ours:.0f} and {floor:.0f}/s; generator busy {busiest:.0%} at most"


def _costs(pairs: Sequence[tuple[Window, Window]]) -> str:
    ours, floor = (
        median(w.cpu_per_request_s for w in side) * 1e6 for side in zip(*pairs, strict=True)
    )
    return f"{ours:.1f} and {floor:.1f} us"
