import pytest

from bench.replicas import compare
from bench.wrk import Window


def window(requests: int, cpu_s: float, p99_s: float) -> Window:
    return Window(requests, 1.0, 0.001, p99_s, cpu_s, 0.6)


PAIRS = [
    (window(60_000, 1.2, 0.004), window(50_000, 0.75, 0.002)),
    (window(30_000, 0.6, 0.008), window(25_000, 0.375, 0.004)),  # a machine half as fast
]


def test_a_second_replica_is_told_by_its_gain_its_cost_and_its_tail() -> None:
    seen = {one.what: one.seen.median for one in compare(PAIRS)}
    assert seen["two replicas / one, requests/s"] == pytest.approx(1.2)
    assert seen["two replicas / one, p99"] == pytest.approx(2.0)
    cost = "CPU a request, supervisor included"
    assert seen[f"two replicas / one, {cost}"] == pytest.approx(20 / 15)
    assert seen[f"one replica, {cost}"] == pytest.approx(15.0)
    assert seen[f"two replicas, {cost}"] == pytest.approx(20.0)


def test_it_is_said_that_the_generator_shares_the_processors() -> None:
    assert all("share all processors" in one.note for one in compare(PAIRS) if "/" in one.what[:20])
