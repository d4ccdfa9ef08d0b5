"""Fair: several keys with equal shares of a model, one of whom asks ten times its own.

Four keys share what `five` can answer. Three of them ask four fifths of their shares, open
loop; in every other window a fourth asks ten times what is its own, twice what the server can
do. Its quota is to keep it from the others, so each key has one of its share.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from statistics import fmean

from bench import five
from bench.courses import Clients, Course, Report, play
from bench.goodput import said
from bench.launch import Server
from bench.ratios import Bar, Figure, Finding, Verdict, interleave, spread
from bench.rungs import gateway
from bench.saturation import saturated_per_s
from bench.stand import Stand

POLITE = ("one", "two", "three")
GREEDY = "greedy"
ASKED_RATIO = 0.8  # of its share, by who is polite
GREED = 10.0  # times its share
LEAST_RATIO = 0.95
DEADLINE_S = 0.1
CONNECTIONS = 256
SETTLING_S = 2.0
BURST_S = 0.25  # how much of a share may come at once


def key_of(name: str) -> str:
    """The key that a client shows."""
    return f"bench-{name}"


def headers_of(name: str) -> tuple[str, ...]:
    """What each request of a client says of its sender."""
    return (f"x-api-key: {key_of(name)}",)


def digest_of(name: str) -> str:
    """What the settings have of it."""
    return hashlib.sha256(key_of(name).encode()).hexdigest()


def settings_of(share_per_s: float) -> str:
    """What the server is told: a key for each, and its share as a quota."""
    names = (*POLITE, GREEDY)
    keys = ", ".join(f'"predict:{name}:{digest_of(name)}"' for name in names)
    burst = max(1, round(share_per_s * BURST_S))
    quotas = ", ".join(f'"{name}:{share_per_s:.3f}:{burst}"' for name in names)
    return f"[auth]\nkeys = [{keys}]\nquotas = [{quotas}]\n"


def fair(stand: Stand) -> list[Finding]:
    """One key at ten times its share leaves the others their goodput."""
    models = five.build(stand)
    with stand.serving(gateway(models)) as server:
        anybody = Clients("anybody", five.FIVE, str(stand.digits.bodies), 1, None, DEADLINE_S)
        share = saturated_per_s(stand, server, anybody, 2 * five.MOST_ROWS) / (len(POLITE) + 1)
    rung = gateway(models, settings=settings_of(share))
    with stand.serving(rung, headers=headers_of(POLITE[0])) as server:
        beside = partial(window, stand, server, share, GREED)
        alone = partial(window, stand, server, share, 0.0)
        pairs = interleave(beside, alone, stand.effort.surges)
    return judge(pairs, share)


def window(stand: Stand, server: Server, share: float, greed: float) -> Report:
    """One window in which the greedy one asks so many times its share."""
    bodies = str(stand.digits.bodies)
    phases_s = (SETTLING_S, stand.effort.surge_s / 2)
    clients = tuple(
        Clients(
            name,
            five.FIVE,
            bodies,
            CONNECTIONS,
            (share * times,) * len(phases_s),
            DEADLINE_S,
            headers=headers_of(name),
            seed=at,
        )
        for at, (name, times) in enumerate(
            [*((name, ASKED_RATIO) for name in POLITE), (GREEDY, greed)]
        )
    )
    return play(Course(server.port, phases_s, clients), stand.generator_cpu, stand.scratch)


def judge(pairs: Sequence[tuple[Report, Report]], share: float) -> list[Finding]:
    """Compare (beside the greedy one, without it): the worst of the polite decides."""
    what = f"one of {len(POLITE) + 1} keys at {GREED:g} times its share"
    worst_off = [min(kept(beside, alone, name) for name in POLITE) for beside, alone in pairs]
    note = f"share {share:.1f}/s; " + "; ".join(
        f"{name} {fmean(kept(beside, alone, name) for beside, alone in pairs):.3f}"
        for name in POLITE
    )
    greedy = [beside.of(GREEDY).phases[1] for beside, _ in pairs]
    got = [one.good / max(1, one.offered) * GREED for one in greedy]
    return [
        Verdict(
            Bar(f"{what}: goodput of the others / without it, the worst off", LEAST_RATIO),
            spread(worst_off),
            "",
            note,
        ),
        Figure(f"{what}: what it gets, in shares", spread(got), "", said(greedy)),
    ]


def kept(beside: Report, alone: Report, name: str) -> float:
    """What one key has left of its goodput; of what each window offered, which chance decides."""
    one, other = (report.of(name).phases[1] for report in (beside, alone))
    return (one.good / one.offered) / (other.good / other.offered) if other.good else 0.0
