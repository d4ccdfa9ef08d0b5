"""Split, stacked, padded, run and rejoined, a call gets bit by bit what one run gives it.

The model here works row by row on the bits of its inputs, so that it gives a row the same
answer in any company, and whatever the numbers mean: NaN and -0.0 count as they are.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.datatypes import DATATYPES
from gateway.core.stacking import bucket, pad, split, stack
from gateway.errors import ModelFailed
from gateway.types import Arm, Array, Call, Outputs, Payload, Shape, Signature, TensorSpec, Version
from tests.fakes import untold

MAX_ROWS = 16
SHAPES = st.lists(st.integers(0, 3), max_size=2).map(tuple)


@dataclass(frozen=True, slots=True)
class Case:
    """Calls of one version and one shape class."""

    version: Version
    shapes: tuple[Shape, ...]
    sent: Sequence[tuple[int, tuple[Payload, ...]]]  # rows, payloads


@st.composite
def payloads(draw: st.DrawFn, datatype: str, elements: int) -> Payload:
    kind = DATATYPES[datatype]
    if not kind.size_bytes:
        return draw(st.lists(st.text(max_size=3), min_size=elements, max_size=elements))
    size = elements * kind.size_bytes
    raw = draw(st.binary(min_size=size, max_size=size))
    kinds: list[Payload] = [raw, bytearray(raw), memoryview(raw)]
    return draw(st.sampled_from(kinds))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    inputs = draw(
        st.lists(st.tuples(st.sampled_from(sorted(DATATYPES)), SHAPES), min_size=1, max_size=3)
    )
    specs = tuple(
        TensorSpec(f"x{at}", datatype, (-1, *([-1] * len(shape))))
        for at, (datatype, shape) in enumerate(inputs)
    )
    version = Version("m", "1", Signature(specs, specs, 1 << 20))
    sent = []
    for rows in draw(st.lists(st.integers(1, 40), min_size=1, max_size=4)):
        tensors = [
            draw(payloads(datatype, rows * int(np.prod(shape, dtype=int))))
            for datatype, shape in inputs
        ]
        sent.append((rows, tuple(tensors)))
    return Case(version, tuple(shape for _, shape in inputs), sent)


def run(arrays: Sequence[Array]) -> list[Array]:
    """Turn every row around: strings by their letters, all else by its bytes."""
    return [_turned(array) for array in arrays]


def _turned(array: Array) -> Array:
    if array.dtype == object:
        turned = np.array([text[::-1] for text in array.ravel()], dtype=object)
        return turned.reshape(array.shape)
    raw = np.frombuffer(array.tobytes(), dtype=np.uint8)
    return (
        raw.reshape(-1, array.dtype.itemsize)[:, ::-1].copy().view(array.dtype).reshape(array.shape)
    )


def bits(arrays: Sequence[Array], start: int, stop: int) -> list[object]:
    """Return what can be compared where NaN differs from itself."""
    rows = [array[start:stop] for array in arrays]
    return [
        (row.dtype, row.shape, row.tolist() if row.dtype == object else row.tobytes())
        for row in rows
    ]


@dataclass(slots=True)
class Owner:
    """Who asked, and what was heard."""

    heard: list[Call] = field(default_factory=list)

    def ask(self, case: Case, rows: int, tensors: tuple[Payload, ...]) -> Call:
        return Call(Arm(case.version), tensors, rows, case.shapes, self.heard.append)


def batches(parts: list[Call], dice: random.Random) -> list[list[Call]]:
    """Deal the parts into executions of at most `MAX_ROWS`, in any order and company."""
    dice.shuffle(parts)
    dealt: list[list[Call]] = [[]]
    for part in parts:
        fits = sum(call.rows for call in dealt[-1]) + part.rows <= MAX_ROWS
        if dealt[-1] and (not fits or dice.random() < 0.25):
            dealt.append([])
        dealt[-1].append(part)
    return dealt


def execute(calls: Sequence[Call], pad_to: Sequence[int]) -> None:
    """Do with a batch what an executor and the batcher do with it."""
    arrays = stack(calls, calls[0].arm.version.signature)
    rows = len(arrays[0])
    outputs = Outputs(
        [array[:rows] for array in run(pad(arrays, bucket(rows, pad_to)))], len(calls)
    )
    start = 0
    for call in calls:
        call.answer(outputs, start, start + call.rows)
        start += call.rows


@given(
    cases(),
    st.integers(1, MAX_ROWS),
    st.sampled_from([(), (4,), (2, 8, 64)]),
    st.randoms(use_true_random=False),
)
def test_rejoined_rows_are_those_of_one_run(
    case: Case, max_rows: int, pad_to: tuple[int, ...], dice: random.Random
) -> None:
    owner = Owner()
    calls = [owner.ask(case, rows, tensors) for rows, tensors in case.sent]
    parts: list[Call] = []
    told: list[Call] = []

    def tell(call: Call, _outputs: Outputs) -> None:
        assert not call.done
        told.append(call)

    for call in calls:
        parts += split(call, max_rows, tell) if call.rows > max_rows else [call]
    assert all(part.rows <= max_rows for part in parts)
    for batch in batches(parts, dice):
        execute(batch, pad_to)
    assert sorted(map(id, owner.heard)) == sorted(map(id, calls))
    assert told == [call for call in owner.heard if call.rows > max_rows]
    assert all(part.is_part == (part not in calls) for part in parts)
    for call, (rows, tensors) in zip(calls, case.sent, strict=True):
        alone = Owner().ask(case, rows, tensors)
        expected = run(stack([alone], case.version.signature))
        assert call.outputs is not None
        assert bits(call.outputs.arrays, call.start, call.stop) == bits(expected, 0, rows)


@given(cases(), st.integers(1, 8))
def test_the_parts_together_are_the_call(case: Case, max_rows: int) -> None:
    rows, tensors = case.sent[0]
    signature = case.version.signature
    whole = stack([Owner().ask(case, rows, tensors)], signature)
    parts = split(Owner().ask(case, rows, tensors), max_rows, untold)
    assert sum(part.rows for part in parts) == rows
    assert bits(stack(parts, signature), 0, rows) == bits(whole, 0, rows)


@given(cases(), st.integers(1, 8), st.randoms(use_true_random=False))
def test_a_call_fails_once_if_any_part_does(case: Case, max_rows: int, dice: random.Random) -> None:
    owner = Owner()
    rows, tensors = case.sent[0]
    call = owner.ask(case, rows, tensors)
    told: list[Call] = []
    parts = split(call, max_rows, lambda call, _outputs: told.append(call))
    guilty = dice.choice(parts)
    error = ModelFailed("nan")
    dice.shuffle(parts)
    for part in parts:
        if part is guilty:
            part.fail(error)
        elif not part.done:
            execute([part], ())
    assert owner.heard == [call]
    assert call.error is error
    assert told == []
    assert all(part.done for part in parts)
