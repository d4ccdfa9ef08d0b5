"""A second replica: what it gains where the generator needs a processor too.

Both gateways and the generator run on all processors, as the kernel likes: a second
replica cannot double anything here, because the first leaves it only what the generator
does not take. The ratio that says more is what a request costs.
"""

from collections.abc import Callable, Sequence
from functools import partial

from bench.ratios import Figure, interleave, ratio_spread, spread
from bench.rungs import gateway
from bench.stand import Stand
from bench.wrk import Window

CONNECTIONS = 64


def replicas(stand: Stand) -> list[Figure]:
    """Two replicas beside one, in interleaved windows."""
    one, two = gateway(stand.models, replicas=1), gateway(stand.models, replicas=2)
    with (
        stand.serving(two, is_free=True) as second,
        stand.serving(one, is_free=True) as first,
    ):
        pairs = interleave(
            partial(stand.load, second, CONNECTIONS, is_free=True),
            partial(stand.load, first, CONNECTIONS, is_free=True),
            stand.effort.pairs,
        )
    return compare(pairs)


def compare(pairs: Sequence[tuple[Window, Window]]) -> list[Figure]:
    """Rates, costs and tails of (two, one)."""
    busiest = max(window.generator_ratio for pair in pairs for window in pair)
    where = (
        f"{CONNECTIONS} connections; servers and generator share all processors; "
        f"generator {busiest:.0%} of one at most"
    )
    kinds: tuple[tuple[str, str, Callable[[Window], float]], ...] = (
        ("requests/s", "/s", lambda window: window.requests_per_s),
        ("CPU a request, supervisor included", "us", lambda window: window.cpu_per_request_s * 1e6),
        ("p99", "us", lambda window: window.p99_s * 1e6),
    )
    found = []
    for what, unit, figure in kinds:
        found.append(Figure(f"two replicas / one, {what}", ratio_spread(pairs, figure), "", where))
        for name, at in (("one replica", 1), ("two replicas", 0)):
            seen = spread(figure(pair[at]) for pair in pairs)
            found.append(Figure(f"{name}, {what}", seen, unit))
    return found
