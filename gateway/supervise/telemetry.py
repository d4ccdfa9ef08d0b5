"""Telemetry: all counters of this host, as whoever judges versions reads them.

Job    put the ledger into one JSON-able document.
Life   pure; one document a request.
Never  takes differences: whoever asks twice does, within one epoch.

    {"epoch", "monotonic_ns", "wall_ns", "connections", "moved_total",
     "bounds_s":  [upper bounds of all buckets but the last, which has none],
     "refusals":  {"outcomes": {...}, "request": [...]},
     "keys":      [{"model", "version", "digest", "arm", "revision", "executing",
                    "last_inference_ms", "counters": {...}, "outcomes": {...},
                    "breakers": {"openings", "states": {executor: number, the worst}},
                    "shadow": {"shadowed": {...}, "disagreements": [rows, by output]},
                    "histograms": {"request": [...], "queue": [...], "execution": [...]},
                    "sizes": [{"rows", "executions", "input_ns", "infer_ns", "output_ns"}]}]}

Everything below `counters`, `outcomes`, `shadow`, `histograms` and `sizes` only ever grows, and so
do `openings`; buckets are not cumulative. Another epoch means another supervisor: everything
began at zero.
A key without a digest sums what was retired long ago, and grows when more of that falls
into it: it belongs to sums, not to differences. A key that was seen and is missing has
fallen into one.
"""

from gateway.observe.counts import Counts
from gateway.observe.layout import BUCKETS_S, OUTCOME_NAMES, SHADOW_NAMES, SHED_NAMES
from gateway.supervise.ledger import Image, RowKey

Document = dict[str, object]

_COUNTERS = (
    *("success_ns", "fail_ns", "queue_ns", "input_ns", "infer_ns", "output_ns"),
    *("execution_ns", "executions", "inferences", "shed_rows", "fallbacks", "retries"),
)


def telemetry(image: Image, monotonic_ns: int, wall_ns: int) -> Document:
    """Return all counts at one instant, and when that was. For any thread.

    Units: nanoseconds, as the clocks said them; `wall_ns` since 1970.
    """
    return {
        "epoch": image.epoch,
        "monotonic_ns": monotonic_ns,
        "wall_ns": wall_ns,
        "connections": image.connections,
        "moved_total": image.moved,
        "bounds_s": list(BUCKETS_S),
        "refusals": {
            "outcomes": _outcomes(image.refusals),
            "request": list(image.refusals.request),
            "shed": _shed(image.refusals),
        },
        "keys": [_key(key, counts) for key, counts in image.counts().items()],
    }


def _key(key: RowKey, counts: Counts) -> Document:
    return {
        "model": key.model,
        "version": key.version,
        "digest": key.digest,
        "arm": key.arm,
        "revision": key.revision,
        "executing": counts.executing,
        "last_inference_ms": counts.last_inference_ms,
        "counters": {name: getattr(counts, name) for name in _COUNTERS},
        "outcomes": _outcomes(counts),
        "shed": _shed(counts),
        "breakers": {"openings": counts.openings, "states": counts.breakers},
        "shadow": {
            "shadowed": dict(zip(SHADOW_NAMES, counts.shadowed, strict=True)),
            "disagreements": list(counts.disagreements),
        },
        "histograms": {
            "request": list(counts.request),
            "queue": list(counts.queue),
            "execution": list(counts.execution),
        },
        "sizes": [
            {
                "rows": rows,
                "executions": executions,
                "input_ns": input_ns,
                "infer_ns": infer_ns,
                "output_ns": output_ns,
            }
            for rows, (executions, input_ns, infer_ns, output_ns) in sorted(counts.sizes.items())
        ],
    }


def _shed(counts: Counts) -> dict[str, int]:
    return dict(zip(SHED_NAMES, counts.shed, strict=True))


def _outcomes(counts: Counts) -> dict[str, int]:
    return dict(zip(OUTCOME_NAMES, counts.outcomes, strict=True))
