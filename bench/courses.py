"""Courses: what the surge generator is told, what it tells, and how it is run.

Job    a server's clients in phases of known rates, and what became of every request.
Never  forgives or retries: what was not answered with 200 is told as what it was.

The generator (bench/surge.py) runs in a process of its own, pinned beside the servers, so
courses and reports cross as JSON. It is told apart from bench/openloop.py by what it bears:
refusals, resets, connections that close, and rates that one answer a write could not reach.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.launch import ROOT, pinned
from bench.plans import GeneratorFailed

SLICE_S = 0.1  # of the series that a report has; phases begin and end with one
GRACE_S = 15.0  # how long after its end the last answers may come
MARGIN_S = 60.0  # beyond all that: connecting, and summing up
CUT, HUNG = "cut", "hung"  # beside statuses: the connection ended first; nothing came at all


@dataclass(frozen=True, slots=True)
class Clients:
    """One kind of clients, on connections of their own.

    `rates_per_s` are requests a second, one rate a phase; None keeps every connection busy.
    A request that is due while every connection waits for answers is not sent: so many
    clients as there are connections already do without, and that is told.
    """

    name: str
    path: str
    bodies: str  # a file with one body a line
    connections: int
    rates_per_s: tuple[float, ...] | None
    deadline_s: float  # told to the server, and what a good answer keeps
    burst: int = 1  # requests that one connection sends at a time, in one write
    headers: tuple[str, ...] = ()
    leaves_within_s: float | None = None  # who leaves: unanswered, and with a reset
    is_regular: bool = False  # equal gaps instead of Poisson's
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Course:
    """Kinds of clients against one port of loopback; every phase has its length.

    Beside them `slow` clients send a byte a second, and `idle` ones nothing (bench/rabble.py).
    """

    port: int
    phases_s: tuple[float, ...]
    clients: tuple[Clients, ...]
    slow: int = 0
    idle: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the requests due in some time; latencies of those answered with 200."""

    offered: int
    unsent: int  # of them: no connection was free
    left: int  # of them: the client left first
    good: int  # of them: 200 within the deadline
    answers: Mapping[str, int] = field(default_factory=dict)  # by status, CUT or HUNG
    p50_s: float = float("nan")
    p99_s: float = float("nan")
    highest_s: float = float("nan")
    buckets: Mapping[int, int] = field(default_factory=dict)  # see bench/cells.py

    @property
    def accepted(self) -> int:
        """How many were answered with 200, in time or late."""
        return self.answers.get("200", 0)

    @property
    def failed(self) -> int:
        """How many were asked and got anything else, or nothing."""
        return sum(self.answers.values()) - self.accepted


@dataclass(frozen=True, slots=True)
class ClientsReport:
    """One kind of clients: each slice of SLICE_S, and each phase."""

    name: str
    slices: tuple[Counts, ...]
    phases: tuple[Counts, ...]
    surplus: int  # answers that nobody had asked for
    unconnected: int  # connections that were refused


@dataclass(frozen=True, slots=True)
class Report:
    """All of them. Units: `began_s` is on the monotonic clock, which processes share."""

    began_s: float
    busy_ratio: float  # of the generator's turns, those that moved something, by time
    lateness_p99_s: float  # of sending, behind the time that was due
    clients: tuple[ClientsReport, ...]
    reconnected: int = 0  # slow and idle connections that the server had closed

    def of(self, name: str) -> ClientsReport:
        """The clients of that name."""
        return next(one for one in self.clients if one.name == name)


def encode_course(course: Course) -> str:
    """The course as JSON, for the generator's own process."""
    return json.dumps(asdict(course))


def decode_course(text: str) -> Course:
    """The course that `encode_course` wrote."""
    raw = json.loads(text)
    clients = []
    for one in raw["clients"]:
        rates = one.pop("rates_per_s")
        headers = tuple(one.pop("headers"))
        rates = None if rates is None else tuple(rates)
        clients.append(Clients(rates_per_s=rates, headers=headers, **one))
    return Course(raw["port"], tuple(raw["phases_s"]), tuple(clients), raw["slow"], raw["idle"])


def decode_report(raw: Mapping[str, Any]) -> Report:
    """The report that the generator's process said."""
    clients = tuple(
        ClientsReport(
            one["name"],
            tuple(map(_decode_counts, one["slices"])),
            tuple(map(_decode_counts, one["phases"])),
            one["surplus"],
            one["unconnected"],
        )
        for one in raw["clients"]
    )
    return Report(
        raw["began_s"], raw["busy_ratio"], raw["lateness_p99_s"], clients, raw["reconnected"]
    )


def _decode_counts(raw: Mapping[str, Any]) -> Counts:
    buckets = {int(exponent): count for exponent, count in raw["buckets"].items()}
    return Counts(**{**raw, "buckets": buckets})


class Player:
    """A generator at work."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def began_s(self) -> float:
        """Wait for its start; return when that was. Raises: GeneratorFailed."""
        began_s: float = self._hear()["began_s"]
        return began_s

    def report(self) -> Report:
        """Wait for its end; once, after `began_s`. Raises: GeneratorFailed."""
        return decode_report(self._hear())

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise GeneratorFailed(f"the generator ended with {self._process.wait(MARGIN_S)}")
        return json.loads(line)


@contextmanager
def playing(course: Course, cpu: int | None, scratch: Path) -> Iterator[Player]:
    """Play the course in a process of its own on `cpu`; it does not outlive the block, or hang."""
    file = scratch / "course.json"
    file.write_text(encode_course(course))
    command = pinned([sys.executable, "-m", "bench.surge", str(file)], cpu)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        watchdog = threading.Timer(sum(course.phases_s) + GRACE_S + MARGIN_S, process.kill)
        watchdog.start()
        try:
            yield Player(process)
        finally:
            watchdog.cancel()
            if process.poll() is None:
                process.kill()


def play(course: Course, cpu: int | None, scratch: Path) -> Report:
    """Play the course to its end. Raises: GeneratorFailed."""
    with playing(course, cpu, scratch) as player:
        player.began_s()
        return player.report()
