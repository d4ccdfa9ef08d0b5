"""Failures: what a batcher says when it cannot run a call, or when running it failed.

Never  lets the text of an error that nobody named reach a client: it goes to our log.
"""

import logging
from collections.abc import Iterable, Sequence
from copy import copy

from gateway.core.batching import MAX_SHAPE_CLASSES
from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    ModelFailed,
    Overloaded,
    Rejected,
    Shed,
    Stage,
)
from gateway.types import Call

_log = logging.getLogger(__name__)


def queue_full(call: Call, max_rows: int, retry_after_s: float) -> Overloaded:
    """Return the refusal of a call for whose rows there is no room."""
    return Overloaded(
        f"Exceeds maximum queue size of {max_rows} rows for {_named(call)}",
        retry_after_s=retry_after_s,
        shed="rows",
    )


def bytes_full(call: Call, max_bytes: int, retry_after_s: float) -> Overloaded:
    """Return the refusal of a call for whose body there is no room."""
    return Overloaded(
        f"Exceeds maximum queue size of {max_bytes} bytes for {_named(call)}",
        retry_after_s=retry_after_s,
        shed="bytes",
    )


def no_room(
    call: Call, has_rank: bool, retry_after_s: float, *, has_waited: bool = False
) -> Overloaded:
    """Return the refusal of a call under overload; `has_rank`: a higher priority had room."""
    what = f"{_named(call)} has more requests than it can answer in time"
    if has_waited:
        return Overloaded(
            f"{what}: this one has waited too long", retry_after_s=retry_after_s, shed="sojourn"
        )
    if has_rank:
        what += ": those of a higher priority go first"
    shed: Shed = "priority" if has_rank else "limit"
    return Overloaded(what, retry_after_s=retry_after_s, shed=shed)


def too_late(call: Call, now: float, answered_at: float) -> DeadlineExceeded:
    """Return the refusal of a call that could not be answered in time."""
    left_ms, takes_ms = max(0.0, call.deadline - now) * 1000, (answered_at - now) * 1000
    return DeadlineExceeded(
        f"Request timeout expired before it was queued: it leaves {left_ms:.0f} ms, and "
        f"{_named(call)} would take about {takes_ms:.0f} ms",
        "admission",
    )


def too_many_shapes() -> Overloaded:
    """Return the refusal of a call whose shapes are one class too many."""
    return Overloaded(
        f"Exceeds maximum queue size: requests of {MAX_SHAPE_CLASSES} other shapes wait already",
        shed="shapes",
    )


def _named(call: Call) -> str:
    return f"model '{call.arm.version.model}' version {call.arm.version.version}"


def expired(stage: Stage) -> DeadlineExceeded:
    """Return what a call hears whose deadline has passed."""
    where = "in the queue" if stage == "queue" else "during execution"
    return DeadlineExceeded(f"Request timeout expired {where}", stage)


def expire(calls: Sequence[Call]) -> None:
    """Fail what has waited in the queue for too long."""
    for call in calls:
        call.fail(expired("queue"))


def model_failure(error: Exception) -> GatewayError:
    """Return what a caller hears of a failed execution: an object of its own each time.

    Tracebacks are mutable, so callers share none. What an executor refused, or what came too
    late for it, is told as that.
    """
    if isinstance(error, Rejected | DeadlineExceeded):
        return copy(error)
    failure = ModelFailed("the model failed")
    if isinstance(error, ModelFailed):
        failure = ModelFailed(str(error))
    else:
        _log.error("an executor failed in a way we did not name", exc_info=error)
    failure.__cause__ = error
    return failure


def refuse(calls: Iterable[Call], error: Rejected) -> None:
    """Fail calls that were not run, each with an object of its own."""
    for call in calls:
        call.fail(copy(error))


def is_by_a_call(error: Exception) -> bool:
    """Say whether one call of a batch may be why all of it failed."""
    if isinstance(error, ModelFailed):
        return error.by_a_call
    return not isinstance(error, Rejected | DeadlineExceeded)


def log_listener(error: Exception) -> None:
    """Log that a call's listener raised: it may not, but its batchmates shall not know."""
    _log.error("a call's listener raised", exc_info=error)
