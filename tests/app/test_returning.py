"""Returning: in virtual time when it is done; in a process of its own what it does."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from gateway.app.returning import Returning, give_back
from gateway.supervise.allocator import ALLOCATOR
from tests.clock import play

WATCHDOG_S = 60.0
AFTER_S = 30.0
MIB = 1 << 20
# Pieces as large as weights are, between small ones that stay.
LEAVINGS = f"""
import json
from pathlib import Path
from gateway.app.returning import give_back

def mebibytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / {MIB}

seen, kept, pieces = [mebibytes()], [], []
for _ in range(16):
    pieces.append(bytearray(b"x") * (16 * {MIB}))
    kept.append(bytearray(b"x") * 4096)
pieces.clear()
seen.append(mebibytes())
give_back()
print(json.dumps([*seen, mebibytes()]))
"""


class Thread:
    """Says when it was asked to give memory back; takes as long as it is told to."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.asked_at: list[float] = []
        self.cancelled = 0
        self._takes_s = takes_s

    async def run(self, job: Callable[[], None]) -> None:
        assert job is give_back
        self.asked_at.append(asyncio.get_running_loop().time())
        try:
            await asyncio.sleep(self._takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def asked_at(thread: Thread, *laters_s: float, lasts_s: float = 1000.0) -> list[float]:
    """When the thread is asked, by when something came or went."""

    async def scene() -> list[float]:
        async with Returning(thread.run, AFTER_S) as returning:
            loop = asyncio.get_running_loop()
            for later_s in laters_s:
                loop.call_at(later_s, returning.later)
            await asyncio.sleep(lasts_s)
        return thread.asked_at

    return play(scene)


@pytest.mark.parametrize(
    ("laters_s", "at_s"),
    [
        ((), []),
        ((1.0,), [31.0]),
        ((1.0, 2.0, 3.0), [33.0]),
        ((1.0, 25.0, 50.0), [80.0]),
        ((1.0, 32.0), [31.0, 62.0]),
    ],
)
def test_memory_is_given_back_when_nothing_has_come_or_gone_for_a_while(
    laters_s: tuple[float, ...], at_s: list[float]
) -> None:
    assert asked_at(Thread(), *laters_s) == at_s


def test_who_is_still_giving_back_is_asked_again_later() -> None:
    assert asked_at(Thread(takes_s=45.0), 1.0, 32.0) == [31.0, 92.0]


def test_the_end_waits_for_no_timer_and_cuts_off_what_is_under_way() -> None:
    early = Thread()
    assert asked_at(early, 1.0, lasts_s=20.0) == []
    late = Thread(takes_s=1000.0)
    assert asked_at(late, 1.0, lasts_s=40.0) == [31.0]
    assert late.cancelled == 1


def test_a_replica_keeps_what_is_freed_until_it_is_told_to_give_it_back() -> None:
    said = subprocess.run(
        [sys.executable, "-c", LEAVINGS],
        env=os.environ | ALLOCATOR,
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
        check=True,
    )
    before, kept, after = json.loads(said.stdout)
    assert kept - before > 200
    assert after - before < 60
