"""A replica writes while the supervisor reads: what is read never goes back."""

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from gateway.observe.memory import Memory
from gateway.observe.statistics import statistics
from gateway.supervise.ledger import Ledger

WATCHDOG_S = 30
COMPUTED = ("compute_input", "compute_infer", "compute_output")

# The writer is another process: threads of one take turns, and would hide what is half done.
WRITER = """
import random, sys
from gateway.observe.memory import Memory
from gateway.observe.record import Record
from gateway.types import Arm, Call, Outputs, Signature, Version

record = Record(Memory.attach(int(sys.argv[1])).row(1))
arm = Arm(Version("m", "1", Signature((), (), 64)))
dice = random.Random(1)
for _ in range(20_000):
    calls = [
        Call(arm, (), 1, (), print, arrived=dice.random()) for _ in range(dice.randint(1, 40))
    ]
    outputs = Outputs((), len(calls))
    outputs.input_ns, outputs.infer_ns, outputs.output_ns = 10, 1000, 100
    record.begin()
    record.finish(calls, outputs, 1.0, 1.0001)
"""


def numbers(told: dict[str, Any]) -> dict[str, int]:
    """Return every number of a version by where it stands."""
    found = {name: told[name] for name in ("inference_count", "execution_count", "last_inference")}
    groups = {"": told["inference_stats"]}
    groups |= {f"size {size['batch_size']} ": size for size in told["batch_stats"]}
    for place, group in groups.items():
        for name, duration in group.items():
            if isinstance(duration, dict):
                found |= {f"{place}{name} {unit}": number for unit, number in duration.items()}
    return found


def assert_identities(told: dict[str, Any]) -> None:
    stats, sizes = told["inference_stats"], told["batch_stats"]
    runs = [(size["batch_size"], size["compute_infer"]["count"]) for size in sizes]
    assert told["inference_count"] == sum(rows * count for rows, count in runs)
    assert told["execution_count"] == sum(count for _, count in runs)
    assert all(stats[name]["count"] == stats["success"]["count"] for name in COMPUTED)
    parts_ns = sum(stats[name]["ns"] for name in ("queue", *COMPUTED))
    assert stats["success"]["ns"] >= parts_ns


@pytest.mark.slow
def test_what_is_read_while_it_is_written_never_goes_back_and_adds_up() -> None:
    ledger = Ledger()
    with Memory.create() as memory:
        ledger.attach(memory)
        assert ledger.assign("m", "1", "a") == 1
        fd = os.dup(memory.fd)
        command = [sys.executable, "-c", WRITER, str(fd)]
        with subprocess.Popen(command, pass_fds=(fd,)) as writer:
            os.close(fd)
            try:
                watch(ledger, writer)
            finally:
                writer.kill()
        assert writer.returncode == 0
        (counts,) = ledger.counts().values()
        assert counts.executions == 20_000


def watch(ledger: Ledger, writer: "subprocess.Popen[bytes]") -> None:
    """Read until the writer has ended."""
    until = time.monotonic() + WATCHDOG_S
    before: dict[str, int] = {}
    while writer.poll() is None:
        assert time.monotonic() < until
        told: Any = statistics((k.model, k.version, c) for k, c in ledger.counts().items())
        (version,) = told["model_stats"]
        assert_identities(version)
        after = numbers(version)
        back = {name: after.get(name) for name in before if after.get(name, -1) < before[name]}
        assert back == {}
        before = after
