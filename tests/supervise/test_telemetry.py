"""The document that whoever judges versions takes differences of."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from gateway.core.breaker import State
from gateway.observe import layout
from gateway.observe.memory import Memory
from gateway.observe.record import Record
from gateway.supervise.ledger import Ledger
from gateway.supervise.telemetry import telemetry
from tests.supervise.cells import execute, refuse


@pytest.fixture
def memory() -> Iterator[Memory]:
    with Memory.create() as memory:
        yield memory


def document(ledger: Ledger) -> dict[str, Any]:
    return telemetry(ledger.image(), monotonic_ns=5, wall_ns=7)


def test_an_idle_host_says_who_it_is_and_when() -> None:
    ledger = Ledger()
    none = dict.fromkeys(layout.OUTCOME_NAMES, 0)
    assert document(ledger) == {
        "epoch": ledger.epoch,
        "monotonic_ns": 5,
        "wall_ns": 7,
        "connections": 0,
        "moved_total": 0,
        "bounds_s": list(layout.BUCKETS_S),
        "refusals": {
            "outcomes": none,
            "request": [0] * layout.HISTOGRAM_CELLS,
            "shed": dict.fromkeys(layout.SHED_NAMES, 0),
        },
        "keys": [],
    }


def test_every_counter_of_a_key_is_told(memory: Memory) -> None:
    ledger = Ledger()
    ledger.attach(memory)
    row = memory.row(ledger.assign("m", "1", "a", "canary", 3))
    execute(row, 4)
    execute(row, 1)
    refuse(row, "overloaded", 2)
    refuse(row, "model_failed", 1)
    row[layout.EXECUTING] = 1
    row[layout.FAIL_NS] = 11
    row[layout.SHED_ROWS] = 8
    row[layout.FALLBACKS] = 9
    row[layout.RETRIES] = 10
    row[layout.RETRIES] = 10
    row[layout.SHED + layout.SHED_NAMES.index("bytes")] = 6
    row[layout.SHADOWED] = 3
    row[layout.DISAGREEMENTS + 1] = 2
    for state in (State.CLOSED, State.OPEN):
        Record(row).breaker("thread", state)
    (key,) = document(ledger)["keys"]
    assert key == {
        "model": "m",
        "version": "1",
        "digest": "a",
        "arm": "canary",
        "revision": 3,
        "executing": 1,
        "last_inference_ms": 2,
        "counters": {
            "success_ns": 25_000,
            "fail_ns": 11,
            **dict.fromkeys(("queue_ns", "input_ns", "infer_ns", "output_ns"), 5_000),
            "execution_ns": 6_000,
            "executions": 2,
            "inferences": 5,
            "shed_rows": 8,
            "fallbacks": 9,
            "retries": 10,
        },
        "outcomes": dict.fromkeys(layout.OUTCOME_NAMES, 0)
        | {"success": 5, "overloaded": 2, "model_failed": 1},
        "shed": dict.fromkeys(layout.SHED_NAMES, 0) | {"bytes": 6},
        "breakers": {"openings": 1, "states": {"thread": 2}},
        "shadow": {
            "shadowed": {"agreed": 3, "disagreed": 0, "failed": 0, "dropped": 0},
            "disagreements": [0, 2, *[0] * (layout.MOST_OUTPUTS - 2)],
        },
        "histograms": {
            "request": [6, *[0] * (layout.HISTOGRAM_CELLS - 1)],
            "queue": [5, *[0] * (layout.HISTOGRAM_CELLS - 1)],
            "execution": [2, *[0] * (layout.HISTOGRAM_CELLS - 1)],
        },
        "sizes": [
            {"rows": rows, "executions": 1, "input_ns": 1000, "infer_ns": 1000, "output_ns": 1000}
            for rows in (1, 4)
        ],
    }


def test_a_histogram_has_a_bucket_for_what_is_above_every_bound(memory: Memory) -> None:
    ledger = Ledger()
    ledger.attach(memory)
    memory.row(ledger.assign("m", "1", "a"))
    told = document(ledger)
    for buckets in told["keys"][0]["histograms"].values():
        assert len(buckets) == len(told["bounds_s"]) + 1


def test_refusals_connections_and_moves_are_told(memory: Memory) -> None:
    ledger = Ledger()
    ledger.attach(memory)
    refuse(memory.row(0), "unknown_model", 3)
    refuse(memory.row(0), "internal", 1)
    memory.row(0)[layout.CONNECTIONS] = 2
    memory.row(0)[layout.MOVED] = 1
    told = document(ledger)
    assert told["refusals"]["outcomes"]["unknown_model"] == 3
    assert told["refusals"]["request"][0] == 1
    assert (told["connections"], told["moved_total"]) == (2, 1)


def test_the_document_is_json(memory: Memory) -> None:
    ledger = Ledger()
    ledger.attach(memory)
    execute(memory.row(ledger.assign("m", "1", "a")))
    told = document(ledger)
    assert orjson.loads(orjson.dumps(told)) == told


def test_a_difference_of_two_documents_is_what_happened_between_them(memory: Memory) -> None:
    ledger = Ledger()
    ledger.attach(memory)
    row = ledger.assign("m", "1", "a")
    execute(memory.row(row), 3)
    before = document(ledger)
    execute(memory.row(row), 2)
    ledger.detach(memory)
    after = document(ledger)
    assert before["epoch"] == after["epoch"]
    (old,), (new,) = before["keys"], after["keys"]
    grown = {name: new["counters"][name] - old["counters"][name] for name in new["counters"]}
    assert (grown["executions"], grown["inferences"]) == (1, 2)
    assert new["outcomes"]["success"] - old["outcomes"]["success"] == 2
