import asyncio
from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st

from bench.ticker import TICK_NS, Lateness, Stall, Ticker, at_one_moment, parse_waited_ns


def test_a_tick_in_time_is_no_stall() -> None:
    lateness = Lateness(0, 0)
    lateness.tick(TICK_NS, 0)
    assert lateness.take() == Stall(0.0, 0.0)


def test_the_longest_stall_is_kept_until_it_is_asked_for() -> None:
    lateness = Lateness(0, 0)
    for now in (5, 7, 9):  # 4 ms late, then 1, then 1
        lateness.tick(now * TICK_NS, 0)
    assert lateness.take() == Stall(0.004, 0.004)
    lateness.tick(12 * TICK_NS, 0)
    assert lateness.take() == Stall(0.002, 0.002)


def test_waiting_for_the_processor_is_the_machines_fault() -> None:
    lateness = Lateness(0, 100 * TICK_NS)
    lateness.tick(11 * TICK_NS, 108 * TICK_NS)
    assert lateness.take() == Stall(0.010, 0.002)


def test_who_waited_longer_than_the_stall_did_not_stall() -> None:
    lateness = Lateness(0, 0)
    lateness.tick(2 * TICK_NS, 2 * TICK_NS)
    assert lateness.take() == Stall(0.001, 0.0)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1))
def test_net_is_never_above_raw(steps: list[tuple[int, int]]) -> None:
    lateness, now, waited = Lateness(0, 0), 0, 0
    for elapsed, waiting in steps:
        now, waited = now + elapsed * TICK_NS, waited + waiting * TICK_NS
        lateness.tick(now, waited)
    raw_s, net_s = lateness.take()
    assert 0 <= net_s <= raw_s


def test_a_wait_between_two_looks_is_not_taken_for_a_stall() -> None:
    clock, waited = iter([10, 20, 30]), iter([0, 0])
    assert at_one_moment(lambda: next(clock), lambda: next(waited)) == (10, 0)
    waited = iter([0, 7, 7])
    assert at_one_moment(lambda: next(clock), lambda: next(waited)) == (30, 7)


def test_waiting_is_the_second_number() -> None:
    assert parse_waited_ns(b"33042663 2901133 33\n") == 2_901_133


def test_a_loop_that_is_held_is_seen_from_inside() -> None:
    async def scene() -> Stall:
        ticker = Ticker()
        until = perf_counter() + 0.02
        while perf_counter() < until:
            pass
        return ticker.take()

    assert asyncio.run(scene()).raw_s > 0.018
