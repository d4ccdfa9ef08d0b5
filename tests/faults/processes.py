"""Processes: who of a server's holds which connection, and who of them is still there.

Job    read what the kernel says, where nobody's own word would prove anything.
Never  asks a process that may be stopped or dead.

Source: proc(5), /proc/net/tcp and /proc/pid/fd.
"""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.operating import wait_until
from tests.server import Server

_ESTABLISHED = "01"


def processes_in(folder: Path) -> set[int]:
    """Every process that runs in `folder`: a server that was started there, and its children.

    One whose threads have all ended runs nowhere.
    """
    found = set()
    for thread in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if (thread / "cwd").readlink() == folder.resolve():
                found.add(int(thread.parts[2]))
    return found


def callers_by_replica(server: Server, callers: int) -> Mapping[int, frozenset[int]]:
    """Which callers each replica accepted, by its pid: the ports that they call from.

    Waits until all of so many `callers` are accepted: then nobody is still on the way.
    """
    found: dict[int, frozenset[int]] = {}

    def are_accepted() -> bool:
        found.update((one["pid"], callers_of(one["pid"], server)) for one in server.replicas())
        return sum(map(len, found.values())) == callers

    wait_until(are_accepted, lambda: found)
    return found


def callers_of(pid: int, server: Server) -> frozenset[int]:
    """The ports from which those call whose connections to the data port a process holds."""
    descriptors = _open(pid)
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return frozenset(
        _port(theirs)
        for _, ours, theirs, state, *rest in rows
        if state == _ESTABLISHED
        and _port(ours) == server.port
        and f"socket:[{rest[5]}]" in descriptors
    )


def wait_until_opened(pid: int, file: Path) -> None:
    """Wait until a process has a file open."""
    wait_until(lambda: str(file) in _open(pid), lambda: _open(pid))


def _open(pid: int) -> set[str]:
    """What the descriptors of a process stand for."""
    found = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            found.add(str(one.readlink()))
    return found


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def states(server: Server) -> list[str]:
    """What the live replicas are at, in alphabetical order."""
    return sorted(one["state"] for one in server.replicas())


def wait_for_states(server: Server, *expected: str) -> None:
    """Wait until the live replicas are at exactly that."""
    wait_until(lambda: states(server) == sorted(expected), server.replicas)


def wait_for_words(server: Server, words: str, times: int = 1) -> None:
    """Wait until somebody has written `words` to stderr, so many times."""
    wait_until(lambda: server.complaints().count(words) >= times, server.complaints)


def kill_replica(server: Server, slot: int) -> int:
    """kill -9 of the replica in a slot; return its pid when another stands in its place."""
    replicas = server.replicas()
    (victim,) = [one["pid"] for one in replicas if one["slot"] == slot]
    os.kill(victim, signal.SIGKILL)
    server.wait_for_replicas(len(replicas), without={victim})
    return int(victim)


def workers(server: Server, model: str) -> set[int]:
    """The processes in which a model runs, those that are starting included; no zombies."""
    replicas = {one["pid"] for one in server.replicas()}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            told = (process / "cmdline").read_bytes().split(b"\0")
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if f"--model={model}".encode() in told and parent in replicas:
                found.add(int(process.name))
    return found


def wait_for_workers(server: Server, model: str, count: int, without: int = 0) -> set[int]:
    """Wait until a model has so many processes, none of them `without`; return them."""
    found: set[int] = set()

    def are_there() -> bool:
        found.clear()
        found.update(workers(server, model))
        return len(found) == count and without not in found

    wait_until(are_there, lambda: found)
    return found


def zombies_of(server: Server) -> set[int]:
    """The children of the replicas that ended, and that nobody has reaped."""
    replicas = {one["pid"] for one in server.replicas()}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it is gone
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) in replicas:
                found.add(int(process.name))
    return found
