"""Quotas: never more than burst + rate * t, never less for who keeps to it, and parts add up."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.quotas import WHOLE, Quota, ahead, apportion, blended, wait_s

GRAIN = 3e-3  # of a request: what is let pass too early, and the rounding of a large clock
rates = st.floats(0.01, 10_000)
bursts = st.integers(1, 1000).map(float)
quotas = st.builds(Quota, rates, bursts)
gaps = st.lists(st.floats(0, 5, allow_subnormal=False), max_size=80)
starts = st.sampled_from([0.0, 12.5, 1e6, 1e9])


@dataclass
class Member:
    """Who gives out a quota, or a part of it."""

    quota: Quota
    ahead: float = 0.0
    at: float = 0.0
    passed: list[float] = field(default_factory=list)

    def ask(self, now: float) -> float:
        """Return how long to wait; 0: it has passed."""
        self.settle(now)
        wait = wait_s(self.ahead, self.quota)
        if not wait:
            self.ahead += 1
            self.passed.append(now)
        return wait

    def settle(self, now: float) -> None:
        self.ahead, self.at = ahead(self.ahead, now - self.at, self.quota), now

    def change(self, now: float, quota: Quota) -> None:
        self.settle(now)
        self.quota = quota


def check_windows(passed: Sequence[float], quota: Quota, more: float = 0.0) -> None:
    """No window, open or closed, has more than burst + rate * t."""
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            t_s = passed[last] - start
            assert last - first + 1 <= quota.burst + quota.rate_per_s * t_s + more + GRAIN


@given(quotas, starts, gaps)
def test_no_window_has_more_than_the_burst_and_the_rate(
    quota: Quota, now: float, waits: list[float]
) -> None:
    member = Member(quota)
    for wait in waits:
        now += wait * quota.burst / quota.rate_per_s / 10  # about as close as it matters
        member.ask(now)
    check_windows(member.passed, quota)


@given(quotas, starts, st.lists(st.floats(0, 3), max_size=80))
def test_who_keeps_to_the_rate_is_never_refused(
    quota: Quota, now: float, slack: list[float]
) -> None:
    """A whole burst at first, then one each time that the rate allows it, or later."""
    member = Member(quota)
    for _ in range(int(quota.burst)):
        assert member.ask(now) == 0
    for ratio in slack:
        now += (1 + ratio) / quota.rate_per_s
        assert member.ask(now) == 0


@given(quotas, starts, gaps)
def test_who_comes_back_when_he_is_told_is_let_in_and_no_sooner(
    quota: Quota, now: float, waits: list[float]
) -> None:
    member = Member(quota)
    for gap in waits:
        now += gap / quota.rate_per_s / 10
        wait = member.ask(now)
        if wait:
            assert wait <= (1 + GRAIN) / quota.rate_per_s
            sooner = ahead(member.ahead, wait * 0.99, quota)
            assert wait_s(sooner, quota) > 0 or wait * quota.rate_per_s < 0.2
            assert wait_s(ahead(member.ahead, wait, quota), quota) == 0


@pytest.mark.parametrize(
    ("quota", "expected"),
    [(Quota(10, 1), [0.1, 0.1]), (Quota(10, 3), [0, 0, 0.1]), (Quota(0.5, 2), [0, 2.0, 2.0])],
)
def test_after_a_burst_the_wait_is_what_the_rate_says(quota: Quota, expected: list[float]) -> None:
    member = Member(quota)
    assert member.ask(7.0) == 0
    assert [member.ask(7.0) for _ in expected] == pytest.approx(expected)


def test_a_long_rest_saves_no_more_than_a_burst() -> None:
    member = Member(Quota(100, 5))
    member.ask(0)
    assert [bool(member.ask(1e6)) for _ in range(7)] == [False] * 5 + [True] * 2


# parts

demands = st.lists(st.integers(0, 50 * WHOLE), min_size=1, max_size=40)


@given(demands)
def test_the_parts_are_the_whole_and_each_member_has_some(asked: list[int]) -> None:
    parts = apportion(asked)
    assert sum(parts) == WHOLE
    assert len(parts) == len(asked)
    assert min(parts) * len(asked) >= WHOLE * 0.05 / 1.06  # the reserve, however others push


@given(demands)
def test_where_there_is_enough_every_member_has_what_it_is_asked_for(asked: list[int]) -> None:
    fits = [demand * 95 // 100 * WHOLE // max(WHOLE, sum(asked)) for demand in asked]
    for demand, part in zip(fits, apportion(fits), strict=True):
        assert part >= demand - 1


@given(demands, st.data())
def test_who_is_asked_for_more_gives_out_no_less(asked: list[int], data: st.DataObject) -> None:
    parts = apportion(asked)
    one = data.draw(st.integers(0, len(asked) - 1))
    other = data.draw(st.integers(0, len(asked) - 1))
    if asked[one] > asked[other]:
        assert parts[one] >= parts[other] - 1


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], []),
        ([0], [WHOLE]),
        ([7 * WHOLE], [WHOLE]),
        ([0, 0, 0], [333_334, 333_333, 333_333]),
        ([300_000, 100_000], [600_000, 400_000]),  # the spare 600,000, evenly
        ([WHOLE, 0], [975_610, 24_390]),
        ([9 * WHOLE, 3 * WHOLE], [750_000, 250_000]),
        ([-5, 0], [500_000, 500_000]),
    ],
)
def test_parts_by_example(asked: list[int], expected: list[int]) -> None:
    assert list(apportion(asked)) == expected


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12), quotas)
def test_under_a_steady_load_the_parts_settle_within_seconds(
    counts: list[int], quota: Quota
) -> None:
    """From any start: half of what was wrong is gone each second."""
    seen = [WHOLE if at % 2 else 0 for at in range(len(counts))]
    told = []
    for _ in range(40):
        seen = [
            blended(before, count, 1.0, quota) for before, count in zip(seen, counts, strict=True)
        ]
        told.append(apportion(seen))
    exact = apportion([round(WHOLE * count / quota.rate_per_s) for count in counts])
    assert told[-1] == told[-2]
    for settled, right in zip(told[-1], exact, strict=True):
        assert abs(settled - right) <= 2 + right // 1000


@given(
    st.builds(Quota, st.floats(1, 1000), st.integers(1, 100).map(float)),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 5), st.floats(0, 3), st.booleans()), max_size=120),
)
def test_members_together_pass_no_more_than_the_quota_and_one_each(
    quota: Quota, count: int, steps: list[tuple[int, float, bool]]
) -> None:
    """Whoever asks whom, and however often the parts change meanwhile."""
    members = [Member(quota.part(part)) for part in apportion([0] * count)]
    now, asked = 100.0, [0] * count
    for at, gap, does_change in steps:
        now += gap / quota.rate_per_s
        member = at % count
        members[member].ask(now)
        asked[member] += 1
        if does_change:
            parts = apportion([one * WHOLE // 3 for one in asked])
            for one, part in zip(members, parts, strict=True):
                one.change(now, quota.part(part))
    passed = sorted(time for one in members for time in one.passed)
    check_windows(passed, quota, more=count)


def test_another_part_gives_nobody_a_request() -> None:
    member = Member(Quota(10, 4))
    for _ in range(4):
        member.ask(1.0)
    member.change(1.1, Quota(1000, 1))  # three ahead by now, and of one that may be
    assert member.ahead == pytest.approx(3)
    assert member.ask(1.1) == pytest.approx(0.003)


@given(quotas, st.integers(0, WHOLE))
def test_one_request_at_a_time_passes_at_every_member(quota: Quota, millionths: int) -> None:
    part = quota.part(millionths)
    assert part.burst >= 1
    assert part.rate_per_s > 0
    assert wait_s(0.0, part) == 0
