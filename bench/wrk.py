"""Closed-loop load by wrk, pinned to the generator's processor.

Job    run one warm-up and one measured window against a server, and say what it cost both.
Never  hides an error: a window with a failed request raises.

wrk sends the next request when the last is answered, so its latencies describe a full
pipeline, not arrivals: bench/openloop.py measures those.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bench.accounting import cpu_seconds
from bench.launch import Server, pinned
from bench.requests import Target

SCRIPT = Path(__file__).with_name("post.lua")
MARK = "bench "  # what done() in post.lua puts before its JSON


class LoadFailed(RuntimeError):
    """The generator saw errors, or said nothing: the row would be a lie."""


@dataclass(frozen=True, slots=True)
class Window:
    """One measured window of closed-loop load."""

    requests: int
    duration_s: float
    p50_s: float
    p99_s: float
    server_cpu_s: float
    generator_ratio: float  # of one processor

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.duration_s

    @property
    def cpu_per_request_s(self) -> float:
        return self.server_cpu_s / self.requests


@dataclass(frozen=True, slots=True)
class Tally:
    """What wrk itself counted."""

    requests: int
    duration_s: float
    p50_s: float
    p99_s: float


def parse(output: str) -> Tally:
    """Read the line that post.lua prints when wrk is done.

    Raises: LoadFailed when there is none, when any request failed, or none was answered.
    """
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if len(lines) != 1:
        raise LoadFailed(f"wrk gave no summary: {output!r}")
    said = json.loads(lines[0].removeprefix(MARK))
    faults = {name: said[name] for name in ("connect", "read", "write", "status", "timeout")}
    if any(faults.values()):
        raise LoadFailed(f"wrk saw errors in {said['requests']} requests: {faults}")
    if not said["requests"]:
        raise LoadFailed("wrk got no answer at all")
    return Tally(
        said["requests"], said["duration_us"] / 1e6, said["p50_us"] / 1e6, said["p99_us"] / 1e6
    )


@dataclass(frozen=True, slots=True)
class Generator:
    """wrk on one processor, sending one kind of request."""

    cpu: int
    target: Target
    warmup_s: float
    window_s: float

    def measure(self, server: Server, connections: int) -> Window:
        """Warm up, then measure one window; both CPUs are counted around the window alone.

        Raises: LoadFailed.
        """
        self._run(server, connections, self.warmup_s)
        spent = cpu_seconds(server.pid)
        tally, generator_ratio = self._run(server, connections, self.window_s)
        return Window(
            tally.requests,
            tally.duration_s,
            tally.p50_s,
            tally.p99_s,
            cpu_seconds(server.pid) - spent,
            generator_ratio,
        )

    def _run(self, server: Server, connections: int, duration_s: float) -> tuple[Tally, float]:
        if self.target.bodies is None:
            raise ValueError("wrk sends bodies here; GET has none")
        url = f"http://127.0.0.1:{server.port}{self.target.path}"
        # wrk takes whole seconds; "1s" is its least.
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(duration_s))}s"]
        command += ["-s", str(SCRIPT), url, "--", str(self.target.bodies), self.target.path]
        command += ["ids"] * self.target.names_itself
        before, started = os.times(), perf_counter()
        command = pinned(command, self.cpu)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        elapsed_s, after = perf_counter() - started, os.times()
        if done.returncode:
            raise LoadFailed(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
        used_s = (after.children_user + after.children_system) - (
            before.children_user + before.children_system
        )
        return parse(done.stdout), used_s / elapsed_s
