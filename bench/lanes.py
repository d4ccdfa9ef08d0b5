"""The hot path without sockets, with telemetry and without.

`python -m bench.lanes MODEL BODIES --groups N --lanes 1 64` prints, by number of lanes, seconds a
request with a record and without: {"lanes": {"64": {"counted": [...], "silent": [...]}},
"fed_s": ...}; each list holds one figure a group, the shortest of its windows. Both kinds
call their record and read the clocks that feed it: what that costs a batch is `fed_s`.

Lanes, intake, batcher, ONNX Runtime, encoder and record are the gateway's own; only the
transports are ours and swallow what is written. Windows of both kinds alternate, and each
group has new lanes, so that neither kind has the better place in memory throughout.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from time import monotonic, perf_counter, perf_counter_ns
from timeit import repeat
from typing import Any

import uvloop

from bench.requests import INFER, Target
from gateway.app.following import settle_memory
from gateway.batch.batcher import Batcher
from gateway.batch.recording import Recording
from gateway.core.batching import Policy as BatchingPolicy
from gateway.errors import Shed
from gateway.execute.executors import Inline
from gateway.execute.session import Session, SessionSettings
from gateway.flow import Flow, Served, Tally
from gateway.observe.memory import Memory
from gateway.observe.record import Record
from gateway.types import Arm, Call, Outputs, Version
from gateway.wire.heads import HeadCache
from gateway.wire.intake import Intake
from gateway.wire.intake import Policy as IntakePolicy
from gateway.wire.lane import Lane
from gateway.wire.port import Policy as PortPolicy
from gateway.wire.port import Port

KINDS = ("counted", "silent")
WINDOWS = 100  # of each kind in a group
WINDOW_REQUESTS = 256
BATCH_ROWS = 256
FEEDS = 10_000


class Silent:
    """Records nothing: what telemetry costs is measured against it."""

    def begin(self) -> None:
        """Hear nothing."""

    def finish(
        self, calls: Sequence[Call], outputs: Outputs | None, started: float, ended: float
    ) -> None:
        """Hear nothing."""

    def complete(self, call: Call, outputs: Outputs, started: float, ended: float) -> None:
        """Hear nothing."""

    def refuse(self, code: str, elapsed_s: float, rows: int = 0) -> None:
        """Hear nothing."""

    def shed(self, reason: Shed) -> None:
        """Hear nothing."""

    def fell_back(self) -> None:
        """Hear nothing."""


class Sink(asyncio.Transport):
    """Swallows what is written, and counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, data: "bytes | bytearray | memoryview[int]") -> None:
        self.writes += 1

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Read on: who sends here waits for nobody."""

    def resume_reading(self) -> None:
        """Read on."""

    def close(self) -> None:
        """Stay: the lane is taken down by its bank."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Several lanes of one replica."""

    lanes: Sequence[Lane]
    sinks: Sequence[Sink]

    async def window_s(self, requests: Sequence[bytes]) -> float:
        """Seconds a request; each turn of the loop brings every lane its next one."""
        lanes, feed = self.lanes, cycle(requests)
        turns = max(1, WINDOW_REQUESTS // len(lanes))
        before = sum(sink.writes for sink in self.sinks)
        started = perf_counter()
        for _ in range(turns):
            for lane, request in zip(lanes, islice(feed, len(lanes)), strict=True):
                lane.data_received(request)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        elapsed_s = perf_counter() - started
        answered = sum(sink.writes for sink in self.sinks) - before
        assert answered == turns * len(lanes), "a request was not answered in its turn"
        return elapsed_s / answered


@asynccontextmanager
async def open_bank(
    session: Session, lanes: int, record: Recording, tally: Tally
) -> AsyncIterator[Bank]:
    """Lanes before `digits`, which tell `record` of executions and `tally` of refusals."""
    arm = Arm(Version("digits", "1", session.signature))
    inline = Inline(session.execute, 1.0)
    async with Batcher(inline.run, BatchingPolicy(max_rows=BATCH_ROWS), record) as batcher:
        flow = Flow({"digits": Served(arm, {"1": arm})}, {arm: batcher})
        intake = Intake(flow, IntakePolicy(), tally)
        intake.keep({arm: tally})
        with lay(intake, lanes) as bank:
            yield bank


@contextmanager
def lay(intake: Intake, lanes: int) -> Iterator[Bank]:
    """So many lanes that lead to `intake`, on the running loop, until the block ends."""
    policy = PortPolicy()
    port = Port(intake, _nobody, policy, HeadCache(policy.heads), set(), set(), lambda: 1.0)
    loop = asyncio.get_running_loop()
    bank = Bank([Lane(port, loop) for _ in range(lanes)], [Sink() for _ in range(lanes)])
    for lane, sink in zip(bank.lanes, bank.sinks, strict=True):
        lane.connection_made(sink)
    yield bank
    for lane in bank.lanes:
        lane.connection_lost(None)


async def _nobody(*_: Any) -> None:
    raise AssertionError("only inference is asked for here")


async def group(session: Session, lanes: int, requests: Sequence[bytes]) -> dict[str, float]:
    """The shortest of many windows of each kind, in seconds a request."""
    shortest = dict.fromkeys(KINDS, float("inf"))
    with Memory.create() as memory:
        record, silent = Record(memory.row(1)), Silent()
        async with (
            open_bank(session, lanes, record, Record(memory.row(0))) as counted,
            open_bank(session, lanes, silent, silent) as uncounted,
        ):
            banks = dict(zip(KINDS, (counted, uncounted), strict=True))
            settle_memory()
            for turn in range(WINDOWS):
                for kind in KINDS if turn % 2 else reversed(KINDS):
                    seen_s = await banks[kind].window_s(requests)
                    shortest[kind] = min(shortest[kind], seen_s)
    return shortest


def fed_s() -> float:
    """Seconds a batch for what is done for telemetry's sake outside of the record."""
    silent = Silent()

    def feed() -> None:
        for _ in range(4):
            perf_counter_ns()  # the session times joining, running, checking
        monotonic()
        silent.begin()
        silent.finish((), None, 0.0, 0.0)

    return min(repeat(feed, number=FEEDS, repeat=7)) / FEEDS


async def measure(
    model: Path, bodies: Path, groups: int, counts: Sequence[int]
) -> dict[str, dict[str, list[float]]]:
    """Seconds a request, by number of lanes and kind, one figure a group."""
    session = Session(model, SessionSettings(max_batch_rows=1024))
    requests = Target(INFER, bodies).formatted()
    seen: dict[str, dict[str, list[float]]] = {
        str(lanes): {kind: [] for kind in KINDS} for lanes in counts
    }
    for _ in range(groups):
        for lanes in counts:
            for kind, shortest_s in (await group(session, lanes, requests)).items():
                seen[str(lanes)][kind].append(shortest_s)
    return seen


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.lanes")
    parser.add_argument("model", type=Path)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--groups", type=int, default=15)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 64])
    given = parser.parse_args()
    lanes = uvloop.run(measure(given.model, given.bodies, given.groups, given.lanes))
    print(json.dumps({"lanes": lanes, "fed_s": fed_s()}), flush=True)


if __name__ == "__main__":
    main()
