"""Record: each execution and each request once, and the identities of the protocol."""

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.breaker import State
from gateway.errors import ClientGone, Shed
from gateway.observe import layout
from gateway.observe.counts import Counts, read, read_quota, read_refusals
from gateway.observe.layout import (
    BUCKETS_S,
    FAILED_OUTCOMES,
    MOST_OUTPUTS,
    MOST_SIZES,
    OUTCOME_NAMES,
    SHADOW_NAMES,
    SHED_NAMES,
)
from gateway.observe.record import Record
from gateway.types import Call, Outputs
from tests.fakes import a_call, a_row

STARTED, ENDED = 10.0, 10.25


class Written:
    """A record, and what its row says."""

    def __init__(self) -> None:
        self.row = a_row()
        self.record = Record(self.row, lambda: 1_700_000_000.5)

    @property
    def counts(self) -> Counts:
        return read(self.row)

    def run(self, calls: Sequence[Call], outputs: Outputs | None, ended: float = ENDED) -> Counts:
        self.record.begin()
        self.record.finish(calls, outputs, STARTED, ended)
        return self.counts


def outputs(input_ns: int = 10_000_000, infer_ns: int = 200_000_000, output_ns: int = 1) -> Outputs:
    return Outputs([], 0, input_ns=input_ns, infer_ns=infer_ns, output_ns=output_ns)


def calls(*arrived: float, rows: int = 1) -> list[Call]:
    return [a_call(*[1.0] * rows, arrived=one) for one in arrived]


def outcome(counts: Counts, name: str) -> int:
    return counts.outcomes[OUTCOME_NAMES.index(name)]


def bucket_of(seconds: float) -> int:
    """Say it the slow way."""
    return sum(1 for bound_s in BUCKETS_S if bound_s < seconds)


def test_a_batch_is_counted_once_for_all_of_its_calls() -> None:
    counts = Written().run(calls(9.5, 9.75, 10.0, rows=2), outputs())
    assert outcome(counts, "success") == sum(counts.outcomes) == 3
    assert (counts.executions, counts.inferences, counts.executing) == (1, 6, 0)
    assert counts.queue_ns == 750_000_000
    assert counts.success_ns == 750_000_000 + 3 * 250_000_000
    assert (counts.input_ns, counts.infer_ns, counts.output_ns) == (30_000_000, 600_000_000, 3)
    assert counts.execution_ns == 210_000_001
    assert counts.sizes == {6: (1, 10_000_000, 200_000_000, 1)}
    assert counts.last_inference_ms == 1_700_000_000_500


def test_an_execution_shows_while_it_runs() -> None:
    written = Written()
    written.record.begin()
    written.record.begin()
    assert written.counts.executing == 2
    written.record.finish([], None, STARTED, ENDED)
    assert written.counts.executing == 1


def test_an_execution_that_failed_is_no_request_and_no_size() -> None:
    counts = Written().run(calls(9.0, 9.5), None)
    assert (counts.executions, counts.execution_ns) == (1, 250_000_000)
    assert counts.execution[bucket_of(0.25)] == 1
    assert counts == Counts(
        executions=1, execution_ns=counts.execution_ns, execution=counts.execution
    )


def test_whoever_left_meanwhile_is_no_success_and_its_rows_are_not_counted() -> None:
    gone, stayed = calls(9.0, 9.5, rows=3)
    gone.fail(ClientGone("connection closed"))
    counts = Written().run([gone, stayed], outputs())
    assert (sum(counts.outcomes), counts.inferences) == (1, 3)
    assert list(counts.sizes) == [3]
    assert counts.queue_ns == 500_000_000


def test_an_execution_that_nobody_waited_for_is_an_execution_and_nothing_else() -> None:
    gone = calls(9.0, 9.5)
    for call in gone:
        call.fail(ClientGone("connection closed"))
    counts = Written().run(gone, outputs())
    assert counts == Counts(
        executions=1, execution_ns=counts.execution_ns, execution=counts.execution
    )
    assert counts.last_inference_ms == 0


def test_parts_are_rows_and_their_whole_is_one_request() -> None:
    written = Written()
    whole = a_call(1, 2, 3, arrived=9.0)
    part, other = calls(9.0, 9.75)
    part.is_part = True
    counts = written.run([part, other], outputs())
    assert (outcome(counts, "success"), counts.inferences) == (1, 2)
    written.record.complete(whole, outputs(), STARTED, ENDED)
    counts = written.counts
    assert (outcome(counts, "success"), counts.inferences, counts.executions) == (2, 2, 1)
    assert counts.queue_ns == 250_000_000 + 1_000_000_000
    assert counts.infer_ns == 2 * 200_000_000
    assert sum(counts.request) == sum(counts.queue) == 2


def test_a_batch_of_parts_alone_answers_nobody_yet() -> None:
    parts = calls(9.0, 9.0)
    for part in parts:
        part.is_part = True
    counts = Written().run(parts, outputs())
    assert (sum(counts.outcomes), counts.inferences, counts.success_ns) == (0, 2, 0)
    assert counts.last_inference_ms == 0


@pytest.mark.parametrize("ended", [STARTED, STARTED + 0.01])
def test_a_success_takes_as_long_as_its_parts_though_the_clocks_disagree(ended: float) -> None:
    written = Written()
    counts = written.run(calls(10.5, 11.0), outputs(), ended)
    assert counts.queue_ns == 0
    assert written.row[layout.SUCCESS_NS] == counts.input_ns + counts.infer_ns + counts.output_ns


@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=40), st.floats(0.0, 20.0))
def test_every_request_falls_into_the_bucket_of_its_own_time(
    waits_s: list[float], ran_s: float
) -> None:
    arrived = [STARTED - wait_s for wait_s in waits_s]
    counts = Written().run(calls(*arrived), outputs(), STARTED + ran_s)
    for found, until in ((counts.queue, STARTED), (counts.request, STARTED + ran_s)):
        times_s = [until - moment for moment in arrived]
        # on a bound, a rounding may say either
        assume(all(abs(time_s - bound_s) > 1e-9 for time_s in times_s for bound_s in BUCKETS_S))
        expected = [0] * layout.HISTOGRAM_CELLS
        for time_s in times_s:
            expected[bucket_of(time_s)] += 1
        assert list(found) == expected


def test_a_time_on_a_bound_is_below_it() -> None:
    """Prometheus says `le`."""
    counts = Written().run(calls(10.0), outputs(250_000_000, 0, 0))
    at = BUCKETS_S.index(0.25)
    assert (counts.request[at], counts.execution[at], counts.queue[0]) == (1, 1, 1)


def test_a_time_above_every_bound_has_a_bucket_too() -> None:
    counts = Written().run(calls(-100.0), outputs(10**12))
    assert counts.request[-1] == counts.queue[-1] == counts.execution[-1] == 1


def test_sizes_are_kept_apart() -> None:
    written = Written()
    for rows in (2, 1, 2):
        written.run(calls(9.0, rows=rows), outputs())
    counts = written.counts
    assert {rows: size[0] for rows, size in counts.sizes.items()} == {2: 2, 1: 1}
    assert counts.inferences == 5


def test_more_sizes_than_there_are_slots_are_counted_elsewhere() -> None:
    written = Written()
    for rows in range(1, MOST_SIZES + 3):
        (call,) = calls(9.0)
        call.rows = rows
        written.run([call], outputs())
    written.run(calls(9.0), outputs())
    counts = written.counts
    assert len(counts.sizes) == MOST_SIZES
    assert counts.sizes[1][0] == 2
    assert counts.executions == MOST_SIZES + 3
    assert counts.inferences == sum(range(1, MOST_SIZES + 3)) + 1


@pytest.mark.parametrize("code", [name for name in OUTCOME_NAMES if name != "success"])
def test_an_error_is_counted_under_its_name(code: str) -> None:
    written = Written()
    written.record.refuse(code, 0.25)
    counts = written.counts
    assert outcome(counts, code) == sum(counts.outcomes) == 1
    was_tried = code in FAILED_OUTCOMES
    assert counts.fail_ns == (250_000_000 if was_tried else 0)
    assert sum(counts.request) == was_tried


@pytest.mark.parametrize("code", ["too_early", "not_found", "success", ""])
def test_an_error_without_a_place_of_its_own_is_another(code: str) -> None:
    written = Written()
    written.record.refuse(code, 1.0)
    assert outcome(written.counts, "other") == sum(written.counts.outcomes) == 1


def test_rows_are_shed_where_too_many_waited() -> None:
    written = Written()
    written.record.refuse("overloaded", 0.0, 5)
    written.record.refuse("draining", 0.0, 7)
    written.record.refuse("overloaded", 0.0)
    assert written.counts.shed_rows == 5


@pytest.mark.parametrize("reason", SHED_NAMES)
def test_what_there_was_no_room_for_is_counted_under_its_name(reason: Shed) -> None:
    written = Written()
    written.record.shed(reason)
    assert dict(zip(SHED_NAMES, written.counts.shed, strict=True)) == {
        name: int(name == reason) for name in SHED_NAMES
    }


def test_a_failure_takes_no_negative_time() -> None:
    written = Written()
    written.record.refuse("client_gone", -1e-9)
    assert (written.counts.fail_ns, written.counts.request[0]) == (0, 1)


def test_another_record_goes_on_where_the_row_stands() -> None:
    written = Written()
    before = written.run(calls(9.0, 9.5), outputs())
    written.record.refuse("internal", 1.0)
    written.record = Record(written.row)
    assert written.counts.success_ns == before.success_ns
    counts = written.run(calls(9.0, 9.5), outputs())
    assert (outcome(counts, "success"), outcome(counts, "internal")) == (4, 1)
    assert counts.success_ns == 2 * before.success_ns
    assert counts.sizes == {2: (2, 20_000_000, 400_000_000, 2)}
    assert counts.last_inference_ms > 1_700_000_000_500


def test_the_replicas_own_row_has_its_heart_and_what_no_version_knows_of() -> None:
    row = a_row()
    record = Record(row)
    record.heartbeat(123, 4)
    record.heartbeat(456, 5)
    record.moved()
    record.refuse("unknown_model", 1.0)
    Record(row).refuse("malformed", 1.0)
    assert (row[layout.HEARTBEAT_NS], row[layout.CONNECTIONS], row[layout.MOVED]) == (456, 5, 1)
    counts = read_refusals(row)
    assert (outcome(counts, "unknown_model"), outcome(counts, "malformed")) == (1, 1)
    assert row[layout.LAYOUT_CELL] == 0


def test_nothing_is_written_beside_the_row() -> None:
    cells = memoryview(bytearray((layout.ROW_CELLS + 2) * 8)).cast("q")
    record = Record(cells[1:-1])
    for rows in range(1, 5):
        record.begin()
        record.finish(calls(9.0, rows=rows), outputs(), STARTED, ENDED)
    record.refuse("other", 1.0)
    assert (cells[0], cells[-1]) == (0, 0)


@st.composite
def batches(draw: st.DrawFn) -> list[Call]:
    """Calls of which some are done by now, and some are parts."""
    made = calls(*draw(st.lists(st.floats(0, 9), max_size=5)))
    for call in made:
        call.done, call.is_part = draw(st.booleans()), draw(st.booleans())
    return made


@given(
    st.lists(
        st.one_of(batches(), st.just("a failed execution"), st.sampled_from(OUTCOME_NAMES)),
        max_size=12,
    )
)
def test_no_number_ever_goes_back(events: list[list[Call] | str]) -> None:
    written = Written()
    before = written.row.tolist()
    for event in events:
        if isinstance(event, list):
            written.run(event, outputs())
        elif event == "a failed execution":
            written.run(calls(9.0), None)
        else:
            written.record.refuse(event, 0.5, 2)
        after = written.row.tolist()
        assert all(one <= other for one, other in zip(before, after, strict=True))
        before = after
    counts = written.counts
    assert counts.inferences == sum(rows * size[0] for rows, size in counts.sizes.items())


# arms and shadows


def test_a_request_that_another_arm_was_asked_is_counted_beside_its_loss() -> None:
    written = Written()
    written.record.refuse("model_failed", 0.5)
    written.record.fell_back()
    counts = written.counts
    assert (counts.fallbacks, outcome(counts, "model_failed"), sum(counts.outcomes)) == (1, 1, 1)


def test_what_became_of_a_shadows_calls_is_counted_by_outcome() -> None:
    written = Written()
    for calls_of_it, name in enumerate(SHADOW_NAMES, start=1):
        written.record.shadowed(name, calls_of_it)
        written.record.shadowed(name, 10)
    assert written.counts == Counts(shadowed=(11, 12, 13, 14))


def test_rows_of_which_a_shadow_says_something_else_are_counted_by_output() -> None:
    written = Written()
    written.record.disagreed(0, 2)
    written.record.disagreed(2, 3)
    written.record.disagreed(0, 1)
    assert written.counts.disagreements == (3, 0, 3, *[0] * (MOST_OUTPUTS - 3))


@pytest.mark.parametrize("output", [MOST_OUTPUTS - 1, MOST_OUTPUTS, 1000])
def test_the_last_cell_has_all_further_outputs(output: int) -> None:
    written = Written()
    written.record.disagreed(output, 4)
    assert written.counts.disagreements == (*[0] * (MOST_OUTPUTS - 1), 4)


def test_what_a_shadow_said_survives_the_executions_that_follow() -> None:
    """The head of the row is written in one go, and these cells are not in it."""
    written = Written()
    written.record.shadowed("agreed", 1)
    written.record.disagreed(0, 2)
    written.record.fell_back()
    written.record.retried()
    counts = written.run(calls(9.5), outputs())
    assert (counts.shadowed[0], counts.disagreements[0], counts.fallbacks) == (1, 2, 1)
    assert counts.retries == 1
    assert outcome(counts, "success") == 1


def test_quotas_are_counted_by_their_places_and_nothing_else_is_touched() -> None:
    written = Written()
    for place in (0, 3, 3, layout.MOST_QUOTAS - 1):
        written.record.asked(place)
    written.record.over(3)
    places = (0, 1, 3, layout.MOST_QUOTAS - 1)
    assert [read_quota(written.row, place) for place in places] == [(1, 0), (0, 0), (2, 1), (1, 0)]
    assert written.counts == Counts()


# how executors are


def test_how_executors_are_stands_in_the_row_and_how_often_they_opened() -> None:
    written = Written()
    for state in (State.CLOSED, State.OPEN, State.HALF_OPEN, State.OPEN):
        written.record.breaker("thread", state)
    written.record.breaker("process/1", State.CLOSED)
    counts = written.counts
    assert counts.breakers == {"thread": State.OPEN, "process/1": State.CLOSED}
    assert counts.openings == 2


def test_an_executor_that_is_there_no_more_leaves_its_count() -> None:
    written = Written()
    for state in (State.OPEN, None):
        written.record.breaker("inline", state)
    written.record.breaker("thread", State.CLOSED)
    counts = written.counts
    assert (counts.breakers, counts.openings) == ({"thread": State.CLOSED}, 1)


def test_more_executors_than_there_are_cells_harm_nobody() -> None:
    written = Written()
    for number in range(40):
        written.record.breaker(f"process/{number}", State.OPEN)
    written.record.breaker("of no kind", State.OPEN)
    counts = written.counts
    assert len(counts.breakers) == counts.openings == layout.MOST_BREAKERS
    assert counts.sizes == {}


def test_executions_leave_breakers_as_they_are() -> None:
    written = Written()
    written.record.breaker("thread", State.OPEN)
    assert written.run(calls(9.0), outputs()).breakers == {"thread": State.OPEN}
