"""Judging: what it means that a remote server did not answer with outputs.

Job    say what callers are told, what is held against the endpoint, and whether another one
       may be asked.
Life   pure functions.
Never  blames a call unless it may be at fault, or an endpoint for having no room.

    429                             no room: refused, and the throttle hears it
    503 with a Retry-After          the same; it drains, or loads: its neighbours may have room,
                                    unless it says `overloaded`
    503                             a failure; another one may be asked
    no connection, or one that is closed before an answer has begun      the same
    504                             too late, by its clock as by ours
    400, 413, 422                   perhaps one call's fault: the batcher looks for it
    500                             the same, and a failure where the call was alone
    an answer that is none, or is cut off, and any other status         a failure
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import DeadlineExceeded, GatewayError, ModelFailed, Overloaded
from gateway.execute.upstream import Outcome, Reply, Unanswered
from gateway.execute.v2 import error_of

_OF_A_CALL = frozenset((400, 413, 422))
_BY_A_CALL = frozenset((400, 413, 422, 500))
_LONGEST_RETRY_AFTER_S = 60.0
_NO_ROOM = "the remote server has no room"
_RETRY_AFTER_S = 1.0  # where it says none, or a date


@dataclass(frozen=True, slots=True)
class Judgement:
    """`goes_elsewhere`: another endpoint may be asked, and should be for `pause_s`. `has_no_room`:
    this one is to be asked less often.
    """

    error: GatewayError
    outcome: Outcome
    goes_elsewhere: bool = False
    has_no_room: bool = False
    pause_s: float = 2.0

    def told(self, calls: int) -> Outcome:
        """Return what it tells of the endpoint: nothing, while one of several calls may be at
        fault. They will be asked about again, fewer and fewer.
        """
        error = self.error
        is_open = calls > 1 and isinstance(error, ModelFailed) and error.by_a_call
        return "void" if is_open else self.outcome


def judge(reply: Reply, *, is_trusted: bool = False) -> Judgement:
    """Judge an answer whose status is not 200.

    What a server says of itself, or of what we showed it, is not for callers; `is_trusted` is
    whoever hears it otherwise.
    """
    status = reply.status
    code, sentence = error_of(reply.body)
    goes_elsewhere = status == 503 and code != Overloaded.code
    if status == 429 or (status == 503 and "retry-after" in reply.headers):
        pause_s = retry_after_s(reply.headers)
        refusal = Overloaded(_NO_ROOM, retry_after_s=pause_s, shed="limit")
        return Judgement(refusal, "void", goes_elsewhere, has_no_room=True, pause_s=pause_s)
    if status == 504:
        return too_late("failure")
    what = f"the remote server answered {status}"
    if sentence and (is_trusted or status in _OF_A_CALL):
        what += f": {sentence}"
    failure = ModelFailed(what, by_a_call=status in _BY_A_CALL)
    is_void = status in _BY_A_CALL and status != 500
    return Judgement(failure, "void" if is_void else "failure", goes_elsewhere)


def unanswered(error: Unanswered) -> Judgement:
    """Judge that there is no whole answer."""
    return Judgement(error, "failure", goes_elsewhere=error.is_unheard)


def too_late(outcome: Outcome) -> Judgement:
    """Judge that no answer came within the deadline of the calls."""
    return Judgement(DeadlineExceeded("Request timeout expired in execution", "execute"), outcome)


def too_slow(timeout_s: float) -> Judgement:
    """Judge that no answer came within what is given to any."""
    what = f"the remote server did not answer within {timeout_s:g} s"
    return Judgement(ModelFailed(what, by_a_call=False), "failure")


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return how long a server wants to be left alone, a minute at most."""
    said = headers.get("retry-after", "")
    if not (said.isascii() and said.isdigit()):
        return _RETRY_AFTER_S
    return min(float(said[:20]), _LONGEST_RETRY_AFTER_S)
