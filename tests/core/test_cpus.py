"""Whole CPUs, from the files of machines that exist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cpus import Group, cpu_groups, usable_cpus, whole_cpus_v1, whole_cpus_v2

# A login on a desktop: systemd's unified hierarchy.
DESKTOP_CGROUP = "0::/user.slice/user-1000.slice/session-2.scope\n"
V2_MOUNT = (
    "25 30 0:23 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw\n"
    "30 25 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 "
    "- cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
)
# A container of Docker with its own cgroup namespace.
NAMESPACED_CGROUP = "0::/\n"
# A pod of Kubernetes on a node with version 1, seen without a namespace.
POD = "/kubepods/burstable/pod7f3c/4bd1"
POD_CGROUP = f"""\
12:pids:{POD}
11:cpuset:{POD}
6:cpu,cpuacct:{POD}
1:name=systemd:{POD}
0::/system.slice/containerd.service
"""
POD_MOUNTS = f"""\
1010 1009 0:29 {POD} /sys/fs/cgroup/systemd ro,nosuid master:11 - cgroup cgroup rw,name=systemd
1011 1009 0:33 {POD} /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:15 - cgroup cgroup rw,cpu,cpuacct
1012 1009 0:34 {POD} /sys/fs/cgroup/cpuset ro,nosuid master:16 - cgroup cgroup rw,cpuset
"""
# Both at once: version 1 controls the CPUs, version 2 only tracks processes.
HYBRID_CGROUP = "4:cpu,cpuacct:/system.slice/a.service\n0::/system.slice/a.service\n"
HYBRID_MOUNTS = """\
34 30 0:29 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate
38 30 0:33 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct
"""


def folders(cgroup: str, mountinfo: str) -> list[str]:
    return [group.folder for group in cpu_groups(cgroup, mountinfo)]


def test_a_group_is_bound_by_all_above_it() -> None:
    assert folders(DESKTOP_CGROUP, V2_MOUNT) == [
        "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope",
        "/sys/fs/cgroup/user.slice/user-1000.slice",
        "/sys/fs/cgroup/user.slice",
        "/sys/fs/cgroup",
    ]


def test_a_container_with_its_own_namespace_is_at_the_top() -> None:
    found = cpu_groups(NAMESPACED_CGROUP, V2_MOUNT)
    assert found == (Group("/sys/fs/cgroup", is_v2=True),)


def test_a_container_without_a_namespace_finds_its_group_mounted() -> None:
    found = cpu_groups(POD_CGROUP, POD_MOUNTS)
    assert found == (Group("/sys/fs/cgroup/cpu,cpuacct", is_v2=False),)


@pytest.mark.parametrize("path", ["/../other", "/elsewhere/7", "/a/../b"])
def test_a_group_outside_of_what_is_mounted_is_the_mount(path: str) -> None:
    mounts = V2_MOUNT.replace(" 0:26 / ", " 0:26 /docker/1 ")
    assert folders(f"0::{path}\n", mounts) == ["/sys/fs/cgroup"]


def test_a_path_that_climbs_stays_below_the_mount() -> None:
    assert folders("0::/../a/b\n", V2_MOUNT) == ["/sys/fs/cgroup"]


def test_a_machine_with_both_versions_is_asked_for_both() -> None:
    found = cpu_groups(HYBRID_CGROUP, HYBRID_MOUNTS)
    assert [group.is_v2 for group in found] == [False, False, False, True, True, True]
    assert found[0].folder == "/sys/fs/cgroup/cpu,cpuacct/system.slice/a.service"


def test_a_mount_point_with_a_space_is_found() -> None:
    mounts = "30 25 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n"
    assert folders("0::/a", mounts) == ["/my groups/a", "/my groups"]


@pytest.mark.parametrize(
    ("cgroup", "mountinfo"),
    [
        ("", ""),
        ("", V2_MOUNT),
        (DESKTOP_CGROUP, ""),
        ("0::\n", V2_MOUNT),
        ("nonsense", "nonsense - cgroup2"),
        ("4:memory:/a\n", "38 30 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"),
    ],
)
def test_without_a_group_nothing_binds(cgroup: str, mountinfo: str) -> None:
    assert cpu_groups(cgroup, mountinfo) == ()


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_is_an_error(cgroup: str, mountinfo: str) -> None:
    cpu_groups(cgroup, mountinfo)
    cpu_groups(f"0::/{cgroup}", f"1 1 0:1 /{mountinfo} /x rw - cgroup2 a rw")
    whole_cpus_v2(cgroup)
    whole_cpus_v1(cgroup, mountinfo)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2),
        ("250000 100000\n", 2),
        ("50000 100000\n", 0),
        ("150000 50000\n", 3),
        ("400000\n", 4),
        ("", None),
        ("-1 100000\n", None),
        ("200000 0\n", None),
        ("a lot", None),
        ("9" * 5000, None),
    ],
)
def test_a_quota_of_version_2_in_whole_cpus(text: str, expected: int | None) -> None:
    assert whole_cpus_v2(text) == expected


@pytest.mark.parametrize(
    ("quota", "period", "expected"),
    [
        ("-1\n", "100000\n", None),
        ("200000\n", "100000\n", 2),
        ("10000\n", "100000\n", 0),
        ("200000\n", "", None),
        ("", "100000\n", None),
        ("200000\n", "0\n", None),
    ],
)
def test_a_quota_of_version_1_in_whole_cpus(quota: str, period: str, expected: int | None) -> None:
    assert whole_cpus_v1(quota, period) == expected


@pytest.mark.parametrize(
    ("affinity", "limits", "expected"),
    [
        (64, [], 64),
        (64, [None, None], 64),
        (64, [2, None, 8], 2),
        (2, [8], 2),
        (8, [0], 1),
        (0, [], 1),
    ],
)
def test_the_smallest_counts_and_one_is_always_there(
    affinity: int, limits: list[int | None], expected: int
) -> None:
    assert usable_cpus(affinity, limits) == expected
