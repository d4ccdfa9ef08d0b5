"""The one place where an error becomes an HTTP status.

Job    give any exception its status, its body of three members, or four, and its headers.
Never  lets the text of an error that we did not name reach a client.
"""

import math

import orjson

from gateway import errors

_CHALLENGE = 'Bearer realm="gateway"'


class Refused(errors.Rejected):
    """HTTP itself was misused: the request reaches no room behind the wire."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "malformed",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


STATUS: dict[type[errors.GatewayError], int] = {
    errors.Malformed: 400,
    errors.InvalidTensor: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.UnknownModel: 404,
    errors.UnknownVersion: 404,
    errors.CannotPrepare: 409,
    errors.InvalidDocument: 400,
    errors.RevisionConflict: 412,
    errors.TooLarge: 413,
    errors.PreconditionRequired: 428,
    errors.Overloaded: 429,
    errors.QuotaExceeded: 429,
    errors.ClientGone: 499,  # never sent: for the access line
    errors.GatewayError: 500,
    errors.ModelFailed: 500,
    errors.NotReady: 503,
    errors.BreakerOpen: 503,
    errors.Draining: 503,
    errors.DeadlineExceeded: 504,
}


# Of these there may come many, from callers who do nothing wrong or not known to us.
SHEDDING = frozenset((401, 403, 429, 503, 504))


def too_slow(what: str, within_s: float) -> Refused:
    """Return the refusal of a head or a body that takes too long."""
    sentence = f"the request's {what} did not arrive within {within_s} s"
    return Refused(408, sentence, code="request_timeout")


def waited_unread(budget_s: float, waited_s: float) -> errors.DeadlineExceeded:
    """Return what a request hears that nobody read in time, nor would now run."""
    sentence = (
        f"expected an answer within {budget_s * 1e3:g} ms, which this request may have waited to "
        f"be read: {waited_s * 1e3:.0f} ms"
    )
    return errors.DeadlineExceeded(sentence, stage="admission")


def too_large(got_bytes: int, max_bytes: int) -> errors.TooLarge:
    """Return the refusal of a body of which `got_bytes` are declared, or have come."""
    return errors.TooLarge(
        f"request JSON size of {got_bytes} bytes exceeds the maximum allowed input size "
        f"of {max_bytes} bytes (limits.max_body_bytes)"
    )


def status_of(error: Exception) -> int:
    """Return the HTTP status of any exception: 500 where we did not name it."""
    if isinstance(error, Refused):
        return error.status
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def describe(error: Exception, request_id: str) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    """Return (status, JSON body, further headers) for any exception."""
    status = status_of(error)
    if not isinstance(error, errors.GatewayError):
        error = errors.GatewayError("internal error")
    headers = error.headers if isinstance(error, Refused) else ()
    if status == 401:
        headers = (*headers, ("www-authenticate", _CHALLENGE))
    if status in (429, 503) and isinstance(error, errors.Rejected):
        headers = (*headers, ("retry-after", str(max(1, math.ceil(error.retry_after_s)))))
    told: dict[str, object] = {"error": str(error) or error.code, "code": error.code}
    told["request_id"] = request_id
    if isinstance(error, errors.InvalidDocument):
        told["faults"] = [
            {"path": _printable(path), "fault": _printable(what)} for path, what in error.faults
        ]
    elif isinstance(error, errors.RevisionConflict):
        told["current"] = error.current
        headers = (*headers, ("etag", f'"{error.current}"'))
    elif isinstance(error, errors.DeadlineExceeded) and error.stage is not None:
        told["stage"] = error.stage
    return status, orjson.dumps(told), headers


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
