"""Declared tensors and a model's own: each difference is said, and nothing else."""

import pytest

from gateway.repository.agreeing import disagreements
from gateway.types import Shape, TensorSpec


def spec(name: str, datatype: str = "FP32", shape: Shape = (-1, 4)) -> TensorSpec:
    return TensorSpec(name, datatype, shape)


HAS = "the model has FP32 [-1, 4]"
OWN = ((spec("a"), spec("b")), (spec("y"), spec("z")))


@pytest.mark.parametrize(
    "declared",
    [
        (None, None),
        ((), ()),
        (OWN[0], None),
        (None, OWN[1][:1]),
        ((spec("b", shape=(-1, -1)), spec("a", shape=(8, 4))), None),
    ],
)
def test_what_is_left_out_or_open_agrees(
    declared: tuple[tuple[TensorSpec, ...] | None, tuple[TensorSpec, ...] | None],
) -> None:
    assert disagreements(declared, OWN) == []


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ((spec("a"),), (), "input 'b' of the model is not declared"),
        ((), (spec("q"),), "output 'q': the model has 'y', 'z'"),
        ((), (spec("y", "FP64"),), f"output 'y': expected FP64 [-1, 4], {HAS}"),
        ((), (spec("y", "FP32", (4,)),), f"output 'y': expected FP32 [4], {HAS}"),
        ((), (spec("y", "FP32", (-1, 5)),), f"output 'y': expected FP32 [-1, 5], {HAS}"),
    ],
)
def test_each_difference_is_said(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], expected: str
) -> None:
    assert disagreements((inputs, outputs), OWN) == [expected]


def test_all_of_them_are() -> None:
    faults = disagreements(((spec("c"),), (spec("q"), spec("y", "INT8"))), OWN)
    assert len(faults) == 5


def test_a_name_that_never_ends_is_cut() -> None:
    faults = disagreements(((), (spec("n" * 5000),)), OWN)
    assert all(len(fault) < 500 for fault in faults)
