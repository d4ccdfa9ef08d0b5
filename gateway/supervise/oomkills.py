"""Oomkills: did the kernel kill somebody because memory ran out?

A process killed so ends by the same SIGKILL that an operator sends; only the kernel's
counter tells the two apart. Our own control group's counts for us alone; without one,
the machine's has to do.

Source: Documentation/admin-guide/cgroup-v2.rst, memory.events; /proc/vmstat, oom_kill.
"""

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def oom_kills(root: Path = _ROOT) -> int:
    """Return how many processes were killed for memory so far; 0 where nobody counts."""
    for file in _files(root):
        try:
            text = file.read_text()
        except OSError:
            continue
        for line in text.splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.isdigit():
                return int(count)
    return 0


def _files(root: Path) -> Iterator[Path]:
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        groups = []
    for line in groups:
        hierarchy, _, path = line.split(":", 2)
        if hierarchy == "0":
            yield root / "sys/fs/cgroup" / path.lstrip("/") / "memory.events"
    yield root / "proc/vmstat"
