"""Meters: who has had his share hears when to come again, and it is counted."""

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from gateway.core.quotas import WHOLE, Quota
from gateway.errors import QuotaExceeded
from gateway.observe.counts import read_quota
from gateway.observe.record import Record
from gateway.wire.meters import Meter, Meters, quotas_of
from tests.fakes import a_row


class Counting:
    """A meter, and the row where it counts."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.row = a_row()
        self.meter = Meter(Quota(rate_per_s, burst), Record(self.row))

    def ask(self, now: float, times: int = 1) -> list[float]:
        """Return how long each has to wait; 0: it has passed."""
        return [self.wait_s(now) for _ in range(times)]

    def wait_s(self, now: float) -> float:
        try:
            self.meter.take(now)
        except QuotaExceeded as error:
            return error.retry_after_s
        return 0.0


def test_a_burst_passes_and_then_the_rate() -> None:
    counting = Counting(10, 3)
    assert counting.ask(100.0, 5) == pytest.approx([0, 0, 0, 0.1, 0.1])
    assert counting.ask(100.05) == pytest.approx([0.05])
    assert counting.ask(100.1, 2) == pytest.approx([0, 0.1])
    assert counting.ask(101.0, 4) == pytest.approx([0, 0, 0, 0.1])


def test_who_has_had_his_share_hears_what_it_is() -> None:
    meter = Counting(2.5, 1).meter
    meter.take(1.0)
    with pytest.raises(QuotaExceeded) as caught:
        meter.take(1.0)
    assert str(caught.value) == (
        "the key's quota: expected at most 2.5 requests a second, 1 at once (auth.quotas)"
    )
    assert caught.value.retry_after_s == pytest.approx(0.4)
    assert caught.value.shed == "quota"


def test_a_part_is_given_out_and_counted_at_its_place() -> None:
    counting = Counting(100, 20)
    counting.ask(5.0, 2)  # nobody has said yet where to count
    counting.meter.share(7, WHOLE // 10, 6.0)
    assert counting.ask(6.0, 4) == pytest.approx([0, 0, 0.1, 0.1])
    assert read_quota(counting.row, 7) == (4, 2)
    assert read_quota(counting.row, 0) == (0, 0)


def test_another_part_takes_nothing_back_and_gives_nothing() -> None:
    counting = Counting(100, 10)
    counting.ask(5.0, 10)
    counting.meter.share(0, WHOLE // 2, 5.0)
    assert counting.ask(5.0) == pytest.approx([0.12])  # ten ahead, of five that may be
    counting.meter.share(0, WHOLE, 5.0)
    assert counting.ask(5.0) == pytest.approx([0.01])


@pytest.mark.parametrize(
    ("rate_per_s", "expected_s"),
    [
        (100.0, 3.0),  # a part of a thousandth would have a request every ten seconds
        (0.1, 10.0),  # the whole quota has one every ten: sooner is no use
    ],
)
def test_a_small_part_sends_nobody_away_for_longer_than_another_takes_to_come(
    rate_per_s: float, expected_s: float
) -> None:
    counting = Counting(rate_per_s, 1)
    counting.meter.share(0, WHOLE // 1000, 5.0)
    assert counting.ask(5.0, 2) == [0.0, pytest.approx(expected_s)]


@given(
    rate_per_s=floats(0.01, 1000),
    burst=floats(1, 100),
    millionths=integers(1, WHOLE),
    asks=integers(1, 120),
)
def test_who_is_refused_comes_again_when_he_passes_or_may_by_another_part(
    rate_per_s: float, burst: float, millionths: int, asks: int
) -> None:
    counting = Counting(rate_per_s, burst)
    counting.ask(5.0, asks)  # ahead by the whole, of which a part is left
    counting.meter.share(0, millionths, 5.0)
    wait_s = counting.wait_s(5.0)
    assert 0 <= wait_s <= max(3.0, 1 / rate_per_s)
    if 0 < wait_s < max(3.0, 1 / rate_per_s):
        assert counting.wait_s(5.0 + wait_s) == 0


def test_quotas_are_told_as_texts() -> None:
    assert quotas_of(["a:10:5", "b.c-d:0.5:1"]) == {"a": Quota(10, 5), "b.c-d": Quota(0.5, 1)}


def test_names_that_have_no_quota_have_no_meter_and_their_parts_are_nobodys() -> None:
    meters = Meters(["a:10:1"], Record(a_row()), clock=lambda: 3.0)
    assert meters.find("b") is None
    meter = meters.find("a")
    assert meter is not None
    meters.share({"b": (0, WHOLE), "a": (1, WHOLE // 2)})
    meter.take(3.0)
    with pytest.raises(QuotaExceeded) as caught:
        meter.take(3.0)
    assert caught.value.retry_after_s == pytest.approx(0.2)
