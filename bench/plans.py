"""Plans and reports: what the open-loop generator is told, and what it tells.

The generator runs in a process of its own, pinned beside the servers, so both cross as JSON.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.launch import pinned

MARGIN_S = 60.0  # beyond the plan's own time: connecting, and the last answers


class GeneratorFailed(RuntimeError):
    """The generator ended without a report; the message is what it said."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One kind of traffic: open at `rate_per_s`, or closed when there is none."""

    name: str
    path: str
    bodies: str | None  # a file with one body a line; none: GET
    connections: int
    rate_per_s: float | None
    arrivals: str = "poisson"  # or constant
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """Several streams against one port of loopback."""

    port: int
    warmup_s: float
    window_s: float
    streams: tuple[StreamPlan, ...]


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What one stream saw of the requests due inside the window; latencies from the due time."""

    name: str
    sent: int  # all of them, warm-up included
    answered: int
    measured: int  # those due inside the window
    answers_per_s: float  # answers that arrived inside the window
    p50_s: float
    p99_s: float
    highest_s: float
    lateness_p99_s: float
    queued: int  # found every connection busy


@dataclass(frozen=True, slots=True)
class Report:
    """All streams, and how busy the generator itself was (0..1)."""

    streams: tuple[StreamReport, ...]
    busy_ratio: float

    def stream(self, name: str) -> StreamReport:
        """The stream of that name."""
        return next(stream for stream in self.streams if stream.name == name)


def encode_plan(plan: Plan) -> str:
    """The plan as JSON, for the generator's own process."""
    return json.dumps(asdict(plan))


def decode_plan(text: str) -> Plan:
    """The plan that `encode_plan` wrote."""
    raw = json.loads(text)
    streams = tuple(StreamPlan(**stream) for stream in raw.pop("streams"))
    return Plan(streams=streams, **raw)


def decode_report(text: str) -> Report:
    """The report that the generator's process printed."""
    raw = json.loads(text)
    return Report(tuple(StreamReport(**stream) for stream in raw["streams"]), raw["busy_ratio"])


def play_pinned(plan: Plan, cpu: int, scratch: Path) -> Report:
    """Play the plan in a process of its own on `cpu`.

    Raises: GeneratorFailed, with the first bad answer.
    """
    file = scratch / "plan.json"
    file.write_text(encode_plan(plan))
    command = pinned([sys.executable, "-m", "bench.openloop", str(file)], cpu)
    limit_s = plan.warmup_s + plan.window_s + MARGIN_S
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise GeneratorFailed(f"no report within {limit_s:.0f} s") from error
    if done.returncode:
        raise GeneratorFailed(done.stderr)
    return decode_report(done.stdout)
