"""Leavers: three clients in ten leave before they are answered, and the others must not notice.

Amid a request: `five` is asked in open loop at half its saturated rate; those who leave do so
within 5 ms, a third of them with half a request sent, every second with a reset. Where an
executor was free their execution has begun by then, and is load like any other, so the others
are compared with what they would be had nobody left: who leaves may cost them no more.

In the queue: `five` is kept saturated, so that whoever comes waits for longer than a batch
takes, 40 ms, and those who leave have gone after 20. Nothing may be run for them: what an
answer to the others costs the server's processor is what it costs without them. An
execution that has begun is not stopped, so only here is every row that is run for nobody
a fault.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from bench import five, metrics
from bench.accounting import cpu_seconds
from bench.courses import Clients, Counts, Course, play
from bench.goodput import said
from bench.launch import Server
from bench.ratios import Bar, Figure, Finding, Verdict, interleave, ratio_spread, spread, worst
from bench.rungs import gateway
from bench.saturation import saturated_per_s
from bench.stand import Stand

LEAVING_RATIO = 0.3  # of all clients
CALM_RATIO = 0.5  # of the saturated rate, those who stay, where it is open
PATIENT_S = 10.0
BUSY = 2 * five.MOST_ROWS  # connections of those who stay, where it is saturated
STAY, LEAVE = "stay", "leave"
MOST_SPENT_RATIO = 0.02
MOST_P99_RATIO = 1.0
SETTLING_S, LEAST_S = 1.0, 5.0


class Seen(NamedTuple):
    """One window: those who stay, those who leave, and what the server spent and counted.

    Units: CPU seconds of all of the server for each answer to one who stays.
    """

    stay: Counts
    leave: Counts
    cpu_per_answer_s: float
    gone: float  # as the gateway counts them


def leavers(stand: Stand) -> list[Finding]:
    """Nobody notices who leaves, and next to nothing is spent on them."""
    with stand.serving(gateway(five.build(stand))) as server:
        anybody = Clients(STAY, five.FIVE, str(stand.digits.bodies), 1, None, PATIENT_S)
        rate = saturated_per_s(stand, server, anybody, BUSY)
        pairs = stand.effort.pairs
        calm, leave = CALM_RATIO * rate, LEAVING_RATIO / (1 - LEAVING_RATIO)
        amid = partial(window, stand, server, calm, leave * calm, 0.005)
        alone = partial(window, stand, server, calm, 0.0, None)
        stayed = partial(window, stand, server, calm, leave * calm, None)
        found = judge_amid(interleave(amid, alone, pairs), interleave(amid, stayed, pairs))
        amid = partial(window, stand, server, None, leave * rate, 0.02)
        alone = partial(window, stand, server, None, 0.0, None)
        return found + judge_queued(interleave(amid, alone, pairs))


def window(
    stand: Stand, server: Server, stays: float | None, leave: float, within_s: float | None
) -> Seen:
    """One window with so many who stay and leave, a second; None: as many as can be answered,
    and nobody leaves.
    """
    bodies = str(stand.digits.bodies)
    phases_s = (SETTLING_S, max(LEAST_S, stand.effort.open_window_s))
    connections, rates = (BUSY, None) if stays is None else (256, (stays, stays))
    clients = (
        Clients(STAY, five.FIVE, bodies, connections, rates, PATIENT_S),
        Clients(
            LEAVE,
            five.FIVE,
            bodies,
            256,
            (leave, leave),
            PATIENT_S,
            leaves_within_s=within_s,
            seed=2,
        ),
    )
    spent, gone = cpu_seconds(server.pid), gone_from(server)
    report = play(Course(server.port, phases_s, clients), stand.generator_cpu, stand.scratch)
    spent = cpu_seconds(server.pid) - spent
    stay, left = (report.of(name).phases for name in (STAY, LEAVE))
    cpu_per_answer_s = spent / max(1, sum(one.accepted for one in stay))
    return Seen(stay[1], left[1], cpu_per_answer_s, gone_from(server) - gone)


def gone_from(server: Server) -> float:
    """How many clients the gateway has seen leave."""
    name = "gateway_inference_requests_total"
    return metrics.total(metrics.read(server), name, model="five", outcome="client_gone")


def judge_amid(
    pairs: Sequence[tuple[Seen, Seen]], stayed: Sequence[tuple[Seen, Seen]]
) -> list[Finding]:
    """Compare (with leavers, without) and (with leavers, with as many who stay), open loop."""
    what = "30 % leave amid their requests, open loop"
    both = [*pairs, *stayed]
    failed = [float(one.stay.failed) for one, _ in both]
    left = sum(one.leave.left for one, _ in both)
    offered = sum(one.stay.offered for one, _ in both)
    return [
        Verdict(
            Bar(f"{what}: requests of the others that failed", at_most=0),
            worst(failed),
            "",
            f"{left:,} left, {offered:,} stayed; {said([one.stay for one, _ in both])}",
        ),
        Verdict(
            Bar(f"{what} / had they stayed: p99 of the others", at_most=MOST_P99_RATIO),
            ratio_spread(stayed, lambda one: one.stay.p99_s),
            "",
            waits(stayed),
        ),
        Figure(
            f"{what} / none: p99 of the others",
            ratio_spread(pairs, lambda one: one.stay.p99_s),
            "",
            waits(pairs),
        ),
    ]


def judge_queued(pairs: Sequence[tuple[Seen, Seen]]) -> list[Finding]:
    """Compare (with leavers, without), saturated."""
    what = "30 % leave the queue of a saturated server"
    gone = sum(one.gone for one, _ in pairs)
    left = sum(one.leave.left for one, _ in pairs)
    answered = sum(one.leave.accepted for one, _ in pairs)
    note = (
        f"{left:,} left in the windows, {gone:,.0f} seen to leave; {answered:,} were answered first"
    )
    spent = [one.cpu_per_answer_s / other.cpu_per_answer_s - 1 for one, other in pairs]
    failed = [float(one.stay.failed) for one, _ in pairs]
    return [
        Verdict(
            Bar(f"{what}: CPU for nobody, of that for the others", at_most=MOST_SPENT_RATIO),
            spread(spent),
            "",
            note,
        ),
        Verdict(Bar(f"{what}: requests of the others that failed", at_most=0), worst(failed), ""),
        Figure(
            f"{what} / none: answers to the others",
            ratio_spread(pairs, lambda one: float(one.stay.accepted)),
            "",
            waits(pairs),
        ),
    ]


def waits(pairs: Sequence[tuple[Seen, Seen]]) -> str:
    """The p99 of those who stay, window by window."""
    return "p99 with and without: " + ", ".join(
        f"{one.stay.p99_s * 1e3:.3g}/{other.stay.p99_s * 1e3:.3g} ms" for one, other in pairs
    )
