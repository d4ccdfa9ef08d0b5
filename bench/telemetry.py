"""What telemetry costs a request.

It is measured between the sockets, where nothing else disturbs it, and judged as a share of
what a request costs the whole server at as many connections, kernel included.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from bench.apart import told
from bench.ratios import Bar, Figure, Finding, Verdict, spread
from bench.rungs import gateway
from bench.stand import Stand

LANES = (1, 16, 64)
BAR_LANES = 64
MOST_PERCENT = 2.0

Kinds = Mapping[str, Sequence[float]]  # with a record and without: seconds a request, by group


def telemetry(stand: Stand) -> list[Finding]:
    """Counting costs at most 2 % of a request at 64 connections."""
    with stand.serving(gateway(stand.models)) as ours:
        whole_s = {
            lanes: median(
                stand.load(ours, lanes).cpu_per_request_s for _ in range(stand.effort.pairs)
            )
            for lanes in LANES
        }
    words = [str(stand.models / "digits" / "1" / "model.onnx"), str(stand.digits.bodies)]
    words += ["--groups", str(stand.effort.telemetry_groups), "--lanes", *map(str, LANES)]
    seen = told("bench.lanes", words, stand.server_cpu)
    found: list[Finding] = []
    for lanes in LANES:
        found += judge(lanes, seen["lanes"][str(lanes)], seen["fed_s"], whole_s[lanes])
    return found


def judge(lanes: int, kinds: Kinds, fed_s: float, whole_s: float) -> list[Finding]:
    """What telemetry adds, as a share of the server's CPU and of the path between the sockets.

    A batch is counted once, so fewer lanes share the cost; only the largest batch is judged.
    """
    pairs = list(zip(kinds["counted"], kinds["silent"], strict=True))
    added_s = [counted - silent + fed_s / lanes for counted, silent in pairs]
    counted_us, silent_us = (median(side) * 1e6 for side in zip(*pairs, strict=True))
    what = f"telemetry, {lanes} lane{'s' * (lanes > 1)}"
    share = spread(100 * added / whole_s for added in added_s)
    note = f"of {whole_s * 1e6:.1f} us, the server's CPU a request"
    bar = Bar(f"{what}, share of a request", at_most=MOST_PERCENT)
    inner = spread(
        100 * added / counted for added, (counted, _) in zip(added_s, pairs, strict=True)
    )
    return [
        Verdict(bar, share, "%", note)
        if lanes == BAR_LANES
        else Figure(bar.what, share, "%", note),
        Figure(
            f"{what}, cost",
            spread(added * 1e6 for added in added_s),
            "us",
            f"{counted_us:.2f} and {silent_us:.2f} us a request between the sockets, with and "
            f"without; {fed_s * 1e6:.2f} us a batch for clocks and calls",
        ),
        Figure(f"{what}, share of the path between the sockets", inner, "%"),
    ]
