"""Refusing takes a share of the loop's time, and no more."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pausing import Debt, Share

SHARE = Share(ratio=0.2, free_s=0.02, longest_s=1.0, weight=2.0)


def test_a_few_refusals_stop_nobody() -> None:
    debt = Debt()
    for number in range(100):
        debt = debt.after(0.0001, number * 0.0001, SHARE)
    assert debt.pause_s(0.01, SHARE) == 0.0


def test_when_refusing_takes_more_than_its_share_who_is_refused_waits_until_it_is_paid() -> None:
    debt = Debt().after(0.03, 0.0, SHARE)  # 60 ms, of which 20 are free
    pause_s = debt.pause_s(0.0, SHARE)
    assert abs(pause_s - 0.2) < 1e-9
    assert debt.pause_s(pause_s / 2, SHARE) > 0
    assert debt.pause_s(pause_s, SHARE) < 1e-9


def test_a_debt_is_paid_off_by_time_alone() -> None:
    debt = Debt().after(0.03, 0.0, SHARE)
    assert debt.after(0.0, 10.0, SHARE).owed_s == 0.0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=50))
def test_nobody_waits_longer_than_the_longest_pause(steps: list[tuple[float, float]]) -> None:
    debt, now = Debt(), 0.0
    for later_s, took_s in steps:
        now += later_s
        debt = debt.after(took_s, now, SHARE)
        assert 0.0 <= debt.pause_s(now, SHARE) <= SHARE.longest_s + 1e-9


@given(st.lists(st.floats(1e-6, 2e-3), min_size=1, max_size=200))
def test_a_client_that_keeps_its_pauses_costs_no_more_than_the_share(refusals: list[float]) -> None:
    """A law: over any stretch, what refusing took is the free time and the share at most."""
    debt, now, spent_s = Debt(), 0.0, 0.0
    for took_s in refusals:
        now += debt.pause_s(now, SHARE)
        debt = debt.after(took_s, now, SHARE)
        spent_s += took_s * SHARE.weight
        last_s = took_s * SHARE.weight
        assert spent_s <= SHARE.free_s + SHARE.ratio * now + last_s + 1e-9
