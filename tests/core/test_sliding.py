"""Two counts over the last seconds: what was added stays for the span, and no longer."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sliding import Sliding

SPAN_S, BUCKETS = 10.0, 5
EVENTS = st.lists(
    st.tuples(st.floats(0, 8), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30
)


@given(EVENTS, st.floats(0, 30))
def test_it_counts_what_is_younger_than_the_span_and_forgets_what_is_older(
    events: list[tuple[float, int, int]], later_s: float
) -> None:
    sliding, now, added = Sliding.over(SPAN_S, BUCKETS), 100.0, list[tuple[float, int, int]]()
    for pause_s, first, second in events:
        now += pause_s
        sliding = sliding.plus(now, first, second)
        added.append((now, first, second))
    now += later_s
    young = [one for one in added if now - one[0] < SPAN_S - SPAN_S / BUCKETS]
    recent = [one for one in added if now - one[0] <= SPAN_S]
    for place in (1, 2):
        least, most = (sum(one[place] for one in some) for some in (young, recent))
        assert least <= sliding.totals(now)[place - 1] <= most


def test_a_clock_that_steps_back_loses_nothing() -> None:
    sliding = Sliding.over(SPAN_S, BUCKETS).plus(50.0, first=1).plus(49.0, first=1)
    assert sliding.totals(48.0) == (2, 0)


def test_it_holds_as_many_buckets_as_it_began_with() -> None:
    sliding = Sliding.over(SPAN_S, BUCKETS)
    for now in (1.0, 3.0, 1000.0, 1001.0):
        sliding = sliding.plus(now, 1, 1)
        assert len(sliding.buckets) == BUCKETS
    assert sliding.totals(1001.0) == (2, 2)
