"""Returning: when memory is given back, in virtual time; see test_allocator.py for what is."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from gateway.app.returning import Returning, give_back
from tests.clock import play

EVERY_S = 30.0
MB = 1_000_000
FULL = 500 * MB


class Machine:
    """A loader's thread, and what is resident: 100 MB when all was given back."""

    def __init__(self, takes_s: float = 0.0, error: Exception | None = None) -> None:
        self.bytes = 100 * MB
        self.asked_at: list[float] = []
        self.cancelled = 0
        self._takes_s = takes_s
        self._error = error

    def resident(self) -> int:
        return self.bytes

    async def run(self, job: Callable[[], None]) -> None:
        assert job is give_back
        self.asked_at.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(self._takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error is not None:
            raise self._error
        self.bytes = 100 * MB

    def fill(self) -> None:
        self.bytes = FULL


def asked_at(
    machine: Machine,
    *acts: tuple[float, Callable[[Machine, Returning], None]],
    lasts_s: float = 200.0,
) -> list[float]:
    """When memory is given back while this happens at these times."""

    async def scene() -> list[float]:
        async with Returning(machine.run, EVERY_S, machine.resident) as returning:
            loop = asyncio.get_running_loop()
            for at_s, act in acts:
                loop.call_at(at_s, act, machine, returning)
            await asyncio.sleep(lasts_s)
        return machine.asked_at

    return play(scene)


def peak(machine: Machine, _: Returning) -> None:
    """A burst of traffic leaves memory."""
    machine.fill()


def change(machine: Machine, returning: Returning) -> None:
    """A version comes or goes, and leaves memory."""
    machine.fill()
    returning.changed()


def test_where_there_is_little_to_give_nothing_is_given_back() -> None:
    def grow(machine: Machine, returning: Returning) -> None:
        machine.bytes += 20 * MB
        returning.changed()

    assert asked_at(Machine(), (1.0, grow)) == []
    assert asked_at(Machine(), (1.0, grow), (2.0, grow)) == [60.0]  # both together are enough


def test_what_traffic_leaves_is_given_back_at_the_next_look_and_once() -> None:
    assert asked_at(Machine(), (1.0, peak)) == [30.0]
    assert asked_at(Machine(), (1.0, peak), (70.0, peak)) == [30.0, 90.0]


def test_what_versions_leave_is_kept_while_others_come_and_go() -> None:
    assert asked_at(Machine(), (1.0, change)) == [60.0]
    assert asked_at(Machine(), (1.0, change), (31.0, change), (61.0, change)) == [120.0]


def test_what_is_in_use_is_not_looked_for_again_and_again() -> None:
    class Used(Machine):
        async def run(self, job: Callable[[], None]) -> None:
            await super().run(job)
            self.fill()  # nothing of it was free

    assert asked_at(Used(), (1.0, peak)) == [30.0]


def test_nothing_is_given_back_during_a_load_however_long_it_takes() -> None:
    def load(machine: Machine, returning: Returning) -> None:
        loading = returning.loading()
        loading.__enter__()
        machine.fill()
        asyncio.get_running_loop().call_later(100.0, loading.__exit__, None, None, None)

    assert asked_at(Machine(), (1.0, load)) == [150.0]


def test_who_is_still_giving_back_is_not_asked_again() -> None:
    assert asked_at(Machine(takes_s=70.0), (1.0, peak), lasts_s=119.0) == [30.0]


def test_a_failure_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert asked_at(Machine(error=OSError("no")), (1.0, peak), lasts_s=70.0) == [30.0, 60.0]
    assert "memory could not be given back" in caplog.text


def test_the_end_waits_for_no_look_and_cuts_off_what_is_under_way() -> None:
    assert asked_at(Machine(), (1.0, peak), lasts_s=20.0) == []
    late = Machine(takes_s=1000.0)
    assert asked_at(late, (1.0, peak), lasts_s=40.0) == [30.0]
    assert late.cancelled == 1
