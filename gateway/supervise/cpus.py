"""Cpus: what `replicas = "auto"` means on this machine.

Job    read the files of which gateway/core/cpus.py makes a number.
Never  fails: what cannot be read limits nothing.
"""

import os
from pathlib import Path

from gateway.core.cpus import Group, cpu_groups, usable_cpus, whole_cpus_v1, whole_cpus_v2


def available_cpus(root: Path = Path("/")) -> int:
    """Return how many CPUs this process may keep busy, by affinity and by quota; 1 at least.

    `root` is where `proc` and the control groups are found.
    """
    process = root / "proc/self"
    groups = cpu_groups(_read(process / "cgroup"), _read(process / "mountinfo"))
    affinity = len(os.sched_getaffinity(0))
    return usable_cpus(affinity, [_limit(root, group) for group in groups])


def _limit(root: Path, group: Group) -> int | None:
    folder = root / group.folder.removeprefix("/")
    if group.is_v2:
        return whole_cpus_v2(_read(folder / "cpu.max"))
    return whole_cpus_v1(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _read(file: Path) -> str:
    try:
        return os.fsdecode(file.read_bytes())
    except OSError:
        return ""
