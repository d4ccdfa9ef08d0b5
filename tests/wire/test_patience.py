"""Patience: each reason to end a connection has its time. The lane's own: test_lane.py."""

import asyncio

import pytest

from gateway.wire.patience import Patience, Verdict
from gateway.wire.port import Policy
from gateway.wire.reader import Stage
from tests.clock import play
from tests.wire.harness import monotonic

POLICY = Policy(
    header_timeout_s=10.0,
    body_timeout_s=30.0,
    write_timeout_s=20.0,
    keep_alive_s=75.0,
    linger_s=2.0,
)


class Watched:
    """A patience, what it said and when, in seconds from now."""

    def __init__(self) -> None:
        self.clock = monotonic()
        self.started = self.clock()
        self.said: list[tuple[float, Verdict]] = []
        self.is_busy = False
        self.unsent_bytes = 1000
        loop = asyncio.get_running_loop()
        self.patience = Patience(
            POLICY, loop, self.clock, lambda: self.is_busy, lambda: self.unsent_bytes, self.hear
        )
        self.patience.quiet_since = self.started
        self.patience.retire_at = self.started + 300.0
        self.patience.look_ahead()

    def hear(self, verdict: Verdict) -> None:
        self.said.append((round(self.clock() - self.started, 6), verdict))


def test_an_idle_connection_is_closed() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        await asyncio.sleep(1000.0)
        return watched.said

    assert play(scene) == [(75.0, Verdict.CLOSE)]


def test_each_answer_moves_the_end_on_until_full_age() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        for _ in range(20):
            await asyncio.sleep(20.0)
            watched.patience.quiet_since = watched.clock()
        return watched.said

    assert play(scene) == [(300.0, Verdict.CLOSE)]


def test_a_connection_that_is_retired_may_rest_as_long_as_any() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        await asyncio.sleep(10.0)
        watched.patience.quiet_since = watched.clock()
        watched.patience.retire()
        assert watched.patience.retire_at <= watched.clock()
        await asyncio.sleep(1000.0)
        return watched.said

    assert play(scene) == [(85.0, Verdict.CLOSE)]


@pytest.mark.parametrize(("stage", "within_s"), [(Stage.HEAD, 10.0), (Stage.BODY, 30.0)])
def test_a_head_and_a_body_are_late_after_their_time(stage: Stage, within_s: float) -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        await asyncio.sleep(5.0)
        assert watched.patience.begin(stage)
        assert not watched.patience.begin(stage)
        assert watched.patience.allowance_s(stage) == within_s
        await asyncio.sleep(1000.0)
        return watched.said

    assert play(scene) == [(5.0 + within_s, Verdict.LATE)]


def test_who_does_not_read_is_cut_off_whatever_else_is_going_on() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        watched.is_busy = True
        watched.patience.begin(Stage.BODY)
        watched.patience.stall()
        await asyncio.sleep(1000.0)
        return watched.said

    assert play(scene) == [(20.0, Verdict.ABORT)]


def test_who_reads_now_and_then_has_its_time_anew() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        watched.patience.stall()
        for _ in range(10):
            await asyncio.sleep(19.0)
            watched.unsent_bytes -= 1
        await asyncio.sleep(1000.0)
        return watched.said

    assert play(scene) == [(215.0, Verdict.ABORT)]  # what it read last was seen at 195


def test_more_to_send_is_no_reading() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        watched.patience.stall()
        for _ in range(10):
            await asyncio.sleep(4.0)
            watched.unsent_bytes += 1
        return watched.said

    assert play(scene) == [(20.0, Verdict.ABORT)]


def test_who_was_refused_is_cut_off_after_its_last_seconds() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        await asyncio.sleep(5.0)
        watched.patience.linger()
        await asyncio.sleep(1000.0)
        return watched.said

    assert play(scene) == [(7.0, Verdict.ABORT)]


def test_a_busy_connection_is_looked_at_again_soon_after_a_request_began() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        watched.is_busy = True
        watched.patience.begin(Stage.HEAD)
        await asyncio.sleep(12.0)
        watched.is_busy = False
        await asyncio.sleep(1000.0)
        return watched.said

    assert play(scene) == [(20.0, Verdict.LATE)]


def test_nothing_is_said_after_the_end() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        watched.patience.cancel()
        watched.patience.cancel()
        await asyncio.sleep(1000.0)
        return watched.said

    assert play(scene) == []


def test_an_earlier_end_replaces_the_timer_and_a_later_one_does_not() -> None:
    async def scene() -> list[tuple[float, Verdict]]:
        watched = Watched()
        watched.patience.begin(Stage.BODY)
        watched.patience.begin(Stage.HEAD)
        watched.patience.began = None
        watched.patience.look_ahead()
        await asyncio.sleep(1000.0)
        return watched.said

    assert play(scene) == [(75.0, Verdict.CLOSE)]
