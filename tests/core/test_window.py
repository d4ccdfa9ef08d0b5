"""What came of the executions of the last seconds, and what is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.window import Window

SLOTS = 10
Added = tuple[float, bool, bool]  # how long after the one before, whether it failed, was slow


def sums(window: Window) -> tuple[int, int, int]:
    return window.calls, window.failures, window.slow


def test_what_is_added_is_counted() -> None:
    window = Window(SLOTS)
    window.add(100.0, is_failure=False, is_slow=False)
    window.add(100.5, is_failure=True, is_slow=False)
    window.add(101.5, is_failure=True, is_slow=True)
    assert sums(window) == (3, 2, 1)


def test_what_is_ten_seconds_old_is_forgotten() -> None:
    window = Window(SLOTS)
    window.add(100.9, is_failure=True, is_slow=True)
    window.add(101.0, is_failure=True, is_slow=False)
    window.turn(109.99)
    assert sums(window) == (2, 2, 1)
    window.turn(110.0)
    assert sums(window) == (1, 1, 0)
    window.turn(111.0)
    assert sums(window) == (0, 0, 0)


def test_a_clock_that_goes_back_forgets_nothing() -> None:
    window = Window(SLOTS)
    window.add(100.0, is_failure=True, is_slow=False)
    window.add(99.0, is_failure=True, is_slow=False)
    assert sums(window) == (2, 2, 0)


def test_a_clock_may_begin_anywhere() -> None:
    for now in (-1000.5, 0.0, 3.7, 1e9):
        window = Window(SLOTS)
        window.add(now, is_failure=True, is_slow=False)
        assert sums(window) == (1, 1, 0)


@given(st.lists(st.tuples(st.floats(0, 25), st.booleans(), st.booleans()), max_size=60))
def test_it_always_knows_the_last_nine_seconds_and_never_more_than_ten(added: list[Added]) -> None:
    window, now = Window(SLOTS), 1000.0
    seen: list[tuple[int, bool, bool]] = []
    for passed_s, is_failure, is_slow in added:
        now += passed_s
        window.add(now, is_failure, is_slow)
        seen.append((int(now), is_failure, is_slow))
        kept = [one for one in seen if one[0] > int(now) - SLOTS]
        expected = len(kept), sum(one[1] for one in kept), sum(one[2] for one in kept)
        assert sums(window) == expected
