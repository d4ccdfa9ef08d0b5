"""How soon a replica that was killed, stopped or replaced has a successor, under full load.

Two replicas and the generator share all processors and are as busy as they can be, so
these are the times of a machine with nothing to spare. A stopped replica is silent: its
supervisor waits for `heartbeat_timeout_s` (2 s) before it kills it.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bench import managed
from bench.launch import Server
from bench.ratios import Bar, Figure, Finding, Verdict, spread, worst
from bench.rungs import gateway
from bench.stand import Stand
from bench.wrk import Tally

REPLICAS = 2
CONNECTIONS = 64
BEFORE_S, AFTER_S = 1.0, 0.5  # of traffic


@dataclass(frozen=True, slots=True)
class Trial:
    """One fault: how long until all is as before, and what the clients saw."""

    seconds: float
    tally: Tally


def recovery(stand: Stand) -> list[Finding]:
    """Each trial has a new gateway: who dies again and again is started ever later."""
    trials: dict[str, list[Trial]] = {name: [] for name in FAULTS}
    for _ in range(stand.effort.trials):
        with stand.serving(gateway(stand.models, replicas=REPLICAS), is_free=True) as server:
            for slot, (name, fault) in enumerate(FAULTS.items()):
                trials[name].append(_try(stand, server, fault, slot % REPLICAS))
    return [finding for name, seen in trials.items() for finding in judge(name, seen)]


def judge(name: str, trials: Sequence[Trial]) -> list[Finding]:
    """The time of a recovery and the requests that it cost; a replacement may cost none."""
    requests = sum(one.tally.requests for one in trials)
    kinds = ", ".join(sorted({kind for one in trials for kind in one.tally.faults}))
    note = f"of {requests:,}, {CONNECTIONS} in flight at a time" + (f"; {kinds}" if kinds else "")
    failed = [float(one.tally.failed) for one in trials]
    what = f"{name}: failed requests"
    return [
        Figure(f"{name}: until all serve", spread(one.seconds for one in trials), "s"),
        Verdict(Bar(what, at_most=0), worst(failed), "", note)
        if name == REPLACED
        else Figure(what, spread(failed), "", note),
    ]


def _try(
    stand: Stand, server: Server, fault: Callable[[Server, int], frozenset[int]], slot: int
) -> Trial:
    """Do it amid traffic, and wait until it is mended."""
    with stand.traffic(server.port, CONNECTIONS, is_free=True) as traffic:
        time.sleep(BEFORE_S)
        began_s = time.monotonic()
        gone = fault(server, slot)
        managed.wait(server, REPLICAS, gone)
        seconds = time.monotonic() - began_s
        time.sleep(AFTER_S)
        return Trial(seconds, traffic.end())


def _strike(number: signal.Signals, server: Server, slot: int) -> frozenset[int]:
    victim = next(one.pid for one in managed.replicas(server) if one.slot == slot)
    os.kill(victim, number)
    return frozenset({victim})


def _replace(server: Server, _slot: int) -> frozenset[int]:
    before = frozenset(one.pid for one in managed.replicas(server))
    os.kill(server.pid, signal.SIGHUP)
    return before


REPLACED = "replaced at SIGHUP"
# What is done, and who is to be gone afterwards.
FAULTS: Mapping[str, Callable[[Server, int], frozenset[int]]] = {
    "killed (SIGKILL)": partial(_strike, signal.SIGKILL),
    "stopped (SIGSTOP)": partial(_strike, signal.SIGSTOP),
    REPLACED: _replace,
}
