"""Outcomes: what was counted of requests and batches, as families of series."""

from gateway.observe.counts import ZERO, Counts
from gateway.supervise.outcomes import retries


def test_retries_are_counted_by_version_whatever_the_variant() -> None:
    totals = {
        ("m", "1", "direct"): Counts(retries=3),
        ("m", "1", "stable"): Counts(retries=4),
        ("m", "2", "direct"): ZERO,
    }
    samples = {tuple(one.labels.values()): one.value for one in retries(totals).samples}
    assert samples == {("m", "1"): 7, ("m", "2"): 0}
