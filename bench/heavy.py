"""A heavy model at full load, and the small requests that must not feel it.

The model runs in the gateway, kept busy by closed-loop clients; beside it `digits` and
probes arrive in open loop. The same model then runs in bare ONNX Runtime on the same
processor, at the batch size that suits it best; gateway and bare runs are interleaved.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.alone import measure
from bench.launch import ROOT, Server
from bench.plans import Plan, Report, StreamPlan, play_pinned
from bench.ratios import Bar, Verdict, ratio_spread, spread
from bench.requests import INFER, READY, write_bodies
from bench.rungs import gateway
from bench.stand import Stand

HEAVY = "/v2/models/heavy/infer"
SIZES = (16, 32, 64, 128, 256, 512)  # rows of a batch, for ONNX Runtime alone
SEARCH_S = 0.5  # at each of them
REQUEST_ROWS = 8
BATCHES_WAITING = 3  # kept in the queue and in flight, so that the next is always full
# What arrives beside is paid from the same processor: 0.4 ms each, the caches being cold.
DIGITS_PER_S = 20.0
PROBES_PER_S = 10.0  # a balancer and an orchestrator, several of each


@dataclass(frozen=True, slots=True)
class Pair:
    """One turn: through the gateway, then alone."""

    beside: Report
    gateway_rows_per_s: float
    alone_rows_per_s: float


def heavy(stand: Stand) -> list[Verdict]:
    """The gateway keeps 95 % of the model's own rate, and small requests beside it stay quick."""
    models = build(stand)
    model = models / "heavy" / "1" / "model.onnx"
    found = measure(model, SIZES, SEARCH_S, stand.server_cpu)
    best = max(found, key=found.__getitem__)
    bodies = stand.scratch / "heavy-bodies"
    write_bodies(bodies, 64, REQUEST_ROWS)
    pairs = []
    with stand.serving(gateway(models)) as ours:
        for seed in range(stand.effort.pairs):
            report = _load(stand, ours, best, bodies, seed)
            alone = measure(model, [best], stand.effort.window_s, stand.server_cpu)[best]
            rows = report.stream("heavy").answers_per_s * REQUEST_ROWS
            pairs.append(Pair(report, rows, alone))
    return judge(pairs, best)


def judge(pairs: list[Pair], best: int) -> list[Verdict]:
    """Three bars: the heavy model's rate, and the p99 of both kinds of small requests."""
    rates = [(pair.gateway_rows_per_s, pair.alone_rows_per_s) for pair in pairs]
    ours, alone = (median(side) for side in zip(*rates, strict=True))
    busiest = max(pair.beside.busy_ratio for pair in pairs)
    note = (
        f"{ours:.0f} and {alone:.0f} rows/s ({REQUEST_ROWS} rows a request; alone in "
        f"batches of {best}); generator busy {busiest:.0%} at most"
    )
    bar = Bar("heavy model: gateway / ONNX Runtime alone, rows/s", at_least=0.95)
    verdicts = [Verdict(bar, ratio_spread(rates, float), "", note)]
    for name, per_s in (("digits", DIGITS_PER_S), ("probes", PROBES_PER_S)):
        seen = spread(pair.beside.stream(name).p99_s * 1e3 for pair in pairs)
        beside = Bar(f"{name} at {per_s:g}/s beside the heavy model, p99", at_most=10)
        verdicts.append(Verdict(beside, seen, "ms"))
    return verdicts


def build(stand: Stand) -> Path:
    """A folder of models with `digits` and `heavy`, whose files live with the scratch folder."""
    folder = stand.scratch / "models"
    shutil.copytree(stand.models / "digits", folder / "digits")
    script = ROOT / "models" / "build_heavy.py"
    subprocess.run([sys.executable, str(script), "--out", str(folder)], check=True)
    return folder


def _load(stand: Stand, server: Server, best: int, bodies: Path, seed: int) -> Report:
    connections = BATCHES_WAITING * best // REQUEST_ROWS
    digits = str(stand.digits.bodies)
    streams = (
        StreamPlan("heavy", HEAVY, str(bodies), connections, None),
        StreamPlan("digits", INFER, digits, 16, DIGITS_PER_S, seed=2 * seed),
        StreamPlan("probes", READY, None, 16, PROBES_PER_S, seed=2 * seed + 1),
    )
    effort = stand.effort
    # a batch takes a tenth of a second: the window holds enough that one more or less does not show
    plan = Plan(server.port, effort.warmup_s, 2 * effort.open_window_s, streams)
    return play_pinned(plan, stand.generator_cpu, stand.scratch)
