"""A crowd of slow and idle connections, and the clients that must not feel it.

`digits` is asked in open loop at a third of the saturated rate, in windows with and without
1,000 clients that send a byte a second and 5,000 that say nothing. The server has its default
limits, so that it closes who takes too long, and these come again.

The p99 that has a bar is of the tenths of seconds in which nobody else on the machine took a
processor from the server or the generator (bench/disturbance.py); that of all is told as well.
"""

from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import NamedTuple

from bench import managed
from bench.accounting import cpu_seconds, family, read_processes, resident_bytes
from bench.cells import p99_s
from bench.courses import SLICE_S, Clients, Counts, Course, Report, playing
from bench.disturbance import disturbed_s, undisturbed
from bench.goodput import said
from bench.launch import Server
from bench.ratios import Bar, Figure, Finding, Verdict, interleave, ratio_spread, spread, worst
from bench.requests import INFER
from bench.rungs import gateway
from bench.sampling import sampled
from bench.saturation import saturated_per_s
from bench.stand import Stand

SLOW, IDLE = 1000, 5000
CONNECTIONS, BUSY = 256, 64  # of the healthy; those that saturate
RATE_RATIO = 1 / 3  # of the saturated rate
MOST_RATIO = 2.0
PATIENT_S = 10.0
SETTLING_S = 1.0


class Seen(NamedTuple):
    """One window."""

    counts: Counts
    p99_s: float  # of slices that nobody else disturbed
    undisturbed_ratio: float  # of slices
    cpu_per_request_s: float
    resident_bytes: float
    reconnected: int


def crowd(stand: Stand) -> list[Finding]:
    """Healthy clients wait at most twice as long for all that stand about."""
    clients = Clients("healthy", INFER, str(stand.digits.bodies), CONNECTIONS, None, PATIENT_S)
    with stand.serving(gateway(stand.models)) as server:
        rate = RATE_RATIO * saturated_per_s(stand, server, clients, BUSY)
        amid = partial(window, stand, server, rate, SLOW, IDLE)
        alone = partial(window, stand, server, rate, 0, 0)
        pairs = interleave(amid, alone, stand.effort.pairs)
    return judge(pairs, rate)


def window(stand: Stand, server: Server, rate: float, slow: int, idle: int) -> Seen:
    """One window with so many of them, who leave at its end."""
    phases_s = (SETTLING_S, stand.effort.surge_s / 2)  # beyond the patience of the server
    bodies = str(stand.digits.bodies)
    clients = Clients("healthy", INFER, bodies, CONNECTIONS, (rate, rate), PATIENT_S)
    course = Course(server.port, phases_s, (clients,), slow, idle)
    (replica,) = managed.replicas(server)
    spent = cpu_seconds(server.pid)
    with sampled(lambda: resident_bytes(replica.pid)) as sizes:
        report, waits_s = watched(stand, server, replica.pid, course)
    spent = cpu_seconds(server.pid) - spent
    most = max(size for _, size in sizes)
    healthy, settled = report.clients[0], round(SETTLING_S / SLICE_S)
    slices = healthy.slices[settled:]
    quiet = undisturbed(slices, waits_s[settled:])
    asked = sum(one.offered for one in healthy.phases)
    return Seen(
        healthy.phases[1],
        p99_s(quiet),
        len(quiet) / len(slices),
        spent / asked,
        most,
        report.reconnected,
    )


def watched(stand: Stand, server: Server, pid: int, course: Course) -> tuple[Report, list[float]]:
    """Play the course; say as well how long others kept the replica or the generator waiting."""
    own = family(server.pid, read_processes()) - {pid}
    with playing(course, stand.generator_cpu, stand.scratch) as player:
        began_s, slices = player.began_s(), round(sum(course.phases_s) / SLICE_S)
        waits_s = disturbed_s(began_s, slices, (pid, player.pid), own)
        return player.report(), waits_s


def judge(pairs: Sequence[tuple[Seen, Seen]], rate: float) -> list[Finding]:
    """Compare (amid the crowd, alone), neighbour by neighbour."""
    sides = list(zip(*pairs, strict=True))
    p99_us = [median(one.p99_s for one in side) * 1e6 for side in sides]
    all_us = [median(one.counts.p99_s for one in side) * 1e6 for side in sides]
    kept = [median(one.undisturbed_ratio for one in side) for side in sides]
    cpu = [median(one.cpu_per_request_s for one in side) * 1e6 for side in sides]
    size = [median(one.resident_bytes for one in side) / 1e6 for side in sides]
    what = f"{SLOW:,} slow senders and {IDLE:,} idle connections"
    failed = [float(one.counts.failed) for pair in pairs for one in pair]
    came = said([one.counts for pair in pairs for one in pair])
    reconnected = sum(one.reconnected for one, _ in pairs)
    return [
        Verdict(
            Bar(f"{what} / none: healthy p99", at_most=MOST_RATIO),
            ratio_spread(pairs, lambda one: one.p99_s),
            "",
            f"{p99_us[0]:.0f} and {p99_us[1]:.0f} us at {rate:.0f}/s, of {kept[0]:.0%} and "
            f"{kept[1]:.0%} of the time, in which nobody else took a processor; the server closed "
            f"{reconnected:,} of them, and they came again",
        ),
        Verdict(Bar(f"{what}: healthy requests that failed", at_most=0), worst(failed), "", came),
        Figure(
            f"{what} / none: healthy p99, with what others took",
            ratio_spread(pairs, lambda one: one.counts.p99_s),
            "",
            f"{all_us[0]:.0f} and {all_us[1]:.0f} us",
        ),
        Figure(
            f"{what} / none: CPU a healthy request",
            ratio_spread(pairs, lambda one: one.cpu_per_request_s),
            "",
            f"{cpu[0]:.1f} and {cpu[1]:.1f} us",
        ),
        Figure(
            f"{what}: memory of the replica", spread([size[0]]), "MB", f"{size[1]:.1f} MB without"
        ),
    ]
