import pytest

from bench import hops


@pytest.mark.slow
def test_a_hop_to_each_executor_takes_time() -> None:
    timings = hops.measure(trips=2)
    assert len(timings) == 2 * len(hops.BATCHES)
    assert len({one.what for one in timings}) == len(timings)
    assert all(one.call_s.median > 0 for one in timings)
