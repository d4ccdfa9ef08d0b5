"""Allocator: what replicas are told, and what that does in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.supervise.allocator import with_tunables, without_settings

WATCHDOG_S = 60.0
MIB = 1 << 20
THP = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# `fill` runs in a thread, as loading does. 256 MiB come and go.
SCRIPT = f"""
import json, threading
from gateway.app.returning import give_back, resident_bytes

def pieces(count, mebibytes):
    return [bytearray(b"x") * (mebibytes * {MIB}) for _ in range(count)]

def fill():
    large = %s
    seen.append(resident_bytes())
    large.clear()

def huge_bytes():
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) << 10 for line in lines if "AnonHuge" in line)

seen = [resident_bytes()]
thread = threading.Thread(target=fill)
thread.start()
thread.join()
seen += [resident_bytes(), huge_bytes()]
give_back()
print(json.dumps([*seen, resident_bytes()]))
"""


def test_what_is_set_already_is_kept_and_counts() -> None:
    assert with_tunables({})["GLIBC_TUNABLES"].startswith("glibc.malloc.hugetlb=1:")
    theirs = with_tunables({"GLIBC_TUNABLES": "glibc.malloc.arena_max=4", "A": "b"})
    assert theirs["GLIBC_TUNABLES"].endswith(":glibc.malloc.arena_max=4")
    assert theirs["GLIBC_TUNABLES"].startswith("glibc.malloc.hugetlb=1:")
    assert theirs["A"] == "b"


@pytest.mark.parametrize("made", ["pieces(16, 16)", "pieces(2, 128)", "pieces(256, 1)"])
def test_a_replica_keeps_what_is_freed_until_it_gives_it_back(made: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT % made],
        env=with_tunables(os.environ),
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
        check=True,
    )
    before, full, kept, huge, after = json.loads(said.stdout)
    assert full - before > 250 * MIB
    assert full - kept < 10 * MIB
    assert after - before < 20 * MIB
    if "never" not in THP.read_text().partition("[")[2].partition("]")[0]:
        assert huge > 200 * MIB


def test_settings_are_told_to_nobody_by_the_environment() -> None:
    environ = {"GATEWAY_REDIS__URL": "redis://:hush@host", "PATH": "/bin", "AIP_HTTP_PORT": "1"}
    assert without_settings(environ) == {"PATH": "/bin", "AIP_HTTP_PORT": "1"}
