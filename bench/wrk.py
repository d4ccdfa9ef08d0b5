"""Closed-loop load by wrk, pinned to the generator's processor.

Job    run one warm-up and one measured window against a server, and say what it cost both;
       or keep a server busy while something is done to it, and count what fails.
Never  hides an error: a window with a failed request raises.

wrk sends the next request when the last is answered, so its latencies describe a full
pipeline, not arrivals: bench/openloop.py measures those.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from bench.accounting import cpu_seconds
from bench.launch import Server, pinned
from bench.requests import Target

SCRIPT = Path(__file__).with_name("post.lua")
MARK = "bench "  # what done() in post.lua puts before its JSON
FAULTS = ("connect", "read", "write", "status", "timeout")
PATIENCE_S = 600  # what traffic lasts at most, and how long one of its requests may wait
END_S = 30.0


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
    faults: Mapping[str, int] = field(default_factory=dict)  # by their kind, those that happened

    @property
    def failed(self) -> int:
        """How many requests were cut off, answered with an error, or never connected."""
        return sum(self.faults.values())


def parse(output: str) -> Tally:
    """Read the line that post.lua prints when wrk is done.

    Raises: LoadFailed when there is none, when any request failed, or none was answered.
    """
    tally = tally_of(output)
    if tally.faults:
        raise LoadFailed(f"wrk saw errors in {tally.requests} requests: {tally.faults}")
    return tally


def tally_of(output: str) -> Tally:
    """The same, of a server that may fail.

    Raises: LoadFailed when there is no such line, or no request was answered.
    """
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if len(lines) != 1:
        raise LoadFailed(f"wrk gave no summary: {output!r}")
    said = json.loads(lines[0].removeprefix(MARK))
    faults = {name: said[name] for name in FAULTS if said[name]}
    if not said["requests"]:
        raise LoadFailed("wrk got no answer at all")
    duration_s, p50_s, p99_s = (said[name] / 1e6 for name in ("duration_us", "p50_us", "p99_us"))
    return Tally(said["requests"], duration_s, p50_s, p99_s, faults)


class Traffic:
    """wrk without an end of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def end(self) -> Tally:
        """Stop sending, and say what came of all requests. Raises: LoadFailed."""
        self._process.send_signal(signal.SIGINT)
        output, complaints = self._process.communicate(timeout=END_S)
        if self._process.returncode:
            raise LoadFailed(f"wrk ended with {self._process.returncode}: {output}{complaints}")
        return tally_of(output)


@dataclass(frozen=True, slots=True)
class Generator:
    """wrk on one processor, or on any, sending one kind of request."""

    cpu: int | None
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

    @contextmanager
    def traffic(self, port: int, connections: int) -> Iterator[Traffic]:
        """Keep so many connections busy until the block ends, whatever becomes of requests.

        A request that waits is no failure, however long it does.
        """
        command = self._command(port, connections, PATIENCE_S, "--timeout", f"{PATIENCE_S}s")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield Traffic(process)
            finally:
                if process.poll() is None:
                    process.kill()

    def _command(self, port: int, connections: int, duration_s: float, *options: str) -> list[str]:
        if self.target.bodies is None:
            raise ValueError("wrk sends bodies here; GET has none")
        url = f"http://127.0.0.1:{port}{self.target.path}"
        # wrk takes whole seconds; "1s" is its least.
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(duration_s))}s", *options]
        command += ["-s", str(SCRIPT), url, "--", str(self.target.bodies), self.target.path]
        command += ["ids"] * self.target.names_itself
        return pinned(command, self.cpu)

    def _run(self, server: Server, connections: int, duration_s: float) -> tuple[Tally, float]:
        command = self._command(server.port, connections, duration_s)
        before, started = os.times(), perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        elapsed_s, after = perf_counter() - started, os.times()
        if done.returncode:
            raise LoadFailed(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
        used_s = (after.children_user + after.children_system) - (
            before.children_user + before.children_system
        )
        return parse(done.stdout), used_s / elapsed_s
