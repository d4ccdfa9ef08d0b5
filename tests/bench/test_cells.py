import math
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from bench.cells import Cell, by_phase, cell_at, cells_of, counts_of, p99_s
from bench.courses import SLICE_S


def cell(offered: int, latencies: list[float], **answers: int) -> Cell:
    made = Cell()
    made.offered = offered
    made.latencies.extend(latencies)
    made.answers.update(answers)
    return made


def test_a_course_has_a_cell_for_each_tenth_of_a_second() -> None:
    assert len(cells_of((0.3, 1.0, 0.2))) == 15


@given(began_s=st.floats(0.0, 1e8), at=st.integers(0, 19))
def test_a_moment_at_a_border_belongs_to_the_later_slice(began_s: float, at: int) -> None:
    cells = cells_of((2.0,))
    moment_s = at * SLICE_S + began_s
    assert cells.index(cell_at(cells, moment_s - began_s)) == at


def test_what_is_outside_the_course_belongs_to_its_nearest_slice() -> None:
    cells = cells_of((0.3,))
    assert cell_at(cells, -1.0) is cells[0]
    assert cell_at(cells, 9.0) is cells[2]


def test_what_is_late_is_accepted_and_not_good() -> None:
    counts = counts_of([cell(4, [0.01, 0.1, 0.2], cut=1)], 0.1)
    assert (counts.offered, counts.good, counts.accepted, counts.failed) == (4, 2, 3, 1)
    assert (counts.p50_s, counts.p99_s, counts.highest_s) == (0.1, 0.2, 0.2)


def test_no_answer_has_no_latency() -> None:
    counts = counts_of([cell(3, [], cut=3)], 0.1)
    assert counts.good == 0
    assert counts.answers == {"cut": 3}
    assert math.isnan(counts.p99_s)


def test_phases_are_sums_of_their_cells() -> None:
    cells = [cell(at, [0.1 * at]) for at in range(5)]
    first, second = by_phase(cells, (0.2, 0.3), 0.25)
    assert (first.offered, first.good) == (1, 2)
    assert (second.offered, second.good, second.accepted) == (9, 1, 3)


@given(
    took=st.lists(st.lists(st.floats(1e-6, 10.0), max_size=50), min_size=1, max_size=4).filter(any)
)
def test_the_p99_of_some_slices_is_that_of_all_their_answers(took: list[list[float]]) -> None:
    slices = [counts_of([cell(len(some), some)], 1.0) for some in took]
    exact_s = sorted(chain(*took))[math.ceil(0.99 * sum(map(len, took))) - 1]
    assert math.isclose(p99_s(slices), exact_s, rel_tol=0.01)


def test_nothing_answered_has_no_p99() -> None:
    assert math.isnan(p99_s([]))
    assert math.isnan(p99_s([counts_of([cell(1, [])], 1.0)]))
