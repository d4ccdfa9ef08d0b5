"""The protocol's statistics, and the identities that hold among them."""

from array import array
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe import layout
from gateway.observe.counts import ZERO, Counts, read
from gateway.observe.statistics import statistics
from tests.supervise.cells import execute, refuse

DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
COMPUTED = ("compute_input", "compute_infer", "compute_output")


def a_row() -> memoryview:
    return memoryview(array("q", bytes(8 * layout.ROW_CELLS)))


def counted(*executions: int, each_ns: int = 1000) -> Counts:
    row = a_row()
    for rows in executions:
        execute(row, rows, each_ns)
    return read(row)


def the_only(*counts: Counts) -> dict[str, Any]:
    document: dict[str, Any] = statistics([("m", "1", one) for one in counts])
    (row,) = document["model_stats"]
    assert isinstance(row, dict)
    return row


def test_a_version_that_was_never_asked_has_a_row_of_zeros() -> None:
    nothing = {"count": 0, "ns": 0}
    assert statistics([("m", "1", ZERO)]) == {
        "model_stats": [
            {
                "name": "m",
                "version": "1",
                "last_inference": 0,
                "inference_count": 0,
                "execution_count": 0,
                "inference_stats": dict.fromkeys((*DURATIONS, "cache_hit", "cache_miss"), nothing),
                "response_stats": {},
                "memory_usage": [],
                "batch_stats": [],
            }
        ]
    }


def test_nothing_served_is_an_empty_list() -> None:
    assert statistics([]) == {"model_stats": []}


def test_what_was_counted_is_told() -> None:
    row = the_only(counted(4, 4, 1))
    assert row["inference_count"] == 9
    assert row["execution_count"] == 3
    assert row["last_inference"] == 3
    stats = row["inference_stats"]
    assert stats["success"] == {"count": 9, "ns": 45_000}
    assert stats["queue"] == {"count": 9, "ns": 9_000}
    assert [stats[name] for name in COMPUTED] == [{"count": 9, "ns": 9_000}] * 3
    assert stats["fail"] == stats["cache_hit"] == stats["cache_miss"] == {"count": 0, "ns": 0}
    assert row["batch_stats"] == [
        {"batch_size": 1, **{name: {"count": 1, "ns": 1_000} for name in COMPUTED}},
        {"batch_size": 4, **{name: {"count": 2, "ns": 2_000} for name in COMPUTED}},
    ]


def test_batch_sizes_ascend_whatever_came_first() -> None:
    row = the_only(counted(8, 1, 128, 3))
    assert [size["batch_size"] for size in row["batch_stats"]] == [1, 3, 8, 128]


def test_keys_of_one_version_are_summed() -> None:
    assert the_only(counted(4, 1), ZERO, counted(4)) == {
        **the_only(counted(4, 4, 1)),
        "last_inference": 2,
    }


def test_versions_stand_in_the_order_of_their_first_sight() -> None:
    names = [("b", "2"), ("a", "1"), ("b", "10"), ("b", "2"), ("a", "1")]
    document: dict[str, Any] = statistics([(*name, ZERO) for name in names])
    found = [(row["name"], row["version"]) for row in document["model_stats"]]
    assert found == [("b", "2"), ("a", "1"), ("b", "10")]


@pytest.mark.parametrize("outcome", layout.OUTCOME_NAMES)
def test_only_what_was_queued_and_failed_is_a_failure(outcome: str) -> None:
    row = a_row()
    refuse(row, outcome, 3)
    stats = the_only(read(row))["inference_stats"]
    expected = 3 if outcome in layout.FAILED_OUTCOMES else 0
    assert stats["fail"]["count"] == expected
    assert stats["success"]["count"] == (3 if outcome == "success" else 0)


def test_the_time_of_failures_is_told_with_them() -> None:
    row = a_row()
    refuse(row, "deadline_exceeded", 2)
    row[layout.FAIL_NS] = 77
    assert the_only(read(row))["inference_stats"]["fail"] == {"count": 2, "ns": 77}


EXECUTIONS = st.lists(
    st.tuples(st.integers(1, 300), st.integers(0, 1 << 40)), min_size=0, max_size=30
)


@given(st.lists(EXECUTIONS, min_size=1, max_size=3))
def test_the_identities_of_the_protocol_hold(replicas: Sequence[Sequence[tuple[int, int]]]) -> None:
    counts = []
    for executions in replicas:
        row = a_row()
        for rows, each_ns in executions:
            execute(row, rows, each_ns)
        counts.append(read(row))
    told = the_only(*counts)
    stats, sizes = told["inference_stats"], told["batch_stats"]
    assert told["inference_count"] == sum(
        size["batch_size"] * size["compute_infer"]["count"] for size in sizes
    )
    assert told["inference_count"] == sum(rows for one in replicas for rows, _ in one)
    assert told["execution_count"] == sum(size["compute_infer"]["count"] for size in sizes)
    assert told["execution_count"] == sum(len(one) for one in replicas)
    for name in COMPUTED:
        assert stats[name]["count"] == stats["success"]["count"] - stats["cache_hit"]["count"]
    times_ns = [stats[name]["ns"] for name in ("queue", *COMPUTED)]
    assert stats["success"]["ns"] >= sum(times_ns)


@given(EXECUTIONS)
def test_every_number_is_whole_and_the_document_is_json(
    executions: Sequence[tuple[int, int]],
) -> None:
    row = a_row()
    for rows, each_ns in executions:
        execute(row, rows, each_ns)
    document = statistics([("m", "1", read(row))])
    assert orjson.loads(orjson.dumps(document)) == document
    assert b"." not in orjson.dumps(document)


@given(st.lists(EXECUTIONS, max_size=4))
def test_no_number_goes_back_as_calls_are_answered(
    moments: Sequence[Sequence[tuple[int, int]]],
) -> None:
    row = a_row()
    before = numbers(the_only(read(row)))
    for executions in moments:
        for rows, each_ns in executions:
            execute(row, rows, each_ns)
        after = numbers(the_only(read(row)))
        assert all(after[name] >= number for name, number in before.items())
        before = after


def numbers(row: dict[str, Any]) -> dict[str, int]:
    """Return every number of a version by where it stands."""
    found = {name: row[name] for name in ("last_inference", "inference_count", "execution_count")}
    groups = {"": row["inference_stats"]}
    groups |= {f"size {size['batch_size']} ": size for size in row["batch_stats"]}
    for place, group in groups.items():
        for name, duration in group.items():
            if isinstance(duration, dict):
                found |= {f"{place}{name} {unit}": number for unit, number in duration.items()}
    return found
