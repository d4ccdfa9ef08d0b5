"""Counts: what a row says, and sums that do not depend on the order."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.breaker import State
from gateway.observe import layout
from gateway.observe.counts import ZERO, Counts, plus, read, read_refusals, settled
from gateway.observe.layout import (
    FAILED_OUTCOMES,
    HISTOGRAM_CELLS,
    MOST_OUTPUTS,
    OUTCOME_NAMES,
    SHADOW_NAMES,
    SHED_NAMES,
)
from tests.fakes import a_row

SINGLE = 13  # fields that are one number each, the first ones
NUMBERS = st.integers(0, 1 << 60)
HISTOGRAMS = st.tuples(*[NUMBERS] * HISTOGRAM_CELLS)
SIZES = st.dictionaries(
    st.integers(1, 9), st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=4
)
COUNTS = st.builds(
    Counts,
    *[NUMBERS] * SINGLE,
    st.tuples(*[NUMBERS] * len(SHED_NAMES)),
    st.tuples(*[NUMBERS] * len(SHADOW_NAMES)),
    st.tuples(*[NUMBERS] * MOST_OUTPUTS),
    st.tuples(*[NUMBERS] * len(OUTCOME_NAMES)),
    HISTOGRAMS,
    HISTOGRAMS,
    HISTOGRAMS,
    SIZES,
    NUMBERS,
)


@given(COUNTS, COUNTS)
def test_it_does_not_matter_who_comes_first(one: Counts, other: Counts) -> None:
    assert plus(one, other) == plus(other, one)


@given(COUNTS, COUNTS, COUNTS)
def test_it_does_not_matter_who_is_added_first(a: Counts, b: Counts, c: Counts) -> None:
    assert plus(plus(a, b), c) == plus(a, plus(b, c))


@given(COUNTS)
def test_nothing_adds_nothing(counts: Counts) -> None:
    assert plus(counts, ZERO) == plus(ZERO, counts) == counts


@given(COUNTS, COUNTS)
def test_adding_changes_neither(one: Counts, other: Counts) -> None:
    sizes = dict(one.sizes), dict(other.sizes)
    plus(one, other)
    assert (one.sizes, other.sizes) == sizes


def test_a_sum_is_of_every_number_and_the_latest_moment() -> None:
    outcomes, times = tuple(range(len(OUTCOME_NAMES))), tuple(range(HISTOGRAM_CELLS))
    numbers = {field.name: place for place, field in enumerate(fields(Counts)[:SINGLE], start=1)}
    shadowed, disagreements = tuple(range(len(SHADOW_NAMES))), tuple(range(MOST_OUTPUTS))
    tuples = {"outcomes": outcomes, "request": times, "queue": times, "execution": times}
    shed = tuple(range(len(SHED_NAMES)))
    tuples |= {"shed": shed, "shadowed": shadowed, "disagreements": disagreements}
    one = Counts(**numbers, **tuples, sizes={1: (1, 2, 3, 4), 2: (1, 1, 1, 1)})  # type: ignore[arg-type]  # by name
    total = plus(one, one)
    assert total.last_inference_ms == one.last_inference_ms
    for name, number in numbers.items():
        if name != "last_inference_ms":
            assert getattr(total, name) == 2 * number
    assert total.outcomes == tuple(2 * count for count in outcomes)
    assert total.shed == tuple(2 * count for count in shed)
    assert total.shadowed == tuple(2 * count for count in shadowed)
    assert total.disagreements == tuple(2 * count for count in disagreements)
    assert total.request == total.queue == total.execution == tuple(2 * count for count in times)
    assert total.sizes == {1: (2, 4, 6, 8), 2: (2, 2, 2, 2)}


def test_every_cell_is_read_into_its_place() -> None:
    row = a_row()
    names = (
        *("executing", "last_inference_ms", "success_ns", "fail_ns", "queue_ns", "input_ns"),
        *("infer_ns", "output_ns", "execution_ns", "executions", "inferences", "shed_rows"),
        *("fallbacks", "retries"),
    )
    for place, name in enumerate(names, start=1):
        row[getattr(layout, name.upper())] = place
    row[layout.SUCCESS_NS] = 1000
    for place in range(len(OUTCOME_NAMES)):
        row[layout.OUTCOMES + place] = 100 + place
    for start in (layout.REQUEST, layout.QUEUE, layout.EXECUTION):
        for place in range(HISTOGRAM_CELLS):
            row[start + place] = 1000 * start + place
    for place in range(len(SHED_NAMES)):
        row[layout.SHED + place] = 400 + place
    for place in range(len(SHADOW_NAMES)):
        row[layout.SHADOWED + place] = 200 + place
    for place in range(MOST_OUTPUTS):
        row[layout.DISAGREEMENTS + place] = 300 + place
    row[layout.SIZES_USED] = 2
    for place in range(3 * layout.SIZE_CELLS):
        row[layout.SIZES + place] = 10 + place
    counts = read(row)
    for place, name in enumerate(names, start=1):
        assert getattr(counts, name) == (1000 if name == "success_ns" else place)
    assert counts.outcomes == tuple(range(100, 100 + len(OUTCOME_NAMES)))
    assert counts.shed == tuple(range(400, 400 + len(SHED_NAMES)))
    assert counts.shadowed == tuple(range(200, 200 + len(SHADOW_NAMES)))
    assert counts.disagreements == tuple(range(300, 300 + MOST_OUTPUTS))
    assert counts.request[:2] == (1000 * layout.REQUEST, 1000 * layout.REQUEST + 1)
    assert counts.queue[-1] == 1000 * layout.QUEUE + HISTOGRAM_CELLS - 1
    assert counts.execution[0] == 1000 * layout.EXECUTION
    assert counts.sizes == {10: (11, 12, 13, 14), 15: (16, 17, 18, 19)}


def test_a_row_that_was_never_written_is_zero() -> None:
    assert read(a_row()) is ZERO
    assert read_refusals(a_row()) == ZERO


@pytest.mark.parametrize(
    "part", [layout.QUEUE_NS, layout.INPUT_NS, layout.INFER_NS, layout.OUTPUT_NS]
)
def test_a_whole_is_never_less_than_its_parts_whatever_is_being_written(part: int) -> None:
    row = a_row()
    row[layout.SUCCESS_NS], row[layout.QUEUE_NS], row[part] = 10, 4, 8
    total = row[layout.QUEUE_NS] + (0 if part == layout.QUEUE_NS else 8)
    assert read(row).success_ns == max(10, total)


def test_of_row_zero_only_the_requests_are_read() -> None:
    row = a_row()
    row[layout.HEARTBEAT_NS], row[layout.CONNECTIONS], row[layout.MOVED] = 1 << 50, 3, 2
    malformed = OUTCOME_NAMES.index("malformed")
    row[layout.OUTCOMES + malformed] = 4
    row[layout.SHED_ROWS], row[layout.FAIL_NS], row[layout.REQUEST] = 6, 7, 8
    counts = read_refusals(row)
    assert counts.outcomes[malformed] == sum(counts.outcomes) == 4
    assert (counts.shed_rows, counts.fail_ns, counts.request[0]) == (6, 7, 8)
    assert (counts.executing, counts.last_inference_ms, counts.success_ns) == (0, 0, 0)


def test_the_layout_has_a_cell_for_everything_and_no_cell_for_two_things() -> None:
    cells = [
        *(layout.EXECUTING, layout.LAST_INFERENCE_MS, layout.SIZES_USED, layout.SUCCESS_NS),
        *(layout.FAIL_NS, layout.QUEUE_NS, layout.INPUT_NS, layout.INFER_NS, layout.OUTPUT_NS),
        *(layout.EXECUTION_NS, layout.EXECUTIONS, layout.INFERENCES, layout.SHED_ROWS),
        layout.FALLBACKS,
        *range(layout.SHADOWED, layout.SHADOWED + len(SHADOW_NAMES)),
        *range(layout.DISAGREEMENTS, layout.DISAGREEMENTS + MOST_OUTPUTS),
        *range(layout.OUTCOMES, layout.OUTCOMES + len(OUTCOME_NAMES)),
        *range(layout.REQUEST, layout.REQUEST + HISTOGRAM_CELLS),
        *range(layout.QUEUE, layout.QUEUE + HISTOGRAM_CELLS),
        *range(layout.EXECUTION, layout.EXECUTION + HISTOGRAM_CELLS),
        *range(layout.SHED, layout.SHED + len(SHED_NAMES)),
        *range(layout.BREAKERS, layout.BREAKERS + layout.MOST_BREAKERS),
        *range(layout.SIZES, layout.SIZES + layout.SIZE_CELLS * layout.MOST_SIZES),
    ]
    assert len(set(cells)) == len(cells)
    assert max(cells) < layout.ROW_CELLS
    assert set(FAILED_OUTCOMES) < set(OUTCOME_NAMES)
    # what row 0 has of its own is in nobody's way there
    own = {layout.LAYOUT_CELL, layout.HEARTBEAT_NS, layout.CONNECTIONS, layout.MOVED}
    assert own.isdisjoint(cells[cells.index(layout.OUTCOMES) :])
    assert own.isdisjoint({layout.FAIL_NS, layout.SHED_ROWS})


def test_of_two_replicas_the_worse_breaker_counts_and_openings_add_up() -> None:
    one = Counts(openings=2, breakers={"thread": State.OPEN})
    other = Counts(openings=3, breakers={"thread": State.CLOSED, "inline": State.CLOSED})
    both = plus(one, other)
    assert both.openings == 5
    assert both.breakers == {"thread": State.OPEN, "inline": State.CLOSED}


def test_what_is_settled_has_no_gauge_any_more() -> None:
    counts = Counts(executing=3, executions=7, openings=2, breakers={"thread": State.OPEN})
    assert settled(counts) == Counts(executions=7, openings=2)
