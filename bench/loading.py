"""Models that come and go while `digits` is under full load.

The replica, its loading thread included, has one processor, the generator another. Small
is as small as `digits`; the others are as many megabytes as their names say.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.apart import apart
from bench.launch import ROOT
from bench.ratios import Bar, Figure, Finding, Verdict, spread, worst
from bench.stand import Stand
from bench.wrk import Tally
from gateway.app.returning import EVERY_S

CONNECTIONS = 64
MEGABYTES = {"24-MB": 24, "400-MB": 400}
SMALL = "small"
MOST_MS = 5.0
QUIET_S = 5  # a turn: about as long as its changes
REST_S = 2 * EVERY_S + 5  # it looks for what to give back, and must find no change


def loading(stand: Stand) -> list[Finding]:
    """No request fails, and the loop never stands still for long, whatever is loaded."""
    turns = stand.effort.turns
    words = [str(build(stand)), "--turns", str(turns), "--quiet", str(QUIET_S * turns)]
    words += ["--rest", str(REST_S)]
    with apart("bench.stalls", words, stand.server_cpu) as replica:
        port = replica.hear()["port"]
        with stand.traffic(port, CONNECTIONS) as traffic:
            replica.go_on()
            seen = replica.hear()
            tally = traffic.end()
    return [*judge(seen["quiet"], seen["changes"], tally), returned(seen["rest"])]


def build(stand: Stand) -> Path:
    """A folder with `digits`, a small model and large ones."""
    folder = stand.scratch / "loading"
    for name in ("digits", SMALL):
        shutil.copytree(stand.models / "digits" / "1", folder / name / "1")
    wanted = [f"{name}={megabytes}" for name, megabytes in MEGABYTES.items()]
    command = [sys.executable, "-m", "bench.wide", str(folder), *wanted]
    subprocess.run(command, check=True, cwd=ROOT)
    return folder


def judge(
    quiet: Sequence[Mapping[str, float]], changes: Sequence[Mapping[str, Any]], tally: Tally
) -> list[Finding]:
    """No request may fail; the stall that is judged is the longest that comes each time.

    A hypervisor takes the processor for tens of milliseconds now and then, and no kernel
    counts that: such a stall is in one turn or another, and in windows without a change too.
    What a change does to the loop is in every turn of it, so in the median of its turns.
    """
    note = f"of {tally.requests:,}; {len(changes)} loads, reloads and unloads"
    failed = Bar("models come and go under full load: failed requests", at_most=0)
    stall = Bar("models come and go under full load: stall of the loop, net", at_most=MOST_MS)
    kinds = {
        (model, act): [one for one in changes if (one["model"], one["act"]) == (model, act)]
        for model in (SMALL, *MEGABYTES)
        for act in ("load", "reload", "unload")
    }
    medians = [median(one["net_s"] * 1e3 for one in seen) for seen in kinds.values()]
    how = "the worst change, the median of its turns; net of waiting for the processor"
    found: list[Finding] = [
        Verdict(failed, worst([float(tally.failed)]), "", note),
        Verdict(stall, worst(medians), "ms", how),
    ]
    for name in ("net", "raw"):
        among, without = (
            worst(one[f"{name}_s"] * 1e3 for one in all_) for all_ in (changes, quiet)
        )
        beside = f"without changes {without.median:.2f} ms, in {len(quiet)} s"
        found.append(Figure(f"the longest stall of all, {name}", among, "ms", beside))
    return [*found, *(_told(*kind, seen) for kind, seen in kinds.items())]


def returned(rest: Mapping[str, float]) -> Figure:
    """What stays resident when models have gone, and the stall of giving the rest back."""
    seen = spread([rest["after_bytes"] / 1e6])
    note = (
        f"from {rest['before_bytes'] / 1e6:.0f} MB, {REST_S:g} s after the last change; "
        f"stalls until then {rest['net_s'] * 1e3:.2f} ms net, {rest['raw_s'] * 1e3:.2f} ms raw"
    )
    return Figure("resident when memory was given back", seen, "MB", note)


def _told(model: str, act: str, seen: Sequence[Mapping[str, Any]]) -> Figure:
    net, raw = (spread(one[kind] * 1e3 for one in seen) for kind in ("net_s", "raw_s"))
    stalls = (
        f"stalls {net.median:.2f} ms net ({net.highest:.2f} at most), "
        f"{raw.median:.2f} ms raw ({raw.highest:.2f} at most)"
    )
    return Figure(
        f"{act} {model} under full load", spread(one["took_s"] for one in seen), "s", stalls
    )
