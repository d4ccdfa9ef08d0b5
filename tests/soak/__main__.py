"""`python -m tests.soak`: three soaks; exit 1 at any fault.

calls      ten million calls of batchers whose executors, callers and lives are random: every
           one answered exactly once, with its own rows, and the telemetry's counts the same
ruin       random clients of a real gateway whose replicas are killed: every request has its one
           answer, or left, or was cut off by a kill
mutations  a million mutated requests against a real gateway: none is a 5xx, none goes without
           an answer, nothing is complained of, memory does not grow by more than a tenth

Seeds decide what is asked. `--seed S --era E` plays one era of calls again.
"""

import argparse
import asyncio
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tests.server import Server, serving
from tests.soak import eras
from tests.soak.asking import Tally, soak
from tests.soak.ruin import Plan, ruin, unaccounted
from tests.zoo import write_zoo

_CALLERS = 256
_CLIENTS = 64
_FRAMING_RATIO = 0.1
_MOST_GROWTH_RATIO = 0.1

Faults = list[str]


def main() -> int:
    """Run them; print what came, and what was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--minutes", type=float, default=3.0, help="of ruin")
    parser.add_argument("--requests", type=int, default=1_000_000, help="that are mutated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--era", type=int, help="this one alone")
    parser.add_argument("--replicas", type=int, default=1, help="of the gateway of mutations")
    parser.add_argument("--only", action="append", choices=list(_SOAKS), help="may be repeated")
    given = parser.parse_args()
    names = given.only or (list(_SOAKS) if given.era is None else ["calls"])
    faults: Faults = []
    for name in names:
        faults += _SOAKS[name](given)
    for fault in faults[:20]:
        print(fault, file=sys.stderr)  # noqa: T201 - its report
    return 1 if faults else 0


def _calls(given: argparse.Namespace) -> Faults:
    """Play eras, on all processors."""
    started = time.monotonic()
    numbers = range(-(-given.calls // eras.CALLS)) if given.era is None else [given.era]
    total = eras.Tally()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for tally in pool.map(partial(eras.played, given.seed), numbers):
            total.add(tally)
    _say(f"calls: {total.offered:,} in {time.monotonic() - started:.0f} s, seed {given.seed}: "
         f"{total.answered:,} answered, {dict(sorted(total.errors.items()))}; "
         f"{total.executions:,} executions, {total.moves:,} moves, {total.closings:,} "
         "closings")  # fmt: skip
    return total.faults


def _ruin(given: argparse.Namespace) -> Faults:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        models = write_zoo(folder / "models")
        with serving(models, folder, replicas=2) as server:
            tally = asyncio.run(ruin(server, Plan(given.minutes * 60, _CLIENTS, given.seed)))
            faults = tally.faults + unaccounted(tally, server)
            lines = server.complaints().splitlines()
    _say(f"ruin: {tally.asked:,} requests in {time.monotonic() - started:.0f} s, seed "
         f"{given.seed}: {dict(sorted(tally.answers.items()))}, {tally.left:,} left, "
         f"{tally.cut:,} cut off by {len(tally.kills)} kills; {len(lines)} lines on "
         "stderr")  # fmt: skip
    return faults


def _mutations(given: argparse.Namespace) -> Faults:
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        settings: dict[str, Any] = {
            "replicas": given.replicas,
            "dialects__default_model": "echo",
            "limits__header_timeout_s": 1,
            "limits__body_timeout_s": 1,
        }
        with serving(write_zoo(folder / "models"), folder, **settings) as server:
            return _report(server, given.requests, given.seed)


def _report(server: Server, requests: int, seed: int) -> Faults:
    started = time.monotonic()
    first = _run(server, requests // 10, seed)
    before = server.rss_bytes()
    rest = _run(server, requests - requests // 10, seed + 1)
    after = server.rss_bytes()
    growth = after / before - 1
    faults = [f"no answer: {raw!r}" for one in (first, rest) for raw in one.hung]
    faults += [f"5xx: {raw!r}" for one in (first, rest) for raw in one.failed]
    faults += server.complaints().splitlines()
    if growth > _MOST_GROWTH_RATIO:
        faults.append(f"memory grew by {growth:.1%}")
    statuses = first.statuses + rest.statuses
    asked, silent = first.asked() + rest.asked(), first.silent + rest.silent
    _say(f"mutations: {asked:,} requests in {time.monotonic() - started:.0f} s, seed {seed}: "
         f"{dict(sorted(statuses.items()))}, {silent} closed without a word; memory "
         f"{before / 1e6:.1f} to {after / 1e6:.1f} MB ({growth:+.1%})")  # fmt: skip
    return faults


def _run(server: Server, requests: int, seed: int) -> Tally:
    return asyncio.run(soak(server.port, requests, seed, _FRAMING_RATIO, _CALLERS))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - its report


_SOAKS: dict[str, Callable[[argparse.Namespace], Faults]] = {
    "calls": _calls,
    "ruin": _ruin,
    "mutations": _mutations,
}

if __name__ == "__main__":
    sys.exit(main())
