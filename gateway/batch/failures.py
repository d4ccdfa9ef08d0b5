"""Failures: what a batcher says when it cannot run a call, or when running it failed.

Never  lets the text of an error that nobody named reach a client: it goes to our log.
"""

import logging
from copy import copy

from gateway.core.batching import MAX_SHAPE_CLASSES, Policy
from gateway.errors import DeadlineExceeded, GatewayError, ModelFailed, Overloaded, Rejected
from gateway.types import Call

_log = logging.getLogger(__name__)


def queue_full(call: Call, policy: Policy) -> Overloaded:
    """Return the refusal of a call for which there is no room."""
    return Overloaded(
        f"Exceeds maximum queue size of {policy.max_waiting_rows} rows for model "
        f"'{call.arm.version.model}' version {call.arm.version.version}",
        shed="rows",
    )


def too_many_shapes() -> Overloaded:
    """Return the refusal of a call whose shapes are one class too many."""
    return Overloaded(
        f"Exceeds maximum queue size: requests of {MAX_SHAPE_CLASSES} other shapes wait already",
        shed="shapes",
    )


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


def is_by_a_call(error: Exception) -> bool:
    """Say whether one call of a batch may be why all of it failed."""
    if isinstance(error, ModelFailed):
        return error.by_a_call
    return not isinstance(error, Rejected | DeadlineExceeded)


def log_listener(error: Exception) -> None:
    """Log that a call's listener raised: it may not, but its batchmates shall not know."""
    _log.error("a call's listener raised", exc_info=error)
