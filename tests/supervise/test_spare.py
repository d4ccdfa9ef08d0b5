"""How much memory could be had, from files as the kernel writes them."""

from pathlib import Path

import pytest

from gateway.supervise.spare import spare_bytes

MACHINE = {"proc/meminfo": "MemTotal:  100 kB\nMemFree:  10 kB\nMemAvailable:  50 kB\n"}


def spare(root: Path, files: dict[str, str]) -> int | None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return spare_bytes(root)


def v2(folder: str, most: str, used: int, idle: int = 0) -> dict[str, str]:
    place = f"sys/fs/cgroup{folder}"
    return {
        f"{place}/memory.max": f"{most}\n",
        f"{place}/memory.current": f"{used}\n",
        f"{place}/memory.stat": f"anon 7\ninactive_file {idle}\nactive_file 9\n",
    }


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert spare(tmp_path, MACHINE) == 50 << 10


def test_a_group_leaves_what_it_does_not_use_and_the_files_that_it_does_not_need(
    tmp_path: Path,
) -> None:
    files = {**MACHINE, "proc/self/cgroup": "0::/pod\n", **v2("/pod", "1000", 400, idle=50)}
    assert spare(tmp_path, files) == 650


def test_the_tightest_group_above_counts(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/a/b\n", **v2("/a/b", "max", 10), **v2("/a", "90", 40)}
    assert spare(tmp_path, {**MACHINE, **files}) == 50


def test_a_namespace_of_our_own_has_its_limit_at_the_top(tmp_path: Path) -> None:
    assert spare(tmp_path, {"proc/self/cgroup": "0::/\n", **v2("", "70", 30)}) == 40


def test_the_older_control_groups_say_the_same_in_other_words(tmp_path: Path) -> None:
    place = "sys/fs/cgroup/memory/x"
    files = {
        "proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n0::/\n",
        f"{place}/memory.limit_in_bytes": "1000\n",
        f"{place}/memory.usage_in_bytes": "700\n",
        f"{place}/memory.stat": "inactive_file 1\ntotal_inactive_file 30\n",
    }
    assert spare(tmp_path, {**MACHINE, **files}) == 330


def test_more_used_than_allowed_is_nothing_left(tmp_path: Path) -> None:
    assert spare(tmp_path, {"proc/self/cgroup": "0::/\n", **v2("", "70", 100)}) == 0


@pytest.mark.parametrize("text", ["", "nonsense\n", "0:\n", "MemAvailable: much kB\n"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, text: str) -> None:
    assert spare(tmp_path, {"proc/meminfo": text, "proc/self/cgroup": text}) is None


def test_this_machine_has_some() -> None:
    left = spare_bytes()
    assert left is None or left > 0
