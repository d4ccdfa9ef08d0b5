"""Cpus: how many of the machine's CPUs a process may really use.

Job    read what the kernel says of affinity and control groups.
Life   pure functions over the contents of its files.
Never  guesses: a file that is not there, or that cannot be understood, limits nothing.

A container that was given two CPUs of 64 sees all 64, and its affinity is all 64 too: the
quota alone tells. A quota holds for a group and all groups below it, so that the smallest
of a group's own and its ancestors' counts. What cannot be had whole is not counted: three
processes that share two and a half CPUs wait for each other, two do not.

Source: the kernel's cgroup-v2 (cpu.max), cgroup-v1 (sched-bwc), proc(5) on mountinfo.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_OCTAL = re.compile(r"\\([0-7]{3})")
_V2_MAX = re.compile(r"([0-9]{1,18})(?: ([0-9]{1,18}))?\s*")
_V1_NUMBER = re.compile(r"([0-9]{1,18})\s*")
_PERIOD_US = 100_000  # the kernel's, where none is said


@dataclass(frozen=True, slots=True)
class Group:
    """Where the kernel tells of one control group; `is_v2` says how."""

    folder: str
    is_v2: bool


def cpu_groups(cgroup: str, mountinfo: str) -> tuple[Group, ...]:
    """Return every group whose quota binds a process: its own, then its ancestors.

    Shapes: the texts are of `/proc/self/cgroup` and `/proc/self/mountinfo`.
    """
    found: list[Group] = []
    mounts = tuple(_mounts(mountinfo))
    for is_v2, path in _paths(cgroup):
        for root, point, is_v2_mount in mounts:
            if is_v2 == is_v2_mount:
                found += [Group(folder, is_v2) for folder in _chain(path, root, point)]
                break
    return tuple(found)


def whole_cpus_v2(cpu_max: str) -> int | None:
    """Return the whole CPUs of a `cpu.max`, None if it sets no limit."""
    found = _V2_MAX.fullmatch(cpu_max)
    return None if found is None else _whole(int(found[1]), int(found[2] or _PERIOD_US))


def whole_cpus_v1(quota_us: str, period_us: str) -> int | None:
    """Return the whole CPUs of a `cpu.cfs_quota_us` and its period, None for no limit."""
    quota, period = _V1_NUMBER.fullmatch(quota_us), _V1_NUMBER.fullmatch(period_us)
    if quota is None or period is None:  # a quota of -1 is none
        return None
    return _whole(int(quota[1]), int(period[1]))


def usable_cpus(affinity: int, limits: Iterable[int | None]) -> int:
    """Return how many CPUs a process can keep busy: 1 at least, whatever its share."""
    return max(1, min([affinity, *(limit for limit in limits if limit is not None)]))


def _whole(quota: int, period: int) -> int | None:
    return quota // period if period else None


def _paths(cgroup: str) -> Iterator[tuple[bool, str]]:
    """Yield (is it v2, path) of the groups that a process is in and that may limit CPUs."""
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers and path:
            yield True, path
        elif "cpu" in controllers.split(","):
            yield False, path


def _mounts(mountinfo: str) -> Iterator[tuple[str, str, bool]]:
    """Yield (root, mount point, is it v2) of every mounted hierarchy with a cpu controller."""
    for line in mountinfo.splitlines():
        place, _, kind = line.partition(" - ")
        fields, kinds = place.split(" "), kind.split(" ")
        if len(fields) < 5 or len(kinds) < 3:
            continue
        is_v1 = kinds[0] == "cgroup" and "cpu" in kinds[2].split(",")
        if is_v1 or kinds[0] == "cgroup2":
            yield _plain(fields[3]), _plain(fields[4]), not is_v1


def _plain(field: str) -> str:
    """Undo what mountinfo does to spaces, tabs, line ends and backslashes."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), field)


def _chain(path: str, root: str, point: str) -> Iterator[str]:
    """Yield the folders of a group and its ancestors, as far up as they are mounted.

    A path outside of what is mounted is one that we see under another name: a container's
    group is then the mount itself.
    """
    names, above = _names(path), _names(root)
    inside = names[len(above) :] if names[: len(above)] == above else []
    if ".." in inside:
        inside = []
    top = _names(point)
    for depth in range(len(inside), -1, -1):
        yield "/" + "/".join(top + inside[:depth])


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]
