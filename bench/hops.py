"""What it takes to hand a batch to an executor and hear of it again, on a loop: the model aside.

Job    time round trips to a thread, and to a process through shared memory, of small and large
       batches of a model that gives back what it is given.
Never  stands for throughput: one batch is under way at a time, and nobody else wants the loop.
"""

import asyncio
import tempfile
from pathlib import Path
from time import perf_counter

import uvloop
from onnx import helper

from bench.ratios import Timing, spread
from bench.versions import model_of, write_version
from gateway.app.isolated import Places, plan_of
from gateway.config import Config, parse_model
from gateway.config.bounds import bounds_of
from gateway.execute.executors import Threads
from gateway.execute.instance import Finish
from gateway.execute.processes import Processes, Run
from gateway.repository.discover import discover
from gateway.repository.load import load
from gateway.repository.proof import Proof
from gateway.repository.prove import prove
from gateway.types import Arm, Call, Outputs, Version

REPEATS = 7
TRIPS = 200  # a repeat
WIDTH = 64
BATCHES = ((1, "one row"), (64, "64 rows"), (4096, "4,096 rows, 1 MiB"))
_TOML = '[batching]\nmax_batch_size = 4096\n[execution]\nexecutor = "process"\n'


def measure(trips: int = TRIPS) -> list[Timing]:
    """Time round trips of each batch, to each executor."""
    with tempfile.TemporaryDirectory(prefix="bench-hops-") as folder:
        proof = _proved(Path(folder))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_measure(proof, trips))


async def _measure(proof: Proof, trips: int) -> list[Timing]:
    loaded = load(proof)
    found = []
    async with (
        Threads(loaded.session.execute, 1) as threads,
        Processes(plan_of(proof), 1, Places()) as processes,
    ):
        for rows, what in BATCHES:
            call = _call(loaded.version, rows)
            for where, run in (("thread", threads.run), ("process", processes.run)):
                await _trips_s(run, call, trips)
                times = [await _trips_s(run, call, trips) for _ in range(REPEATS)]
                found.append(Timing(f"hop to a {where} and back, {what}", spread(times)))
    return found


async def _trips_s(run: Run, call: Call, trips: int) -> float:
    """Return the seconds of one round trip, as the mean of many, one after the other."""
    loop = asyncio.get_running_loop()
    started = perf_counter()
    for _ in range(trips):
        ended: asyncio.Future[Outputs | Exception] = loop.create_future()
        finish: Finish = ended.set_result
        run([call], finish)
        result = await ended
        assert isinstance(result, Outputs), result
    return (perf_counter() - started) / trips


def _call(version: Version, rows: int) -> Call:
    payload = bytes(4 * WIDTH * rows)
    return Call(Arm(version), (payload,), rows, ((WIDTH,),), lambda _: None)


def _proved(folder: Path) -> Proof:
    node = helper.make_node("Identity", ["x"], ["y"])
    write_version(folder, "echo", model_of("echo", [node], (WIDTH, WIDTH)), _TOML)
    (found,) = discover(folder, parse_model).found
    return prove(found, bounds_of(Config()), "bench")
