"""Classes: the best few of a row, as texts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.errors import InvalidTensor
from gateway.types import Array, TensorSpec
from gateway.wire.classes import check_classes, classified

KINDS = ("float32", "float64", "int8", "uint8", "int64", "uint64")


def best(array: Array, classes: int, *labels: str, has_batch: bool = True) -> list[Any]:
    found: list[Any] = classified(array, classes, labels, has_batch, "y").tolist()
    return found


def test_the_largest_come_first_with_their_place_and_label() -> None:
    scores = np.array([[1.5, 14, -3, 0.25]], np.float32)
    assert best(scores, 2) == [["14.000000:1", "1.500000:0"]]
    assert best(scores, 3, "zero", "one") == [["14.000000:1:one", "1.500000:0:zero", "0.250000:3"]]


def test_whole_numbers_stay_plain_to_their_last_bit() -> None:
    big = 2**64 - 1
    assert best(np.array([[0, big, 7]], np.uint64), 2) == [[f"{big}:1", "7:2"]]
    least = -(2**63)
    assert best(np.array([[least, 0]], np.int64), 2) == [["0:1", f"{least}:0"]]


def test_more_classes_than_there_are_is_all_of_them() -> None:
    assert best(np.array([[1, 2]], np.int32), 9) == [["2:1", "1:0"]]


def test_all_axes_after_the_batch_are_one() -> None:
    array = np.arange(8, dtype=np.int32).reshape(2, 2, 2)
    assert best(array, 1) == [["3:3"], ["7:3"]]
    assert best(array, 2, has_batch=False) == ["7:7", "6:6"]


def test_what_is_no_number_comes_last_and_infinity_first() -> None:
    array = np.array([[np.nan, -np.inf, 1, np.inf]], np.float32)
    assert best(array, 4) == [["inf:3", "1.000000:2", "-inf:1", "nan:0"]]
    assert best(array, 1) == [["inf:3"]]
    assert best(np.full((1, 3), np.nan, np.float32), 2) == [["nan:0", "nan:1"]]


def test_a_row_without_elements_has_no_classes() -> None:
    assert best(np.zeros((2, 0), np.float32), 3) == [[], []]
    assert best(np.array(4, np.float32), 3, has_batch=False) == ["4.000000:0"]


@given(
    st.sampled_from(KINDS).flatmap(
        lambda kind: arrays.arrays(kind, st.tuples(st.integers(1, 4), st.integers(1, 40)))
    ),
    st.integers(1, 45),
)
def test_they_are_what_sorting_all_would_give_whoever_shares_the_batch(
    array: Array, classes: int
) -> None:
    for row, found in zip(array, best(array, classes), strict=True):
        values = row.tolist()
        order = sorted(
            range(len(values)),
            key=lambda at: (
                values[at] != values[at],
                0 if values[at] != values[at] else -values[at],
                at,
            ),
        )
        assert [int(text.split(":")[1]) for text in found] == order[:classes]
        assert best(row[None], classes) == [found]


@pytest.mark.parametrize("kind", ["BYTES", "BOOL", "FP16", "BF16"])
def test_an_output_without_an_order_has_none(kind: str) -> None:
    words = f"class result not available for output due to unsupported type '{kind}'"
    with pytest.raises(InvalidTensor, match=words):
        check_classes(TensorSpec("y", kind, (-1, 4)), 3, has_batch=True, path="$.outputs[0]")


def test_a_row_of_a_million_is_the_longest() -> None:
    check_classes(TensorSpec("y", "FP32", (-1, 1_000_000)), 3, True, "$")
    with pytest.raises(InvalidTensor, match="classification output tensor too large"):
        check_classes(TensorSpec("y", "FP32", (-1, 1_000_001)), 3, True, "$")
    with pytest.raises(InvalidTensor, match="classification output tensor too large"):
        best(np.zeros((1, 1_000_001), np.int8), 3)
