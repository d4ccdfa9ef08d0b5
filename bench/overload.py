"""Overload: several times what a server can bear, open loop, and the calm before and after.

The deadline of `five` is 100 ms: two of its longest batches, one that runs and one's own, and
a fifth more. That of `digits` is 100 ms too, a hundred times what it takes in calm: long
enough that no pause of the machine is taken for overload, and four times what all takes that
its connections can have on their way. Each client tells its deadline; a call is good if it is
answered with 200 within it, from the moment at which it was due.

On 2,048 connections `digits` has 16,384 requests on their way, twice what can be answered
within their deadline: so here most must be refused, or not be read. What waits in the kernel
no server sees, so what of it was late is told, and not judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from bench import five, managed
from bench.accounting import resident_bytes
from bench.courses import Clients, Counts, Course, Report, play, playing
from bench.goodput import good_ratio, goodput, growth, lateness_s, recovery_s, said, slices_of
from bench.launch import Server
from bench.ratios import Bar, Figure, Finding, Spread, Verdict, spread, worst
from bench.requests import INFER
from bench.rungs import bare, gateway
from bench.sampling import sampled
from bench.saturation import saturated_per_s
from bench.stand import Stand

CALM_RATIO = 0.5  # of the saturated rate, before and after
CALM_S, SURGE = 5.0, 1  # how long before; the place of the overload among the phases
AFTER_RATIO = 2  # times as long, and no recovery is later
MOST_LATE_RATIO = 0.001  # of the accepted: the generator's and the kernel's own delays
MOST_GROWTH_RATIO = 0.02
MOST_RECOVERY_S = 2.0
HEADROOM_PER_S, HEADROOM_S = 160_000.0, 3.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, its clients, how many connections saturate it, and what is promised of it."""

    clients: Clients
    busy: int
    most_late_ratio: float | None  # of the accepted; None: nothing is promised
    bars: tuple[tuple[float, float], ...]  # (so many times the saturated rate, goodput of it)

    @property
    def name(self) -> str:
        return self.clients.name


@dataclass(frozen=True, slots=True)
class Trial:
    """One surge, and the saturated rate around it."""

    report: Report
    phases_s: tuple[float, ...]
    saturated_per_s: float
    growth: float
    resident_bytes: float  # the most that was seen

    @property
    def counts(self) -> Counts:
        return self.report.clients[0].phases[SURGE]


def overload(stand: Stand) -> list[Finding]:
    """What is answered in time stays what it was, however much more is asked."""
    of_all = subjects(stand)
    found = [finding for subject in of_all for finding in overloaded(stand, subject)]
    return [*found, headroom(stand, of_all[-1].clients)]


def overloaded(stand: Stand, subject: Subject) -> list[Finding]:
    """One subject under each of its overloads, in turn, on one server."""
    trials: dict[float, list[Trial]] = {factor: [] for factor, _ in subject.bars}
    with stand.serving(gateway(five.build(stand))) as server:
        for seed in range(stand.effort.surges):
            for factor, seen in trials.items():
                seen.append(surge(stand, server, subject, factor, seed))
    return [
        finding
        for factor, least in subject.bars
        for finding in judge(f"{subject.name}, {factor:g} times", least, trials[factor], subject)
    ]


def subjects(stand: Stand) -> tuple[Subject, ...]:
    """`five`, `digits`, and last `digits` with all that the generator can do."""
    bodies = str(stand.digits.bodies)
    slow = Clients("five", five.FIVE, bodies, 1024, None, deadline_s=0.1)
    quick = Clients("digits", INFER, bodies, 256, None, deadline_s=0.1, burst=8)
    many = replace(quick, name="digits on 2,048 connections", connections=2048)
    return (
        Subject(slow, 2 * five.MOST_ROWS, MOST_LATE_RATIO, ((2.0, 0.95), (10.0, 0.85))),
        Subject(quick, 64, MOST_LATE_RATIO, ((2.0, 0.6),)),
        Subject(many, 64, None, ((2.0, 0.6),)),
    )


def surge(stand: Stand, server: Server, subject: Subject, factor: float, seed: int) -> Trial:
    """Saturate, play calm, overload and calm, and saturate again."""
    rate = partial(saturated_per_s, stand, server, subject.clients, subject.busy)
    before = rate()
    phases_s = (CALM_S, stand.effort.surge_s, AFTER_RATIO * CALM_S)
    rates = (CALM_RATIO * before, factor * before, CALM_RATIO * before)
    clients = replace(subject.clients, rates_per_s=rates, seed=seed)
    (replica,) = managed.replicas(server)
    course = Course(server.port, phases_s, (clients,))
    with (
        sampled(lambda: resident_bytes(replica.pid)) as sizes,
        playing(course, stand.generator_cpu, stand.scratch) as player,
    ):
        begin_s = player.began_s() + CALM_S
        report = player.report()
    grown = growth(sizes, begin_s, begin_s + stand.effort.surge_s)
    most = max(size for _, size in sizes)
    return Trial(report, phases_s, fmean([before, rate()]), grown, most)


def judge(what: str, least: float, trials: Sequence[Trial], subject: Subject) -> list[Finding]:
    """Goodput, late answers, recovery and memory of one model under one overload."""
    surge_s = trials[0].phases_s[SURGE]
    what = f"{what} the saturated rate for {surge_s:g} s"
    deadline_s = subject.clients.deadline_s
    counts = [one.counts for one in trials]
    ratios = [goodput(one.counts, surge_s) / one.saturated_per_s for one in trials]
    rates = ", ".join(f"{one.saturated_per_s:.0f}" for one in trials)
    busiest = max(one.report.busy_ratio for one in trials)
    late = max(one.report.lateness_p99_s for one in trials) * 1e3
    note = (
        f"saturated {rates}/s, deadline {deadline_s * 1e3:g} ms; {said(counts)}; generator busy "
        f"{busiest:.0%} at most, late by {late:.2g} ms (p99) at most"
    )
    late_ratios = [(one.accepted - one.good) / max(1, one.accepted) for one in counts]
    latest_ms = [lateness_s(one, deadline_s) * 1e3 for one in counts]
    latency = "; ".join(
        f"p50 {one.p50_s * 1e3:.3g}, p99 {one.p99_s * 1e3:.3g} ms" for one in counts
    )
    again = [recovery_of(one) for one in trials]
    megabytes = ", ".join(f"{one.resident_bytes / 1e6:.1f}" for one in trials)
    return [
        Verdict(Bar(f"{what}: goodput / saturated", at_least=least), spread(ratios), "", note),
        _late(what, subject, worst(late_ratios), max(latest_ms), latency),
        Verdict(Bar(f"{what}: recovery", at_most=MOST_RECOVERY_S), worst(again), "s"),
        Verdict(
            Bar(f"{what}: growth of the replica's memory", at_most=MOST_GROWTH_RATIO),
            worst(one.growth for one in trials),
            "",
            f"{megabytes} MB at most",
        ),
    ]


def _late(what: str, subject: Subject, seen: Spread, latest_ms: float, latency: str) -> Finding:
    what = f"{what}: accepted and late, of the accepted"
    note = f"latest {latest_ms:.3g} ms behind its deadline; {latency}"
    if subject.most_late_ratio is None:
        return Figure(what, seen, "", note)
    return Verdict(Bar(what, at_most=subject.most_late_ratio), seen, "", note)


def recovery_of(trial: Trial) -> float:
    """Seconds from the end of an overload until all is as it was in the calm before."""
    clients = trial.report.clients[0]
    after = slices_of(clients.slices, trial.phases_s, SURGE + 1)
    return recovery_s(after, clients.phases[0])


def headroom(stand: Stand, clients: Clients) -> Figure:
    """More than twice what a gateway answers, of a server that does nothing: what is in time.

    What is missing to 1 is the generator's, or the bare server's.
    """
    with stand.serving(bare(stand.models)) as server:
        asking = replace(clients, rates_per_s=(HEADROOM_PER_S,))
        course = Course(server.port, (HEADROOM_S,), (asking,))
        report = play(course, stand.generator_cpu, stand.scratch)
    counts = report.clients[0].phases[0]
    note = f"{said([counts])}; generator busy {report.busy_ratio:.0%}"
    what = f"{HEADROOM_PER_S:.0f}/s asked of a bare server: good, of the offered"
    return Figure(what, spread([good_ratio(counts)]), "", note)
