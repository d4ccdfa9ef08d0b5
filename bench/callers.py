"""Callers: which process holds which connection to a port, as the kernel knows it.

Never  asks the process.

Source: proc(5), /proc/net/tcp and /proc/pid/fd.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress

from bench.accounting import PROC
from bench.managed import POLL_S, WAIT_S, NeverSo

ESTABLISHED = "01"


def parse_callers(table: str, port: int) -> dict[str, int]:
    """Read /proc/net/tcp: the ports that call `port`, by the socket that was made for them."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        ours, theirs, state, inode = fields[1], fields[2], fields[3], fields[9]
        if state == ESTABLISHED and _port(ours) == port:
            found[f"socket:[{inode}]"] = _port(theirs)
    return found


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def opened(pid: int) -> set[str]:
    """What the descriptors of a process stand for."""
    found = set()
    for one in (PROC / str(pid) / "fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            found.add(str(one.readlink()))
    return found


def callers_of(pids: Sequence[int], port: int) -> dict[int, int]:
    """Return who of `pids` holds which connection to `port`, by the port that it comes from."""
    callers = parse_callers((PROC / "net" / "tcp").read_text(), port)
    return {callers[one]: pid for pid in pids for one in opened(pid) & callers.keys()}


def wait_for(ports: AbstractSet[int], look: Callable[[], Mapping[int, int]]) -> Mapping[int, int]:
    """Return who holds each of `ports`, once all are accepted. Raises: NeverSo."""
    latest_s = time.monotonic() + WAIT_S
    while not ports <= (held := look()).keys():
        if time.monotonic() > latest_s:
            raise NeverSo(f"nobody accepted {sorted(ports - held.keys())}")
        time.sleep(POLL_S)
    return {port: held[port] for port in ports}
