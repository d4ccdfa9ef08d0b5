"""Containment: a child ends with its parent, within its memory, and takes nobody's turn."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

_WAIT_S = 30.0


def child(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, in which it may do all that to itself."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=_WAIT_S,
        check=False,
    )


def test_whose_parent_is_gone_ends_at_once() -> None:
    program = "import sys; from gateway.app.containment import die_with; die_with(int(sys.argv[1]))"
    assert child(program, os.getpid()).returncode == 0
    assert child(program, os.getppid()).returncode == -9


_EATING = """
import sys
from gateway.app.containment import limit_memory
limit_memory(int(sys.argv[1]))
try:
    eaten = bytearray(int(sys.argv[2]))
except MemoryError:
    print("no more")
else:
    print("enough")
"""


@pytest.mark.parametrize(("wanted", "expected"), [(32 << 20, "enough"), (256 << 20, "no more")])
def test_memory_is_what_it_may_have_beyond_its_own(wanted: int, expected: str) -> None:
    assert child(_EATING, 128 << 20, wanted).stdout.strip() == expected


_UNDER_A_CEILING = """
import resource, sys
from gateway.app.containment import limit_memory
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
limit_memory(1 << 40)
print(resource.getrlimit(resource.RLIMIT_DATA))
"""


def test_nobody_may_have_more_than_a_ceiling_that_was_there() -> None:
    assert child(_UNDER_A_CEILING).stdout.strip() == str((1 << 30, 1 << 30))


_MODEST = """
import os, resource
from gateway.app.containment import be_modest
from pathlib import Path
os.setpriority(os.PRIO_PROCESS, 0, {niceness})
be_modest(700)
print(os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_CORE)[0])
print(Path("/proc/self/oom_score_adj").read_text())
"""


@pytest.mark.parametrize(("niceness", "expected"), [(0, 10), (15, 15)])
def test_a_child_yields_and_leaves_no_core(niceness: int, expected: int) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    said = child(_MODEST.format(niceness=max(own, niceness))).stdout.split()
    assert said == [str(max(own, expected)), "0", "700"]


def test_what_it_does_to_itself_does_not_reach_us() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA), Path("/proc/self/oom_score_adj").read_text()
    child(_EATING, 1 << 20, 1)
    after = resource.getrlimit(resource.RLIMIT_DATA), Path("/proc/self/oom_score_adj").read_text()
    assert before == after
