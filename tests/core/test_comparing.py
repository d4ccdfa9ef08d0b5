"""When a shadow's outputs count as what the caller got, and which differences are kept."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.core.comparing import Worst, compare, default_comparison, readable
from gateway.core.datatypes import DATATYPES
from gateway.core.documents import Comparison
from gateway.types import Array, TensorSpec

LABEL = Comparison("label")
EXACT = Comparison("numeric", atol=0.0, rtol=0.0)
NAN, INF, HUGE = math.nan, math.inf, 1.7e308
KINDS = (
    LABEL,
    Comparison("numeric"),
    Comparison("top_k", k=1),
    Comparison("top_k", k=2),
    Comparison("distribution", atol=0.1),
)
SYMMETRIC = (LABEL, Comparison("top_k", k=1), Comparison("top_k", k=2), Comparison("distribution"))

Seen = tuple[list[float], list[bool]]


def seen(comparison: Comparison, primary: Array, shadow: Array) -> Seen:
    """Return the distance of each row, and whether it disagrees."""
    verdict = compare(comparison, primary, shadow)
    return verdict.distances.tolist(), verdict.disagrees.tolist()


def doubles(*rows: list[float]) -> Array:
    return np.array(rows, dtype=np.float64)


def strings(*words: str) -> Array:
    return np.array(words, dtype=object)


@pytest.mark.parametrize(
    ("primary", "shadow", "expected"),
    [
        (np.array([3, 7]), np.array([3, 8]), ([0, 1], [False, True])),
        (np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 5]]), ([0, 0.5], [False, True])),
        (np.array([True, False]), np.array([True, True]), ([0, 1], [False, True])),
        (strings("cat", "dog"), strings("cat", "cow"), ([0, 1], [False, True])),
        (np.array([3]), np.array([3.0], dtype="<f4"), ([0], [False])),
        (np.array([2**63 - 1]), np.array([2**63 - 2]), ([1], [True])),
        (doubles([NAN, 1]), doubles([NAN, NAN]), ([0.5], [True])),
        (strings("3"), np.array([3]), ([1], [True])),
    ],
)
def test_labels_agree_where_their_elements_are_the_same(
    primary: Array, shadow: Array, expected: Seen
) -> None:
    assert seen(LABEL, primary, shadow) == expected


@pytest.mark.parametrize(
    ("primary", "shadow", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], ([0.0], [False])),
        ([8.0, 0.0], [10.0, 0.0], ([1.0], [False])),  # just as far as 0.25 * 8
        ([8.0, 0.0], [10.5, 0.0], ([1.25], [True])),
        ([0.0, 0.0], [0.0, 1e-300], ([INF], [True])),  # no tolerance at all at 0
        ([NAN, INF], [NAN, INF], ([0.0], [False])),
        ([INF, 1.0], [-INF, 1.0], ([INF], [True])),
        ([INF, 1.0], [HUGE, 1.0], ([INF], [True])),
        ([HUGE, 1.0], [INF, 1.0], ([INF], [True])),
        ([NAN, 1.0], [1.0, 1.0], ([INF], [True])),
        ([1.0, 1.0], [NAN, 1.0], ([INF], [True])),
        ([HUGE, 1.0], [-HUGE, 1.0], ([INF], [True])),
        ([NAN, 8.0], [NAN, 11.0], ([1.5], [True])),
    ],
)
def test_numbers_may_differ_in_proportion_to_what_the_caller_got(
    primary: list[float], shadow: list[float], expected: Seen
) -> None:
    comparison = Comparison("numeric", atol=0.0, rtol=0.25)
    assert seen(comparison, doubles(primary), doubles(shadow)) == expected


def test_small_numbers_may_differ_by_an_amount() -> None:
    comparison = Comparison("numeric", atol=0.5, rtol=0.0)
    primary, shadow = doubles([0.0], [0.0], [0.0]), doubles([0.25], [0.5], [1.0])
    assert seen(comparison, primary, shadow) == ([0.5, 1.0, 2.0], [False, False, True])


def test_a_tolerance_without_bounds_still_tells_infinity_from_a_number() -> None:
    boundless = Comparison("numeric", atol=0.0, rtol=10.0)
    primary, shadow = doubles([HUGE], [HUGE], [INF]), doubles([0.0], [INF], [0.0])
    assert seen(boundless, primary, shadow) == ([0.0, INF, INF], [False, True, True])


@pytest.mark.parametrize(
    ("k", "primary", "shadow", "expected"),
    [
        (1, [0.1, 0.7, 0.2], [0.3, 0.4, 0.3], (0.0, False)),
        (1, [0.1, 0.7, 0.2], [0.5, 0.4, 0.1], (1.0, True)),
        (1, [0.5, 0.5, 0.0], [0.6, 0.4, 0.0], (0.0, False)),  # of equal ones the first
        (1, [0.5, 0.5, 0.0], [0.4, 0.6, 0.0], (1.0, True)),
        (2, [3, 2, 1], [2, 3, 1], (0.0, False)),  # in any order
        (2, [3, 2, 1], [3, 1, 2], (1 - 1 / 3, True)),
        (2, [3, 2, 2], [3, 1, 2], (1 - 1 / 3, True)),  # of equal ones the first
        (3, [3, 2, 1], [1, 2, 3], (0.0, False)),
        (9, [3, 2, 1], [1, 2, 3], (0.0, False)),
        (1, [NAN, 1, 0], [0, 1, NAN], (0.0, False)),  # NaN is last
        (2, [NAN, 1, 0], [NAN, 3, 1], (0.0, False)),
        (1, [NAN, NAN, NAN], [NAN, NAN, NAN], (0.0, False)),
    ],
)
def test_the_best_classes_are_the_same_set(
    k: int, primary: list[float], shadow: list[float], expected: tuple[float, bool]
) -> None:
    distance, disagrees = expected
    distances, flags = seen(Comparison("top_k", k=k), doubles(primary), doubles(shadow))
    assert distances == pytest.approx([distance])
    assert flags == [disagrees]


@pytest.mark.parametrize(
    ("primary", "shadow", "expected"),
    [
        ([0.5, 0.5], [0.5, 0.5], ([0.0], [False])),
        ([0.5, 0.5], [0.75, 0.25], ([0.25], [False])),  # just as far as allowed
        ([0.5, 0.5], [1.0, 0.0], ([0.5], [True])),
        ([0.5, 0.5], [5.0, 5.0], ([4.5], [True])),  # not brought back to a sum of 1
        ([0.5, 0.5], [-0.5, 1.5], ([1.0], [True])),
        ([NAN, 1.0], [NAN, 1.0], ([0.0], [False])),
        ([NAN, 1.0], [0.5, 1.0], ([INF], [True])),
        ([INF, 1.0], [INF, 1.0], ([0.0], [False])),
        ([HUGE, HUGE], [-HUGE, HUGE], ([INF], [True])),
    ],
)
def test_distributions_may_differ_by_their_total_variation(
    primary: list[float], shadow: list[float], expected: Seen
) -> None:
    comparison = Comparison("distribution", atol=0.25)
    assert seen(comparison, doubles(primary), doubles(shadow)) == expected


@pytest.mark.parametrize("kind", ["top_k", "distribution"])
def test_where_a_row_has_many_positions_the_worst_one_counts(kind: Any) -> None:
    comparison = Comparison(kind, atol=0.25, k=1)
    primary = np.array([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
    shadow = np.array([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    assert seen(comparison, primary, shadow) == ([0.0, 1.0], [False, True])


@pytest.mark.parametrize("comparison", KINDS)
@pytest.mark.parametrize(
    ("primary", "shadow"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4))),
        (np.zeros((3, 2)), np.zeros((2, 2))),
        (np.zeros(3), np.zeros((3, 1))),
        (np.zeros((3, 2)), strings("a")),
    ],
)
def test_outputs_of_different_shapes_disagree_in_every_row(
    comparison: Comparison, primary: Array, shadow: Array
) -> None:
    assert seen(comparison, primary, shadow) == ([INF] * 3, [True] * 3)


@pytest.mark.parametrize("comparison", KINDS)
def test_an_output_without_axes_is_one_row(comparison: Comparison) -> None:
    one, two = np.array(1.0), np.array([2.0])
    assert seen(comparison, one, one) == ([0.0], [False])
    assert seen(comparison, one, two) == ([INF], [True])


@pytest.mark.parametrize("comparison", KINDS)
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (2, 0, 3), (2, 3, 0)])
def test_where_there_is_nothing_to_compare_nothing_disagrees(
    comparison: Comparison, shape: tuple[int, ...]
) -> None:
    empty = np.zeros(shape)
    assert seen(comparison, empty, empty) == ([0.0] * shape[0], [False] * shape[0])


@pytest.mark.parametrize("comparison", KINDS)
def test_strings_are_labels_whatever_is_asked(comparison: Comparison) -> None:
    result = seen(comparison, strings("a", "b"), strings("a", "c"))
    assert result == ([0.0, 1.0], [False, True])


@pytest.mark.parametrize("numpy", ["?", "<i1", "<u1", "<i8", "<u8", "<f2", "<f4", "<f8"])
@pytest.mark.parametrize("comparison", KINDS)
def test_every_type_of_number_is_compared(numpy: str, comparison: Comparison) -> None:
    primary = np.array([[0, 1], [0, 1]]).astype(numpy)
    shadow = np.array([[0, 1], [1, 0]]).astype(numpy)
    expected = [False, comparison != Comparison("top_k", k=2)]  # both classes are the best two
    assert seen(comparison, primary, shadow)[1] == expected


def test_the_outermost_numbers_of_a_type_do_not_overflow() -> None:
    primary = np.array([[-128, 127]], dtype="<i1")
    assert seen(EXACT, primary, primary[:, ::-1]) == ([INF], [True])
    half = np.array([[65504.0]], dtype="<f2")
    assert seen(Comparison("numeric", atol=65504.0, rtol=0.0), half, -half) == ([2.0], [True])


@pytest.mark.parametrize("name", DATATYPES)
def test_floats_are_numbers_and_all_else_are_labels(name: str) -> None:
    spec = TensorSpec("y", name, (-1,))
    expected = "numeric" if name in {"FP16", "BF16", "FP32", "FP64"} else "label"
    assert default_comparison(spec).kind == expected


def test_the_bits_of_bfloat16_are_read_as_numbers() -> None:
    bits = np.array([0x3F80, 0xC000, 0x7F80, 0x0000], dtype=np.uint16)
    assert readable(bits, "BF16").tolist() == [1.0, -2.0, INF, 0.0]
    assert readable(bits, "UINT16") is bits


SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
DTYPES = st.sampled_from(["?", "<i2", "<i8", "<u8", "<f2", "<f4", "<f8"])
OUTPUTS = st.tuples(DTYPES, SHAPES).flatmap(lambda one: arrays.arrays(*one))
PAIRS = st.tuples(DTYPES, SHAPES).flatmap(
    lambda one: st.tuples(arrays.arrays(*one), arrays.arrays(*one))
)
MATRICES = arrays.arrays("<f8", st.tuples(st.integers(1, 5), st.integers(1, 4)))


@given(st.sampled_from(KINDS), OUTPUTS)
def test_whatever_a_model_gives_agrees_with_itself(comparison: Comparison, output: Array) -> None:
    rows = len(output) if output.ndim else 1
    assert seen(comparison, output, output.copy()) == ([0.0] * rows, [False] * rows)


@given(st.sampled_from(SYMMETRIC), PAIRS)
def test_but_for_numbers_it_does_not_matter_who_is_the_primary(
    comparison: Comparison, pair: tuple[Array, Array]
) -> None:
    assert seen(comparison, *pair) == seen(comparison, *reversed(pair))


@given(st.sampled_from(KINDS), PAIRS)
def test_a_distance_is_a_number_and_not_negative(
    comparison: Comparison, pair: tuple[Array, Array]
) -> None:
    verdict = compare(comparison, *pair)
    assert (verdict.distances >= 0.0).all()
    assert not verdict.disagrees[verdict.distances == 0.0].any()


@given(st.sampled_from(KINDS), MATRICES, st.data())
def test_a_row_is_judged_by_itself_wherever_it_stands(
    comparison: Comparison, primary: Array, data: st.DataObject
) -> None:
    shadow = data.draw(arrays.arrays("<f8", primary.shape))
    order = data.draw(st.permutations(range(len(primary))))
    distances, disagrees = seen(comparison, primary, shadow)
    assert seen(comparison, primary[order], shadow[order]) == (
        [distances[at] for at in order],
        [disagrees[at] for at in order],
    )
    alone = [seen(comparison, primary[at : at + 1], shadow[at : at + 1]) for at in order]
    assert alone == [([distances[at]], [disagrees[at]]) for at in order]


FINITE = st.floats(-1e100, 1e100)


@given(FINITE, FINITE, st.floats(0, 1e3), st.floats(0, 1))
def test_a_number_disagrees_exactly_where_its_tolerance_ends(
    primary: float, shadow: float, atol: float, rtol: float
) -> None:
    comparison = Comparison("numeric", atol=atol, rtol=rtol)
    expected = abs(primary - shadow) > abs(primary) * rtol + atol
    assert seen(comparison, doubles([primary]), doubles([shadow]))[1] == [expected]


def test_the_worst_are_kept_worst_first_and_of_equal_ones_the_first() -> None:
    worst: Worst[str] = Worst(3)
    added = [
        worst.add(distance, item)
        for distance, item in [(1.0, "a"), (2.0, "b"), (1.0, "c"), (1.0, "d"), (2.0, "e")]
    ]
    assert added == [True, True, True, False, True]
    assert worst.kept() == ((2.0, "b"), (2.0, "e"), (1.0, "a"))


@given(st.lists(st.floats(0, 10) | st.just(INF)), st.integers(1, 6))
def test_what_is_kept_is_the_head_of_all_in_order(distances: list[float], limit: int) -> None:
    worst: Worst[int] = Worst(limit)
    for at, distance in enumerate(distances):
        assert worst.has_room(distance) == worst.add(distance, at)
    ranked = sorted(enumerate(distances), key=lambda one: -one[1])
    assert worst.kept() == tuple((distance, at) for at, distance in ranked[:limit])
