"""What the kernel says a process has cost: CPU seconds, resident bytes, stolen time.

Job    read /proc as text and turn it into numbers; parsing is apart from reading.
Never  samples in the background: a caller reads before and after its window.

CPU comes from /proc/PID/stat, in clock ticks (10 ms), so a window of three seconds is known
to a third of a per cent. It is the time of all threads of a process and of the children that
it has outlived: a gateway lets a child go that proved its models, maybe within a window, and
what the child had used by then must not vanish from the sum.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """One process as /proc/PID/stat tells it."""

    pid: int
    parent: int
    cpu_ticks: int


@dataclass(frozen=True, slots=True)
class MachineTicks:
    """All processors together since boot, as the first line of /proc/stat tells it."""

    total: int
    stolen: int

    def stolen_ratio_since(self, earlier: "MachineTicks") -> float:
        """The share of processor time that the hypervisor kept for others since `earlier`."""
        return (self.stolen - earlier.stolen) / max(1, self.total - earlier.total)


def parse_process(text: str) -> ProcessLine:
    """Read one /proc/PID/stat line.

    The command's name stands in brackets and may itself hold brackets and spaces, so the
    fields are counted from the last closing one. Source: proc(5), fields 1, 4 and 14 to 17.
    """
    pid = int(text.split(" ", 1)[0])
    fields = text.rpartition(")")[2].split()
    return ProcessLine(pid, int(fields[1]), sum(map(int, fields[11:15])))


def parse_machine(text: str) -> MachineTicks:
    """Read /proc/stat: user nice system idle iowait irq softirq steal (guest is in user)."""
    fields = [int(field) for field in text.splitlines()[0].split()[1:9]]
    return MachineTicks(sum(fields), fields[7])


def parse_resident_bytes(text: str) -> int:
    """Read VmRSS from /proc/PID/status; 0 for a process that has no memory of its own."""
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def parse_pressure_us(text: str) -> int:
    """Read /proc/pressure/cpu: microseconds since boot in which some task waited to run."""
    return int(text.splitlines()[0].rpartition("total=")[2])


def family(root: int, processes: Mapping[int, ProcessLine]) -> frozenset[int]:
    """`root` and all that descend from it."""
    found = {root}
    grew = True
    while grew:
        born = {line.pid for line in processes.values() if line.parent in found} - found
        found |= born
        grew = bool(born)
    return frozenset(found & processes.keys())


def read_processes() -> dict[int, ProcessLine]:
    """Every process now alive; one that ends while we look is left out."""
    processes: dict[int, ProcessLine] = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                line = parse_process((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
            processes[line.pid] = line
    return processes


def read_machine() -> MachineTicks:
    """The machine's ticks now."""
    return parse_machine((PROC / "stat").read_text())


def waited_s() -> float | None:
    """Seconds since boot in which some task waited for a processor; None where nobody counts."""
    try:
        return parse_pressure_us((PROC / "pressure" / "cpu").read_text()) / 1e6
    except OSError:
        return None


def cpu_seconds(root: int) -> float:
    """CPU seconds used so far by `root`, its descendants, and the dead whom they have reaped."""
    processes = read_processes()
    ticks = sum(processes[pid].cpu_ticks for pid in family(root, processes))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Resident memory of one process, its shared pages included."""
    return parse_resident_bytes((PROC / str(pid) / "status").read_text())
