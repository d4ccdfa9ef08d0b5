"""Statistics: what the V2 protocol tells of the versions that are served.

Job    turn counts into the protocol's document.
Life   pure functions.
Never  measures anything; lists a version that nobody gave it.

These hold for every version, whatever was being written while its counts were read:

    inference_count = sum of batch_size * compute_infer.count over batch_stats
    execution_count = sum of compute_infer.count over batch_stats
    compute_infer.count = success.count - cache_hit.count
"""

from collections.abc import Iterable

from gateway.observe.counts import ZERO, Counts, plus
from gateway.observe.layout import FAILED_OUTCOMES, OUTCOME_NAMES

_SUCCESS = OUTCOME_NAMES.index("success")
_FAILED = tuple(OUTCOME_NAMES.index(name) for name in FAILED_OUTCOMES)

Statistic = dict[str, object]


def statistics(counted: Iterable[tuple[str, str, Counts]]) -> Statistic:
    """Return the document for (model, version, counts), summed by model and version.

    Versions stand in the order of their first sight. Source: the protocol, chapter 10.
    """
    totals: dict[tuple[str, str], Counts] = {}
    for model, version, counts in counted:
        totals[model, version] = plus(totals.get((model, version), ZERO), counts)
    rows = [_version(model, version, counts) for (model, version), counts in totals.items()]
    return {"model_stats": rows}


def _version(model: str, version: str, counts: Counts) -> Statistic:
    sizes = sorted(counts.sizes.items())
    return {
        "name": model,
        "version": version,
        "last_inference": counts.last_inference_ms,
        "inference_count": sum(rows * size[0] for rows, size in sizes),
        "execution_count": sum(size[0] for _, size in sizes),
        "inference_stats": _requests(counts),
        "response_stats": {},
        "memory_usage": [],
        "batch_stats": [_batch_size(rows, size) for rows, size in sizes],
    }


def _requests(counts: Counts) -> Statistic:
    succeeded = counts.outcomes[_SUCCESS]
    failed = sum(counts.outcomes[outcome] for outcome in _FAILED)
    return {
        "success": _duration(succeeded, counts.success_ns),
        "fail": _duration(failed, counts.fail_ns),
        "queue": _duration(succeeded, counts.queue_ns),
        "compute_input": _duration(succeeded, counts.input_ns),
        "compute_infer": _duration(succeeded, counts.infer_ns),
        "compute_output": _duration(succeeded, counts.output_ns),
        "cache_hit": _duration(0, 0),  # nothing is answered without an execution
        "cache_miss": _duration(0, 0),
    }


def _batch_size(rows: int, size: tuple[int, int, int, int]) -> Statistic:
    executions, input_ns, infer_ns, output_ns = size
    return {
        "batch_size": rows,
        "compute_input": _duration(executions, input_ns),
        "compute_infer": _duration(executions, infer_ns),
        "compute_output": _duration(executions, output_ns),
    }


def _duration(count: int, ns: int) -> Statistic:
    return {"count": count, "ns": ns}
