import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.arrivals import constant, offsets, poisson
from bench.plans import Plan, StreamPlan

RATES = st.floats(1, 5000)
SECONDS = st.floats(0.01, 2)


@given(RATES, SECONDS)
def test_constant_arrivals_have_equal_gaps(rate: float, seconds: float) -> None:
    times = constant(rate, seconds)
    assert len(times) == round(rate * seconds)
    assert np.allclose(np.diff(times), 1 / rate)


@given(RATES, SECONDS, st.integers(0, 2**32))
def test_poisson_arrivals_are_ordered_and_inside(rate: float, seconds: float, seed: int) -> None:
    times = poisson(rate, seconds, seed)
    assert np.all(np.diff(times) >= 0)
    assert np.all((times >= 0) & (times < seconds))


def test_a_seed_decides_all_times() -> None:
    assert np.array_equal(poisson(1000, 1, 7), poisson(1000, 1, 7))
    assert not np.array_equal(poisson(1000, 1, 7), poisson(1000, 1, 8))


def test_poisson_gaps_are_as_wide_as_they_vary() -> None:
    gaps = np.diff(poisson(1000, 100, 1))
    assert gaps.mean() == pytest.approx(1e-3, rel=0.02)
    assert gaps.std() == pytest.approx(1e-3, rel=0.02)


def test_a_stream_is_due_as_its_plan_says_from_the_warm_up_on() -> None:
    plan = Plan(1, 1.0, 2.0, ())
    steady = StreamPlan("steady", "/", None, 1, 4.0, "constant")
    assert offsets(steady, plan) == list(constant(4.0, 3.0))
    chancy = StreamPlan("chancy", "/", None, 1, 4.0, "poisson", 5)
    assert offsets(chancy, plan) == list(poisson(4.0, 3.0, 5))


def test_a_closed_loop_is_never_due() -> None:
    assert offsets(StreamPlan("busy", "/", None, 1, None), Plan(1, 1.0, 2.0, ())) is None
