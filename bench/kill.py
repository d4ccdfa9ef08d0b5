"""Kill: what a model's own process and Redis cost when they are killed, or stand still.

What becomes of a killed replica is measured by bench/recovery.py.

Under load, open loop, SIGKILL and SIGSTOP, and nothing is asked twice: whatever is not
answered with 200 within ten seconds has failed, and what is never answered hangs. A model's
process is found as what descends from the replica; whoever stopped it leaves it stopped. Redis
is started anew after three seconds, with its documents, or told to go on.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench import documents, five, managed
from bench.accounting import family, read_processes
from bench.courses import HUNG, SLICE_S, Clients, Course, Report, playing
from bench.documents import PutRefused
from bench.goodput import recovery_s, said
from bench.launch import Server, StartFailed, free_port
from bench.managed import NeverSo
from bench.ratios import Bar, Figure, Finding, Verdict, spread, worst
from bench.requests import INFER
from bench.rungs import gateway
from bench.saturation import saturated_per_s
from bench.stand import Stand

RATE_RATIO = 1 / 3  # of the saturated rate
BEFORE_S, AFTER_S = 3.0, 15.0
AWAY_S = 3.0  # of Redis
PATIENT_S = 10.0
WAIT_S = 30.0
POLL_S = 0.02
SIGNALS = (signal.SIGKILL, signal.SIGSTOP)
PROCESS = '[execution]\nexecutor = "process"\n'

Fault = Callable[[], float]  # does it, and says how long it took until all was mended


@dataclass(frozen=True, slots=True)
class Trial:
    """One fault amid traffic: what the clients saw, and seconds until all was as before."""

    report: Report
    mended_s: float


def kill(stand: Stand) -> list[Finding]:
    """No request fails and none hangs, whoever is killed."""
    return [*model_process(stand), *redis(stand)]


def model_process(stand: Stand) -> list[Finding]:
    """Kill and stop the process of a model."""
    models = stand.scratch / "apart"
    five.write(models, "five", five.depth_of(stand.scratch, stand.server_cpu), PROCESS)
    what = "a model's process"
    bodies = stand.digits.bodies
    assert bodies is not None
    clients = Clients("five", five.FIVE, str(bodies), 256, None, PATIENT_S)
    try:
        with stand.serving(gateway(models), path=five.FIVE) as server:
            rate = RATE_RATIO * saturated_per_s(stand, server, clients, 2 * five.MOST_ROWS)
            found: list[Finding] = []
            for number in SIGNALS:
                fault = partial(strike_model, server, number)
                trials = [
                    trial(stand, server, clients, rate, fault) for _ in range(stand.effort.trials)
                ]
                found += judge(f"{what}, {number.name}", trials)
    except (StartFailed, NeverSo) as error:
        return [unmeasured(f"{what}: failed requests", str(error))]
    return found


def redis(stand: Stand) -> list[Finding]:
    """Kill and stop Redis, where the documents are."""
    clients = Clients("digits", INFER, str(stand.digits.bodies), 256, None, PATIENT_S)
    with redis_server(stand.scratch / "redis") as store:
        settings = f'[redis]\nurl = "redis://127.0.0.1:{store.port}/0"\n'
        with stand.serving(gateway(stand.models, settings=settings)) as server:
            rate = RATE_RATIO * saturated_per_s(stand, server, clients, 64)
            found: list[Finding] = []
            for number in SIGNALS:
                fault = partial(strike_redis, server, store, number)
                trials = [
                    trial(stand, server, clients, rate, fault) for _ in range(stand.effort.trials)
                ]
                found += judge(f"Redis, {number.name} for {AWAY_S:g} s", trials)
    return found


def trial(stand: Stand, server: Server, clients: Clients, rate: float, fault: Fault) -> Trial:
    """Do it amid traffic."""
    phases_s = (BEFORE_S, AFTER_S)
    asking = replace(clients, rates_per_s=(rate, rate))
    course = Course(server.port, phases_s, (asking,))
    with playing(course, stand.generator_cpu, stand.scratch) as player:
        time.sleep(max(0.0, player.began_s() + BEFORE_S - time.monotonic()))
        mended_s = fault()
        return Trial(player.report(), mended_s)


def judge(what: str, trials: Sequence[Trial]) -> list[Finding]:
    """Failures and hangs must not be; the times are told."""
    after = [one.report.clients[0].phases[1] for one in trials]
    failed = [float(one.failed) for one in after]
    hung = [float(one.answers.get(HUNG, 0)) for one in after]
    felt = [felt_s(one.report) for one in trials]
    offered = sum(one.offered for one in after)
    return [
        Verdict(
            Bar(f"{what}: failed requests", at_most=0),
            worst(failed),
            "",
            f"of {offered:,}; {said(after)}",
        ),
        Verdict(Bar(f"{what}: requests that hang", at_most=0), worst(hung), ""),
        Figure(f"{what}: until it serves again", spread(one.mended_s for one in trials), "s"),
        Figure(f"{what}: until clients feel nothing of it", spread(felt), "s"),
    ]


def felt_s(report: Report) -> float:
    """Seconds from the fault until all is as it was before, as clients see it."""
    clients = report.clients[0]
    return recovery_s(clients.slices[round(BEFORE_S / SLICE_S) :], clients.phases[0])


def unmeasured(what: str, why: str) -> Verdict:
    """A bar that is not met because nobody could look."""
    line = why.strip().splitlines()[-1] if why.strip() else "?"
    return Verdict(Bar(what, at_most=0), worst([float("nan")]), "", f"not measured: {line[:200]}")


def strike_model(server: Server, number: signal.Signals) -> float:
    """Send a signal to all processes of models; wait until others stand. Raises: NeverSo."""
    before = model_processes(server)
    if not before:
        raise NeverSo("the replica has no process of its own for the model")
    began_s = time.monotonic()
    for pid in before:
        os.kill(pid, number)
    wait_until(lambda: len(model_processes(server) - before) >= len(before), "a new process")
    return time.monotonic() - began_s


def model_processes(server: Server) -> frozenset[int]:
    """What descends from the only replica."""
    (replica,) = managed.replicas(server)
    return family(replica.pid, read_processes()) - {replica.pid}


def strike_redis(server: Server, store: "Store", number: signal.Signals) -> float:
    """Take Redis away for a while; wait until a document can be changed again."""
    store.strike(number)
    time.sleep(AWAY_S)
    store.mend(number)
    began_s = time.monotonic()
    wait_until(partial(is_changed, server), "a document that can be changed")
    return time.monotonic() - began_s


def is_changed(server: Server) -> bool:
    """Put the document in force again; say whether that was taken."""
    try:
        documents.put(server, documents.in_force(server, "digits"))
    except (OSError, PutRefused):
        return False
    return True


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Look again and again. Raises: NeverSo."""
    latest_s = time.monotonic() + WAIT_S
    while not is_so():
        if time.monotonic() > latest_s:
            raise NeverSo(f"expected {what} within {WAIT_S:g} s")
        time.sleep(POLL_S)


class Store:
    """A Redis of our own, which keeps what it has in its folder."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.port = free_port()
        self._process = self._start()

    def strike(self, number: signal.Signals) -> None:
        """Send it a signal; wait for its end if it has one."""
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait(WAIT_S)

    def mend(self, number: signal.Signals) -> None:
        """Start it again, or let it go on."""
        if number == signal.SIGKILL:
            self._process = self._start()
        else:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, whatever state it is in."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(WAIT_S)

    def _start(self) -> "subprocess.Popen[bytes]":
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._home), "--save", "", "--appendonly", "yes"]
        with (self._home / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)


@contextmanager
def redis_server(home: Path) -> Iterator[Store]:
    """Run Redis on a free port until the block ends."""
    home.mkdir(parents=True, exist_ok=True)
    store = Store(home)
    try:
        yield store
    finally:
        store.close()
