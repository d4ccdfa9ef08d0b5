"""Retries are paid from a budget: in no ten seconds more than a tenth, and three."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.retrying import RATIO, SPARE, Budget, backoff_s

SPAN_S = 10.0


def outage(requests: int, every_s: float) -> tuple[int, list[float]]:
    """Ask so often, each of which fails; return how many retries were paid, and when."""
    budget, now, paid = Budget(), 1000.0, list[float]()
    for _ in range(requests):
        now += every_s
        budget = budget.asked(now)
        if (after := budget.retried(now)) is not None:
            budget = after
            paid.append(now)
    return len(paid), paid


@given(st.integers(1, 400), st.floats(0.0, 0.5))
def test_where_everything_fails_a_tenth_is_asked_again_and_three_each_span(
    requests: int, every_s: float
) -> None:
    paid, _ = outage(requests, every_s)
    spans = 1 + requests * every_s / (SPAN_S - 1.0)
    assert paid <= RATIO * requests + SPARE * spans


def test_a_total_outage_makes_eleven_requests_of_ten() -> None:
    paid, _ = outage(2000, 0.001)
    assert 200 <= paid <= 200 + SPARE


@given(st.lists(st.tuples(st.sampled_from("ar"), st.floats(0, 2)), max_size=80))
def test_no_ten_seconds_see_more_retries_than_the_budget_of_its_requests(
    events: list[tuple[str, float]],
) -> None:
    budget, now = Budget(), 0.0
    asked, retried = list[float](), list[float]()
    for kind, pause_s in events:
        now += pause_s
        if kind == "a":
            budget = budget.asked(now)
            asked.append(now)
        elif (after := budget.retried(now)) is not None:
            budget = after
            retried.append(now)
            # buckets of a second: of the oldest second some is forgotten already
            recent = sum(now - at < SPAN_S - 1.0 for at in retried)
            assert recent <= RATIO * sum(now - at <= SPAN_S for at in asked) + SPARE


def test_who_is_seldom_asked_may_retry_too() -> None:
    budget = Budget().asked(5.0)
    for _ in range(SPARE):
        after = budget.retried(5.0)
        assert after is not None
        budget = after
    assert budget.retried(5.0) is None
    assert budget.retried(5.0 + SPAN_S) is not None


@given(st.integers(0, 20), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_any_share_of_its_ceiling(attempt: int, roll: float) -> None:
    assert 0.0 <= backoff_s(attempt, roll) <= min(0.25, 0.025 * 2**attempt)
    assert backoff_s(attempt, 0.5) == 0.5 * min(0.25, 0.025 * 2**attempt)
