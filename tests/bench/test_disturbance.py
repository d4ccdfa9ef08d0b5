import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from bench.courses import Counts
from bench.disturbance import Ran, Seen, disturbed_s, others_s, parse_task, undisturbed

SPIN = "import os; os.sched_setaffinity(0, {cpu}); print(flush=True)\nwhile True: pass"
SLICES = 5


@contextmanager
def spinning(cpu: int) -> Iterator[int]:
    command = [sys.executable, "-c", SPIN.format(cpu=f"{{{cpu}}}")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def test_the_kernel_counts_nanoseconds() -> None:
    assert parse_task("2500000000 1000000 17\n") == Ran(2.5, 0.001)


def test_two_that_spin_on_one_processor_keep_each_other_waiting() -> None:
    cpu = min(os.sched_getaffinity(0))
    with spinning(cpu) as one, spinning(cpu) as other:
        waits_s = disturbed_s(time.monotonic(), SLICES, (one, other), ())
    assert len(waits_s) == SLICES
    assert sum(waits_s) > 0


def test_the_one_who_waited_longest_counts_without_what_the_server_used_itself() -> None:
    before = Seen([1.0, 5.0], 2.0)
    assert others_s(before, Seen([1.5, 5.25], 2.0)) == 0.5
    assert others_s(before, Seen([1.5, 5.25], 2.125)) == 0.375
    assert others_s(before, Seen([1.5, 5.25], 3.0)) == 0.0
    assert others_s(before, Seen([1.5, 5.25], 0.0)) == 0.5  # one of its processes has ended


def test_who_has_ended_waits_for_nobody() -> None:
    with spinning(min(os.sched_getaffinity(0))) as gone:
        pass
    assert disturbed_s(0.0, 2, (gone,), (gone,)) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("waits_ms", "kept"),
    [([0, 0, 0, 0], [0, 1, 2, 3]), ([0, 2, 0, 0], [0, 3]), ([9, 0, 0.9, 9], [2]), ([9] * 4, [])],
)
def test_a_slice_counts_if_nobody_took_a_processor_in_it_or_just_before(
    waits_ms: list[float], kept: list[int]
) -> None:
    slices = [replace(Counts(0, 0, 0, 0), offered=number) for number in range(4)]
    found = undisturbed(slices, [one / 1e3 for one in waits_ms])
    assert [one.offered for one in found] == kept
