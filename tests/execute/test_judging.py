"""What a status means: for callers, for the endpoint, and for another one."""

import pytest

from gateway.errors import DeadlineExceeded, ModelFailed, Overloaded
from gateway.execute.judging import Judgement, judge, retry_after_s, too_late, too_slow, unanswered
from gateway.execute.upstream import Reply, Unanswered


def judged(status: int, body: bytes = b"", **headers: str) -> Judgement:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(Reply(status, named, body))


def seen(one: Judgement) -> tuple[type[Exception], str, bool, bool]:
    return type(one.error), one.outcome, one.goes_elsewhere, one.has_no_room


@pytest.mark.parametrize("status", [301, 401, 403, 404, 499, 502, 505])
def test_any_other_status_is_a_failure_that_stays_here(status: int) -> None:
    one = judged(status)
    assert seen(one) == (ModelFailed, "failure", False, False)
    assert isinstance(one.error, ModelFailed)
    assert not one.error.by_a_call


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_a_call_may_have_caused_is_not_held_against_the_endpoint(status: int) -> None:
    one = judged(status, b'{"error": "too odd"}')
    assert seen(one) == (ModelFailed, "void", False, False)
    assert isinstance(one.error, ModelFailed)
    assert one.error.by_a_call
    assert str(one.error) == f"the remote server answered {status}: too odd"


def test_a_model_that_failed_is_both() -> None:
    one = judged(500)
    assert seen(one) == (ModelFailed, "failure", False, False)
    assert isinstance(one.error, ModelFailed)
    assert one.error.by_a_call


def test_who_has_no_room_is_not_blamed_and_is_not_asked_again() -> None:
    one = judged(429, retry_after="7")
    assert seen(one) == (Overloaded, "void", False, True)
    assert isinstance(one.error, Overloaded)
    assert (one.error.retry_after_s, one.error.shed) == (7.0, "limit")


def test_who_drains_is_not_blamed_and_its_neighbour_is_asked() -> None:
    one = judged(503, b'{"code": "draining"}', retry_after="1")
    assert seen(one) == (Overloaded, "void", True, True)


def test_a_503_is_a_failure_and_another_one_is_asked() -> None:
    assert seen(judged(503)) == (ModelFailed, "failure", True, False)


@pytest.mark.parametrize("headers", [{}, {"retry_after": "1"}])
def test_a_shed_is_never_taken_elsewhere(headers: dict[str, str]) -> None:
    assert not judged(503, b'{"code": "overloaded"}', **headers).goes_elsewhere


def test_too_late_by_its_clock_is_too_late_by_ours() -> None:
    one = judged(504)
    assert seen(one) == seen(too_late("failure")) == (DeadlineExceeded, "failure", False, False)
    assert isinstance(one.error, DeadlineExceeded)
    assert one.error.stage == "execute"


def test_whoever_takes_longer_than_anybody_may_has_failed() -> None:
    one = too_slow(2.5)
    assert seen(one) == (ModelFailed, "failure", False, False)
    assert "2.5 s" in str(one.error)


@pytest.mark.parametrize("is_unheard", [True, False])
def test_another_one_is_asked_where_no_answer_had_begun(is_unheard: bool) -> None:
    error = Unanswered("gone", is_unheard=is_unheard)
    assert unanswered(error) == Judgement(error, "failure", goes_elsewhere=is_unheard)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("3", 3.0),
        ("0", 0.0),
        ("86400", 60.0),
        ("9" * 400, 60.0),
        ("", 1.0),
        ("-1", 1.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
        ("٣", 1.0),
    ],
)
def test_a_pause_is_a_minute_at_most(said: str, expected: float) -> None:
    assert retry_after_s({"retry-after": said}) == expected


@pytest.mark.parametrize(
    ("status", "alone", "among_others"),
    [(500, "failure", "void"), (400, "void", "void"), (503, "failure", "failure"),
     (404, "failure", "failure"), (429, "void", "void"), (504, "failure", "failure")],
)  # fmt: skip
def test_while_a_call_may_be_at_fault_the_endpoint_is_not_blamed(
    status: int, alone: str, among_others: str
) -> None:
    one = judged(status)
    assert (one.told(1), one.told(2)) == (alone, among_others)


@pytest.mark.parametrize(("status", "is_told"), [(401, False), (500, False), (400, True)])
def test_what_a_server_says_of_itself_is_not_for_callers(status: int, is_told: bool) -> None:
    reply = Reply(status, {}, b'{"error": "key sesame is unknown"}')
    assert ("sesame" in str(judge(reply).error)) is is_told
    assert "sesame" in str(judge(reply, is_trusted=True).error)
