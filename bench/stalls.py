"""A replica whose models come and go, and how long its event loop stands still meanwhile.

`python -m bench.stalls MODELS --turns N --quiet N --rest S --every S` opens the rooms of a
replica, serves `digits` on a free port and prints {"port": ...}. After a line on its standard
input it prints one object, and after another it ends:

    quiet     stalls of so many windows of a second in which nothing is done
    changes   for each load, reload and unload of every other model in MODELS: which, how
              long it took, and the longest stall of the loop from its start to its end
    rest      the longest stall of so many seconds after the last, in which the replica gives
              back what models left, and its resident bytes before and after

It is all that a replica is but the process around it: what a supervisor says comes as
calls of the catalog. Versions are proved by a child, as a supervisor has it done.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import uvloop

from bench.ticker import Ticker
from gateway.app.catalog import Catalog
from gateway.app.desk import LocalDesk
from gateway.app.following import settle_memory
from gateway.app.returning import EVERY_S, resident_bytes
from gateway.app.rooms import open_rooms
from gateway.app.serving import Server, settings_of
from gateway.config import Config, load, parse_model
from gateway.control.messages import Assigned, Entry, Table
from gateway.observe.memory import Memory
from gateway.repository.discover import discover
from gateway.repository.proof import Proof
from gateway.supervise.prover import prover_of
from gateway.supervise.slots import bind_slots, listen

QUIET_S = 1.0
SETTLE_S = 0.5  # a session is let go of after its version is closed, by another thread
MOST_S = 540.0
SERVED = "digits"


class Plan(NamedTuple):
    """How often each change is made, and how long nothing is done before and after."""

    turns: int
    quiet: int
    rest_s: float
    every_s: float  # how often the replica looks for memory to give back


class Holder:
    """Loads and unloads versions as a supervisor would have it done, one at a time."""

    def __init__(self, proofs: Mapping[str, Proof]) -> None:
        self.catalog: Catalog | None = None
        self._proofs = proofs
        self._held: dict[str, Assigned] = {}
        self._gone: dict[int, asyncio.Event] = {}
        self._rows = 0
        self._revision = 0

    def hear_retired(self, rows: tuple[int, ...]) -> None:
        """Hear that nobody writes to these rows any more."""
        for row in rows:
            self._gone[row].set()

    async def load(self, model: str) -> None:
        """Serve a version; if it is served already, a new session of it, and close the old."""
        assert self.catalog is not None
        self._rows += 1
        self._gone[self._rows] = asyncio.Event()
        old, new = self._held.get(model), Assigned(self._proofs[model], self._rows)
        refused = await self.catalog.prepare((new,))
        if refused:
            raise RuntimeError(f"not loaded: {refused}")
        self._held[model] = new
        await self._publish(old)

    async def unload(self, model: str) -> None:
        """Serve it no more, and close it."""
        await self._publish(self._held.pop(model))

    async def _publish(self, leaving: Assigned | None) -> None:
        assert self.catalog is not None
        self._revision += 1
        models = {
            name: Entry(one.proof.found.version, {one.proof.found.version: one.proof.digest})
            for name, one in self._held.items()
        }
        self.catalog.publish(Table(self._revision, models))
        if leaving is not None:
            await self._gone[leaving.row].wait()


async def prove_all(config: Config) -> dict[str, Proof]:
    """Prove what is in the folder of models, by model."""
    async with prover_of(config) as prover:
        return {
            found.model: await prover.prove(found)
            for found in discover(config.models, parse_model).found
        }


async def watch(holder: Holder, models: list[str], plan: Plan) -> dict[str, Any]:
    """Have each model come, come anew and go, and see how the loop bears it."""
    ticker = Ticker()
    still = []
    for _ in range(plan.quiet):
        ticker.take()
        await asyncio.sleep(QUIET_S)
        still.append(ticker.take()._asdict())
    acts = {"load": holder.load, "reload": holder.load, "unload": holder.unload}
    changes = []
    for _ in range(plan.turns):
        for model in models:
            for name, act in acts.items():
                ticker.take()
                started = perf_counter()
                await act(model)
                took_s = perf_counter() - started
                await asyncio.sleep(SETTLE_S)
                seen = ticker.take()
                changes.append({"model": model, "act": name, "took_s": took_s, **seen._asdict()})
    before = resident_bytes()
    await asyncio.sleep(plan.rest_s)
    rest = {"before_bytes": before, "after_bytes": resident_bytes(), **ticker.take()._asdict()}
    return {"quiet": still, "changes": changes, "rest": rest}


async def measure(models: Path, plan: Plan, say: Callable[[object], None]) -> None:
    """Serve `digits`, say where, wait for the word, and say what was seen."""
    config = load(None, {}, {"models": str(models), "drain_timeout_s": 1.0})
    proofs = await prove_all(config)
    holder, memory = Holder(proofs), Memory.create()
    async with open_rooms(
        config,
        memory,
        holder.hear_retired,
        lambda flow, catalog: LocalDesk(flow, catalog.served, memory),
        returns_every_s=plan.every_s,
    ) as replica:
        holder.catalog = replica.catalog
        await holder.load(SERVED)
        settle_memory()
        slots = bind_slots("127.0.0.1", 0, 1)
        server = Server(settings_of(config, replica), replica.drain, slots)
        serving = asyncio.create_task(server.serve(sockets=[]))
        await server.accept(0)
        listen(slots)
        say({"port": slots[0].getsockname()[1]})
        await asyncio.to_thread(sys.stdin.readline)
        async with asyncio.timeout(MOST_S):
            say(await watch(holder, sorted(set(proofs) - {SERVED}), plan))
        await asyncio.to_thread(sys.stdin.readline)  # until then it is under load
        server.drain()
        await serving


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.stalls")
    parser.add_argument("models", type=Path)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--quiet", type=int, default=5)
    parser.add_argument("--rest", type=float, default=0.0)
    parser.add_argument("--every", type=float, default=EVERY_S)
    given = parser.parse_args()
    plan = Plan(given.turns, given.quiet, given.rest, given.every)

    def say(message: object) -> None:
        print(json.dumps(message), flush=True)

    uvloop.run(measure(given.models, plan, say))


if __name__ == "__main__":
    main()
