"""Disturbance: in which slices of a course others had the processors.

Job    say for each slice how long the server's loop or the generator waited for its processor.
Never  counts as others' what the gateway's other processes used meanwhile: that is its own fault.

On two processors everything else that lives on the machine takes one of them now and then. An
agent that reads every open socket once a second takes it for longer the more there are, so any
server would look as if it felt a crowd. How long a task stood in a run queue the kernel counts.
Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat.
"""

import time
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench.accounting import PROC
from bench.courses import SLICE_S, Counts

MOST_S = SLICE_S / 100  # whoever stands still for longer than that is a slice's p99 by himself


class Ran(NamedTuple):
    """What a task has had so far, and stood in a run queue for."""

    ran_s: float
    waited_s: float


class Seen(NamedTuple):
    """What those watched have waited so far, and the server's other processes used."""

    waited_s: Sequence[float]
    used_s: float


def parse_task(text: str) -> Ran:
    """Read /proc/PID/task/TID/schedstat: nanoseconds run, nanoseconds waited, turns."""
    ran, waited = text.split()[:2]
    return Ran(int(ran) / 1e9, int(waited) / 1e9)


def disturbed_s(
    began_s: float, slices: int, watched: Collection[int], own: Collection[int]
) -> list[float]:
    """Look on while a course runs: for each slice, the longest that others kept one waiting.

    `watched` are processes whose main thread must not wait, `own` others of the server.
    """
    seen = []
    for number in range(slices + 1):
        time.sleep(max(0.0, began_s + number * SLICE_S - time.monotonic()))
        waited = [_task(PROC / str(pid) / "task" / str(pid)).waited_s for pid in watched]
        seen.append(Seen(waited, sum(_ran_s(pid) for pid in own)))
    return [others_s(before, after) for before, after in pairwise(seen)]


def others_s(before: Seen, after: Seen) -> float:
    """How long others kept one waiting, at most; who ends takes what he used with him."""
    waited_s = max(map(float.__sub__, after.waited_s, before.waited_s))
    return max(0.0, waited_s - max(0.0, after.used_s - before.used_s))


def undisturbed(slices: Sequence[Counts], waits_s: Sequence[float]) -> list[Counts]:
    """The slices in which nobody else took as much as p99 leaves out, nor in the one before."""
    stood = [wait_s > MOST_S for wait_s in waits_s]
    after = [False, *stood]
    return [one for one, *took in zip(slices, stood, after, strict=False) if not any(took)]


def _ran_s(pid: int) -> float:
    try:
        tasks = list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return 0.0
    return sum(_task(one).ran_s for one in tasks)


def _task(folder: Path) -> Ran:
    try:
        return parse_task((folder / "schedstat").read_text())
    except OSError:  # it has ended
        return Ran(0.0, 0.0)
