"""Routing documents of many models beside that of one: what they cost.

`python -m bench.planning --models 1 1000 --repeats N` prints by number of models, each of four
variants: {"1000": {"weight": [...], "sticky": [...], "bytes": [...], "heard_s": [...],
"anew_s": [...], "one_s": [...]}}. `weight` and `sticky` are seconds a decision, another model
each time; `bytes` are what documents, arms and plan hold. The rest are seconds on a replica's
loop: `heard_s` to read a table that its supervisor sent, `anew_s` to plan and answer by it
where nothing was known before, `one_s` where it differs from the last in one document.

Models have no sessions here: of a version there is what routing sees of it.
"""

import argparse
import asyncio
import gc
import json
import random
import tracemalloc
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

import uvloop

from bench.deciding import BY_HEADER, no_mirror
from bench.lookup import SIGNATURE
from bench.stages import ReadyModel, a_record
from gateway.app.arms import Arms
from gateway.app.opened import Opened
from gateway.batch.batcher import Batcher
from gateway.control.messages import TO_REPLICA, Entry, Publish, Table
from gateway.core.batching import Policy
from gateway.core.documents import Document, Sticky, Variant
from gateway.core.ranges import apportion
from gateway.flow import Flow
from gateway.observe.record import Record
from gateway.types import Call, Outputs, Version

WEIGHTS_BP = {"stable": 8500, "canary": 500, "third": 500, "fourth": 500}
DECISIONS = 4_000
TRIES = 5  # of which the shortest counts
STICKY = {"weight": None, "sticky": BY_HEADER}

Held = dict[str, dict[str, Opened | str]]
Headers = tuple[tuple[bytes, bytes], ...]


class Planned(NamedTuple):
    """A table that is in force."""

    table: Table
    arms: Arms
    flow: Flow


def held_of(models: int) -> Held:
    """So many models, each with a version a variant, on the running loop."""
    return {
        f"model-{number}": {
            str(version): _opened(f"model-{number}", str(version))
            for version in range(1, 1 + len(WEIGHTS_BP))
        }
        for number in range(models)
    }


def _opened(model: str, version: str) -> Opened:
    run, policy = ReadyModel().run, Policy()
    return Opened(
        Version(model, version, SIGNATURE),
        lambda record: Batcher(run, policy, record),
        a_record(),
        AsyncExitStack(),
        _execute,
    )


def _execute(_calls: Sequence[Call]) -> Outputs:
    raise AssertionError("nobody asks a shadow here")


def table_of(held: Held, sticky: Sticky | None) -> Table:
    """A document for each model."""
    rows = len(WEIGHTS_BP)
    entries = {
        model: Entry(
            None,
            {},
            {},
            document_of(model, sticky),
            {name: 1 + at * rows + place for place, name in enumerate(WEIGHTS_BP)},
        )
        for at, model in enumerate(held)
    }
    return Table(1, entries)


def document_of(model: str, sticky: Sticky | None) -> Document:
    """A model's document, accepted as a supervisor accepts it."""
    variants = tuple(
        Variant(name, str(version), weight_bp)
        for version, (name, weight_bp) in enumerate(WEIGHTS_BP.items(), 1)
    )
    return Document(
        model, 1, variants, sticky=sticky, fallback="stable", pieces=apportion((), variants)
    )


def plan(held: Held, table: Table, record: Record) -> Planned:
    """Put a table in force where nothing was; one record stands for all rows."""
    planned = Planned(table, Arms(lambda _row: record, record, no_mirror), Flow({}, {}))
    follow(planned, held, table)
    return planned


def follow(planned: Planned, held: Held, table: Table) -> None:
    """Put another table in force."""
    found, _, _ = planned.arms.plan(table, held)
    planned.flow.replace(found)


def changed(table: Table, model: str) -> Table:
    """The same with the next revision of one document, whose arms are others."""
    entry = table.models[model]
    assert entry.document is not None
    document = replace(entry.document, revision=entry.document.revision + 1)
    rows = {name: row + len(table.models) * len(WEIGHTS_BP) for name, row in entry.rows.items()}
    models = {**table.models, model: replace(entry, document=document, rows=rows)}
    return Table(table.revision + 1, models)


def decide_s(flow: Flow, asked: Sequence[tuple[str, Headers]]) -> float:
    """Seconds a decision, its model's route looked up."""
    routes, choose = flow.routes, flow.choose
    started = perf_counter()
    for model, headers in asked:
        choose(routes[model], headers)
    return (perf_counter() - started) / len(asked)


def asked_of(models: Sequence[str]) -> list[tuple[str, Headers]]:
    """Who asks what: names and headers are objects of their own, as from requests."""
    names = list(models)
    random.Random(1).shuffle(names)
    return [
        ("".join(list(names[at % len(names)])), ((b"x-user-id", b"user-%d" % at),))
        for at in range(DECISIONS)
    ]


def bytes_of(held: Held) -> int:
    """What documents, arms and plan hold; the versions themselves not."""
    record = a_record()
    gc.collect()
    tracemalloc.start()
    planned = plan(held, table_of(held, BY_HEADER), record)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert planned.flow.routes
    return size


async def close(held: Held) -> None:
    """Let go of all batchers."""
    opened = [one for some in held.values() for one in some.values() if isinstance(one, Opened)]
    await asyncio.gather(*(one.close(1.0) for one in opened))


async def measure(counts: Sequence[int], repeats: int) -> dict[str, dict[str, list[float]]]:
    """All figures by number of models, in repeats that alternate."""
    held = {count: held_of(count) for count in counts}
    seen: dict[str, dict[str, list[float]]] = {}
    times: dict[int, dict[str, list[float]]] = {
        count: {name: [] for name in (*STICKY, "heard_s", "anew_s", "one_s")} for count in counts
    }
    for count in counts:
        seen[str(count)] = {"bytes": [bytes_of(held[count])], **times[count]}
    await _decide(held, times, repeats)
    for _ in range(repeats):
        for count in counts:
            await _plan(held[count], times[count])
    for some in held.values():
        await close(some)
    return seen


async def _decide(
    held: Mapping[int, Held], times: Mapping[int, dict[str, list[float]]], repeats: int
) -> None:
    flows = {
        (count, name): plan(some, table_of(some, sticky), a_record()).flow
        for count, some in held.items()
        for name, sticky in STICKY.items()
    }
    asked = {count: asked_of(list(some)) for count, some in held.items()}
    gc.collect()
    gc.freeze()
    for _ in range(repeats):
        shortest = dict.fromkeys(flows, float("inf"))
        for _ in range(TRIES):
            for (count, name), flow in flows.items():
                seen_s = decide_s(flow, asked[count])
                shortest[count, name] = min(shortest[count, name], seen_s)
        for (count, name), seen_s in shortest.items():
            times[count][name].append(seen_s)


async def _plan(held: Held, times: dict[str, list[float]]) -> None:
    """Plan where nothing was known, and again with one document changed."""
    first, record = table_of(held, BY_HEADER), a_record()
    started = perf_counter()
    planned = plan(held, first, record)
    times["anew_s"].append(perf_counter() - started)
    said = TO_REPLICA.dump_json(Publish(changed(first, next(iter(held)))))
    started = perf_counter()
    heard = TO_REPLICA.validate_json(said)
    times["heard_s"].append(perf_counter() - started)
    assert isinstance(heard, Publish)
    started = perf_counter()
    follow(planned, held, heard.table)
    times["one_s"].append(perf_counter() - started)
    for left in planned.arms.leave():
        if left.opened is not None and left.batcher is not None:
            await left.opened.close_arm(left.batcher, 1.0)


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.planning")
    parser.add_argument("--models", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    print(json.dumps(uvloop.run(measure(given.models, given.repeats))), flush=True)


if __name__ == "__main__":
    main()
