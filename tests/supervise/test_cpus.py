"""The CPUs of this process, and of one that lives in a tree of files made here."""

import os
from pathlib import Path

import pytest

from gateway.supervise.cpus import available_cpus

V2_MOUNT = "30 25 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n"
V1_MOUNT = "38 30 0:33 /pod /sys/fs/cgroup/cpu rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n"


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def version_2(root: Path, *quotas: str) -> Path:
    """Make a machine of version 2 whose process is in `/a/b`; quotas from the top down."""
    write(root, "proc/self/cgroup", "0::/a/b\n")
    write(root, "proc/self/mountinfo", V2_MOUNT)
    for folder, quota in zip(("", "a/", "a/b/"), quotas, strict=False):
        write(root, f"sys/fs/cgroup/{folder}cpu.max", quota)
    return root


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ((), 8),
        (("max 100000\n", "max 100000\n", "max 100000\n"), 8),
        (("max 100000\n", "max 100000\n", "300000 100000\n"), 3),
        (("max 100000\n", "250000 100000\n", "600000 100000\n"), 2),
        (("max 100000\n", "max 100000\n", "1600000 100000\n"), 8),
        (("max 100000\n", "20000 100000\n"), 1),
    ],
)
def test_the_tightest_quota_of_a_group_and_its_ancestors_counts(
    tmp_path: Path, quotas: tuple[str, ...], expected: int
) -> None:
    assert available_cpus(version_2(tmp_path, *quotas)) == expected


@pytest.mark.usefixtures("eight")
def test_version_1_is_read_too(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "4:cpu,cpuacct:/pod\n")
    write(tmp_path, "proc/self/mountinfo", V1_MOUNT)
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "450000\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert available_cpus(tmp_path) == 4


@pytest.mark.usefixtures("eight")
def test_a_machine_that_says_nothing_limits_nothing(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == 8


@pytest.mark.usefixtures("eight")
def test_a_name_that_is_no_text_is_no_error(tmp_path: Path) -> None:
    version_2(tmp_path)
    (tmp_path / "proc/self/cgroup").write_bytes(b"0::/\xff\n")
    assert available_cpus(tmp_path) == 8


def test_this_process_has_one_at_least_and_no_more_than_its_affinity() -> None:
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))
