"""Agreeing: whether a model's tensors are those that were declared of it.

Job    compare the two, and say each difference.
Life   pure functions.
Never  stops at the first.
"""

from collections.abc import Iterator

from gateway.repository.reasons import brief
from gateway.types import Shape, TensorSpec

Specs = tuple[TensorSpec, ...]


def disagreements(
    declared: tuple[Specs | None, Specs | None], own: tuple[Specs, Specs]
) -> list[str]:
    """Return what differs between the (inputs, outputs) declared of a model and its own.

    Outputs may be left out, and so may all inputs, not some of them.
    """
    inputs, outputs = declared[0] or (), declared[1] or ()
    faults = [*_misdeclared("input", inputs, own[0]), *_misdeclared("output", outputs, own[1])]
    if inputs:
        named = {spec.name for spec in inputs}
        missing = [spec.name for spec in own[0] if spec.name not in named]
        faults += [f"input '{brief(name)}' of the model is not declared" for name in missing]
    return faults


def _misdeclared(what: str, declared: Specs, own: Specs) -> Iterator[str]:
    known = {spec.name: spec for spec in own}
    for spec in declared:
        got = known.get(spec.name)
        if got is None:
            has = brief(", ".join(map(repr, known)))
            yield f"{what} '{brief(spec.name)}': the model has {has}"
        elif got.datatype != spec.datatype or not _may_agree(got.shape, spec.shape):
            yield (
                f"{what} '{brief(spec.name)}': expected {spec.datatype} "
                f"{brief(list(spec.shape))}, the model has {brief(got.datatype)} "
                f"{brief(list(got.shape))}"
            )


def _may_agree(one: Shape, other: Shape) -> bool:
    """Say whether two shapes can be the same: an open axis is any size."""
    return len(one) == len(other) and all(
        a == b or -1 in (a, b) for a, b in zip(one, other, strict=True)
    )
