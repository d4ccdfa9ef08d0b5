"""Spare: how much memory is nobody's yet, on this machine and in our control groups.

Job    read what the kernel says of memory that could be had without anybody losing any.
Never  fails: what cannot be read limits nothing.

Some orchestrators have the kernel kill a whole control group when its memory ends: then
no child is disposable, and only staying within what is spare keeps the others alive.
Pages of files that nobody used lately count as spare: the kernel gives them up at once.

Source: Documentation/admin-guide/cgroup-v2.rst, memory.max; cgroup-v1/memory.rst; proc(5).
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


def spare_bytes(root: Path = _ROOT) -> int | None:
    """Return the bytes that can still be had, None where nothing limits them.

    `root` is where `proc` and the control groups are found.
    """
    limits = [_of_machine(root), *(_of_group(*group) for group in _groups(root))]
    known = [limit for limit in limits if limit is not None]
    return max(0, min(known)) if known else None


def _of_machine(root: Path) -> int | None:
    kib = _numbers(root / "proc/meminfo").get("MemAvailable:")
    return None if kib is None else kib << 10


def _groups(root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Yield our control group and all above it: a limit binds everything below."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0":
            mount, names = root / "sys/fs/cgroup", _V2
        elif "memory" in controllers.split(","):
            mount, names = root / "sys/fs/cgroup/memory", _V1
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        for group in (own, *own.parents):
            yield mount / group, names


def _of_group(folder: Path, names: tuple[str, str, str]) -> int | None:
    most, used = (_text(folder / name).strip() for name in names[:2])
    if not most.isdigit() or not used.isdigit():  # v2 says "max" for none
        return None
    return int(most) - int(used) + _numbers(folder / "memory.stat").get(names[2], 0)


def _numbers(file: Path) -> dict[str, int]:
    """Return the first number of each line, by the word before it."""
    rows = (line.split() for line in _text(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
