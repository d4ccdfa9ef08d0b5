from pathlib import Path

from gateway.supervise.oomkills import oom_kills


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_our_own_control_group_counts_for_us(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/pods/ours\n",
            "sys/fs/cgroup/pods/ours/memory.events": "low 0\nhigh 3\nmax 7\noom 2\noom_kill 5\n",
            "proc/vmstat": "oom_kill 99\n",
        },
    )
    assert oom_kills(root) == 5


def test_without_one_the_machine_counts(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "4:memory:/x\n0::/\n", "proc/vmstat": "nr_free 1\noom_kill 4\n"}
    assert oom_kills(write(tmp_path, files)) == 4


def test_where_nobody_counts_nobody_was_killed(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) == 0


def test_this_machine_counts_upwards() -> None:
    before = oom_kills()
    assert oom_kills() >= before >= 0
