"""The ladder: every rung at every number of connections, in rounds."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from bench.ratios import Spread, spread
from bench.rungs import ladder
from bench.stand import Stand
from bench.wrk import Window

# The last rung again, by clients that name each request: no head is remembered.
NEW_HEADS = "gateway, each head new"
BOUNDED_RATIO = 0.9  # a generator busier than this may be what was measured


@dataclass(frozen=True, slots=True)
class Row:
    """One rung at one number of connections: medians over the rounds."""

    rung: str
    connections: int
    requests_per_s: Spread
    p50_s: float
    p99_s: float
    cpu_per_request_s: float
    generator_ratio: float

    @property
    def is_bounded_by_generator(self) -> bool:
        """Whether the generator was too busy for the row to speak of the server alone."""
        return self.generator_ratio > BOUNDED_RATIO


def row(rung: str, connections: int, windows: Sequence[Window]) -> Row:
    """Sum up the rounds of one rung."""
    return Row(
        rung,
        connections,
        spread(window.requests_per_s for window in windows),
        median(window.p50_s for window in windows),
        median(window.p99_s for window in windows),
        median(window.cpu_per_request_s for window in windows),
        median(window.generator_ratio for window in windows),
    )


def climb(stand: Stand) -> list[Row]:
    """Measure every rung once a round, side by side, so that no rung has the quiet minutes."""
    effort = stand.effort
    rungs = ladder(stand.models)
    windows: dict[tuple[str, int], list[Window]] = {}
    with ExitStack() as stack:
        servers = [stack.enter_context(stand.serving(rung)) for rung in rungs]
        for _ in range(effort.rounds):
            for connections in effort.connections:
                for server in servers:
                    window = stand.load(server, connections, effort.ladder_window_s)
                    windows.setdefault((server.name, connections), []).append(window)
                window = stand.load(
                    servers[-1], connections, effort.ladder_window_s, names_itself=True
                )
                windows.setdefault((NEW_HEADS, connections), []).append(window)
    return [
        row(name, connections, windows[name, connections])
        for connections in effort.connections
        for name in (*(rung.name for rung in rungs), NEW_HEADS)
    ]
