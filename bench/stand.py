"""The test stand: which processors, how long, how often, and what is sent.

Job    give every claim the same servers, generators and requests.
Never  measures by itself.
"""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.launch import Rung, Server, serving
from bench.requests import Target
from bench.wrk import Generator, Traffic, Window

BODIES = 1500  # distinct ones: more than any cache of recent requests would hold by chance


class OneProcessor(RuntimeError):
    """Server and generator would share a processor: nothing measured would mean anything."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often; wrk counts in whole seconds."""

    warmup_s: float = 1.0
    window_s: float = 3.0
    pairs: int = 5  # of interleaved windows per claim
    rounds: int = 3  # of the whole ladder
    ladder_window_s: float = 2.0
    connections: tuple[int, ...] = (1, 16, 64, 256)
    open_window_s: float = 5.0
    memory_requests: int = 2_000_000
    telemetry_groups: int = 15
    starts: int = 3  # of the gateway that knows many models
    turns: int = 7  # of loading, reloading and unloading each model
    trials: int = 5  # of killing, stopping and replacing replicas
    share_requests: int = 1_200_000  # that a split shares out
    surge_s: float = 30.0  # of more than can be borne
    surges: int = 3  # of each kind


QUICK = Effort(
    window_s=1.0,
    ladder_window_s=1.0,
    pairs=3,
    rounds=1,
    connections=(1, 64),
    open_window_s=2.0,
    memory_requests=200_000,
    telemetry_groups=5,
    starts=1,
    turns=1,
    trials=1,
    share_requests=100_000,
    surge_s=10.0,
    surges=1,
)


@dataclass(frozen=True, slots=True)
class Stand:
    """One run of the bench."""

    effort: Effort
    server_cpu: int
    generator_cpu: int
    scratch: Path
    models: Path
    digits: Target

    def serving(
        self,
        rung: Rung,
        *,
        is_free: bool = False,
        path: str | None = None,
        headers: tuple[str, ...] = (),
    ) -> AbstractContextManager[Server]:
        """Run `rung` until the block ends: on the server's processor, or, if free, on any.

        `path` answers rows of digits who shows `headers`; none: that of `digits` itself.
        """
        target = replace(self.digits, path=path or self.digits.path, headers=headers)
        return serving(rung, target, None if is_free else self.server_cpu, self.scratch)

    def load(
        self,
        server: Server,
        connections: int,
        window_s: float | None = None,
        *,
        names_itself: bool = False,
        is_free: bool = False,
    ) -> Window:
        """One closed-loop window of `digits` requests."""
        window_s = self.effort.window_s if window_s is None else window_s
        generator = self._generator(window_s, is_free)
        if names_itself:
            generator = replace(generator, target=replace(self.digits, names_itself=True))
        return generator.measure(server, connections)

    def traffic(
        self, port: int, connections: int, *, is_free: bool = False
    ) -> AbstractContextManager[Traffic]:
        """Send `digits` requests until the block ends, and count those that fail."""
        return self._generator(self.effort.window_s, is_free).traffic(port, connections)

    def _generator(self, window_s: float, is_free: bool) -> Generator:
        cpu = None if is_free else self.generator_cpu
        return Generator(cpu, self.digits, self.effort.warmup_s, window_s)


def two_processors() -> tuple[int, int]:
    """One for the server, one for the generator.

    Raises: OneProcessor.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise OneProcessor("the bench needs two processors: one serves, one generates load")
    return allowed[0], allowed[1]
